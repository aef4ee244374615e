"""The one path that Sedna's workers know, over real HTTP."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge_agent.http.server import serving_http
from edge_agent.sedna.lc import routes
from edge_agent.sedna.reports import BODY_BYTES
from edge_agent.sedna.users import owner, uids
from modelsyncd.errors import BadInputError
from tests.fakes.other_user import GROUP, UID, why_not
from tests.fakes.sedna_job import Reporter
from tests.fakes.sedna_node import Node

JSON = {"Content-Type": "application/json"}


@asynccontextmanager
async def served(
    folder: Path, allowed: frozenset[int] = frozenset(), listen: str = "127.0.0.1:0"
) -> AsyncIterator[tuple[Node, str]]:
    node = Node(folder)
    async with node.live(), serving_http(routes(node.controller, allowed), listen) as address:
        node.channels.switch(node.channels.put(1))
        await node.until(lambda: node.keeper.words("default/helmet").last)
        yield node, address


def ask(address: str, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, dict[str, object]]:
    connection = http.client.HTTPConnection(address, timeout=60)
    try:
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        raw = answer.read()
        return answer.status, json.loads(raw) if raw.startswith(b"{") else {}
    finally:
        connection.close()


async def test_a_worker_is_answered_as_a_local_controller_does(tmp_path: Path) -> None:
    async with served(tmp_path) as (node, address):
        reporter = Reporter(f"http://{address}", "default", "helmet", "helmet-w1")
        assert await asyncio.to_thread(reporter._tried, b'{"name": "other"}') is False
        assert await asyncio.to_thread(reporter.post, "deploy", "completed") is True
        await node.until(lambda: node.channels.said)
        path = "/sedna/workers/w/info"
        answered = await asyncio.to_thread(ask, address, "POST", path, b'{"name": "w"}', JSON)
    assert answered == (200, {"Status": 200, "Message": "OK"})


async def test_all_else_is_refused(tmp_path: Path) -> None:
    path, good = "/sedna/workers/w/info", b'{"name": "w"}'
    cases = [
        ("POST", "/sedna/workers/v/info", good, JSON, 400),
        ("POST", path, b"{", JSON, 400),
        ("POST", path, good, {"Content-Type": "text/plain"}, 415),
        ("POST", path, b"x" * (BODY_BYTES + 1), JSON, 413),
        ("GET", path, b"", {}, 405),
        ("OPTIONS", path, b"", {"Origin": "http://elsewhere"}, 405),
        ("POST", "/sedna/workers/w", good, JSON, 404),
        ("POST", path, good, {**JSON, "Host": "elsewhere.example"}, 421),
    ]
    async with served(tmp_path) as (_, address):
        for method, at, body, headers, status in cases:
            answered = await asyncio.to_thread(ask, address, method, at, body, headers)
            assert answered[0] == status, (method, at, headers)


async def test_a_name_may_have_any_letters(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, address):
        body = json.dumps({"name": "wörker 1"}).encode()
        assert (await asyncio.to_thread(ask, address, "POST", "/sedna/workers/w%C3%B6rker%201/info", body, JSON))[
            0
        ] == 200


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:0"])
async def test_only_users_who_may_report_are_answered(tmp_path: Path, listen: str) -> None:
    path, good = "/sedna/workers/w/info", b'{"name": "w"}'
    for number, (allowed, status) in enumerate([({os.geteuid()}, 200), ({UID}, 403), (set(), 200)]):
        async with served(tmp_path / str(number), frozenset(allowed), listen) as (_, address):
            answered, said = await asyncio.to_thread(ask, address, "POST", path, good, JSON)
        assert answered == status
        assert said["Status"] == status


@pytest.mark.skipif(bool(why_not()), reason=why_not())
async def test_another_user_is_known_by_the_kernels_word(tmp_path: Path) -> None:
    async with served(tmp_path, frozenset({UID})) as (_, address):
        program = (
            "import encodings.idna, http.client, os, sys\nos.setuid(int(sys.argv[2]))\n"
            "c = http.client.HTTPConnection(sys.argv[1])\n"
            """c.request('POST', '/sedna/workers/w/info', b'{"name": "w"}', {'Content-Type': 'application/json'})\n"""
            "print(c.getresponse().status)"
        )
        for uid, status in ((UID, b"200"), (GROUP, b"403")):
            command = [sys.executable, "-c", program, address, str(uid)]
            child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
            assert (await child.communicate())[0].strip() == status


def test_users_are_named_or_numbered() -> None:
    assert uids(["root", "1234"]) == {0, 1234}
    with pytest.raises(BadInputError, match="no user 'nobody-of-that-name'"):
        uids(["nobody-of-that-name"])
    assert owner(("127.0.0.1", 1), ("127.0.0.1", 2)) is None

"""Models over plain HTTP: whole or in ranges, of one version, with digests as tags, and nothing else of the node."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from edge_agent.job_rights import Grant
from modelsyncd.digest import to_text
from tests.fakes.publisher import weights
from tests.fakes.shown_node import ShownNode, shown_node

FILES = {"config.json": b'{"layers": 3}', "weights/model.bin": weights(1, 300_000)}
MODEL = FILES["weights/model.bin"]
TAG = f'"{hashlib.sha256(MODEL).hexdigest()}"'
PLACE = "/models/acme/helmet/stable/weights/model.bin"


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        found = json.loads(self.body)
        assert isinstance(found, dict)
        return found


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[ShownNode]:
    async with shown_node(tmp_path / "data") as served:
        yield served


async def ask(node: ShownNode, path: str, method: str = "GET", **headers: str) -> Answer:
    def talk() -> Answer:
        connection = http.client.HTTPConnection(node.address, timeout=60)
        try:
            connection.request(method, path, headers={name.replace("_", "-"): text for name, text in headers.items()})
            answer = connection.getresponse()
            found = {name.lower(): text for name, text in answer.getheaders()}
            return Answer(answer.status, found, answer.read())
        finally:
            connection.close()

    return await asyncio.to_thread(talk)


async def test_a_file_comes_whole_with_its_sha256_as_tag(node: ShownNode) -> None:
    version = node.put(1, FILES, "stable")
    answer = await ask(node, PLACE)
    assert (answer.status, answer.body) == (200, MODEL)
    assert (answer.headers["etag"], answer.headers["accept-ranges"]) == (TAG, "bytes")
    assert answer.headers["x-modelsync-number"] == "1"
    assert answer.headers["x-modelsync-manifest"] == to_text(version.manifest)


@pytest.mark.parametrize(
    ("asked", "first", "end"), [("0-9", 0, 10), ("299990-", 299_990, 300_000), ("-10", 299_990, 300_000)]
)
async def test_a_range_comes_as_asked(node: ShownNode, asked: str, first: int, end: int) -> None:
    node.put(1, FILES, "stable")
    answer = await ask(node, PLACE, Range=f"bytes={asked}")
    assert (answer.status, answer.body) == (206, MODEL[first:end])
    assert answer.headers["content-range"] == f"bytes {first}-{end - 1}/300000"
    assert (await ask(node, PLACE, Range="bytes=300000-")).status == 416


async def test_a_range_of_another_version_is_answered_with_the_whole_file(node: ShownNode) -> None:
    node.put(1, FILES, "stable")
    assert (await ask(node, PLACE, Range="bytes=5-", If_Range=TAG)).status == 206
    assert (await ask(node, PLACE, Range="bytes=5-", If_Range='"other"')).body == MODEL


async def test_what_the_caller_has_does_not_come_again_until_the_channel_is_switched(node: ShownNode) -> None:
    node.put(1, FILES, "stable")
    again = await ask(node, PLACE, If_None_Match=f'W/"x", {TAG}')
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", TAG)
    node.put(2, {**FILES, "weights/model.bin": MODEL[::-1]}, "stable")
    assert (await ask(node, PLACE, If_None_Match=TAG)).body == MODEL[::-1]


async def test_head_says_the_same_without_a_body(node: ShownNode) -> None:
    node.put(1, FILES, "stable")
    answer = await ask(node, PLACE, "HEAD")
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "300000")


async def test_a_switch_in_the_middle_changes_nothing_for_who_reads(node: ShownNode) -> None:
    large = weights(3, 8 << 20)
    old = node.put(1, {"model.bin": large}, "stable")

    def read() -> tuple[bytes, bytes]:
        connection = http.client.HTTPConnection(node.address, timeout=60)
        connection.request("GET", "/models/acme/helmet/stable/model.bin")
        answer = connection.getresponse()
        first = answer.read(1_000)
        node.put(2, {"model.bin": large[::-1]}, "stable")
        held = old in node.store.leases.held()
        rest = answer.read()
        connection.close()
        return (first, rest) if held else (b"", b"")

    assert b"".join(await asyncio.to_thread(read)) == large


async def test_a_channel_lists_its_files_and_the_node_its_channels(node: ShownNode) -> None:
    version = node.put(4, FILES, "stable", "canary")
    told = (await ask(node, "/models/acme/helmet/canary")).json
    assert told["variant"] == "default"
    assert (told["number"], told["manifest"], told["size"]) == (4, to_text(version.manifest), 300_013)
    files = told["files"]
    assert isinstance(files, list)
    assert files[1] == {"path": "weights/model.bin", "size": 300_000, "sha256": hashlib.sha256(MODEL).hexdigest()}
    models = (await ask(node, "/models")).json["models"]
    assert isinstance(models, list)
    assert [(one["model"], one["channel"], one["version"]["number"]) for one in models] == [
        ("acme/helmet", "canary", 4),
        ("acme/helmet", "stable", 4),
    ]


@pytest.mark.parametrize(
    "path",
    [
        *("../../../../cache.db", "%2e%2e/%2e%2e/cache.db", "weights/../config.json", "/etc/passwd", "weights"),
        *("config.json/", "config.json%00", "weights%5cmodel.bin", "", "."),
    ],
)
async def test_only_what_the_manifest_names_can_be_read(node: ShownNode, path: str) -> None:
    node.put(1, FILES, "stable")
    assert (await ask(node, f"/models/acme/helmet/stable/{path}")).status in (307, 404)


@pytest.mark.parametrize("what", ["acme/helmt/stable", "acme/helmet/canary", "acme/helmet/..", "..%2f/helmet/stable"])
async def test_what_is_not_here_is_said_in_words(node: ShownNode, what: str) -> None:
    node.put(1, FILES, "stable")
    answer = await ask(node, f"/models/{what}/config.json")
    assert answer.status in (400, 404)
    if "helmt" in what:
        assert "acme/helmet@stable" in str(answer.json["hint"])


async def test_a_damaged_version_is_not_served(node: ShownNode) -> None:
    version = node.put(1, FILES, "stable")
    path = node.store.tree.layout.version(version) / "weights/model.bin"
    path.chmod(0o644)
    path.write_bytes(MODEL[:-1])
    assert (await ask(node, PLACE)).status == 503
    node.store.tree.quarantine(version)
    assert (await ask(node, PLACE)).status == 404


async def test_nothing_can_be_changed(node: ShownNode) -> None:
    node.put(1, FILES, "stable")
    for method in ("PUT", "POST", "DELETE", "PATCH"):
        assert (await ask(node, PLACE, method)).status == 405
    assert (await ask(node, PLACE)).body == MODEL


async def test_rights_of_the_node_hold_and_a_token_shows_who_asks(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("0123456789abcdef0123456789abcdef")
    grants = {"*": Grant(read=("other/*",)), "vision": Grant(read=("acme/*",))}
    async with shown_node(tmp_path / "data", grants, {"vision": token}) as node:
        version = node.put(1, FILES, "stable")
        revisions = ("main", "stable", "1", version.manifest.hex()[:40])
        places = [PLACE, "/api/models/acme/helmet", *(f"/acme/helmet/resolve/{one}/config.json" for one in revisions)]
        for place in places:
            assert (await ask(node, place)).status == 403, place
            assert (await ask(node, place, Authorization=f"Bearer {token.read_text()}")).status == 200, place
        assert (await ask(node, "/models")).json["models"] == []


async def test_a_right_to_one_channel_is_none_to_another_ones_version(tmp_path: Path) -> None:
    async with shown_node(tmp_path / "data", {"*": Grant(read=("acme/helmet@stable",))}) as node:
        node.put(1, FILES, "stable")
        secret = node.put(2, {"config.json": b"secret"}, "canary")
        assert (await ask(node, "/acme/helmet/resolve/main/config.json")).status == 200
        assert (await ask(node, "/acme/helmet/resolve/1/config.json")).status == 200
        for revision in ("canary", "2", secret.manifest.hex()[:40]):
            assert (await ask(node, f"/acme/helmet/resolve/{quote(revision)}/config.json")).status == 403, revision

"""Jobs of other local users do what the node's settings allow, and nothing else: tried with a second user."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge_agent.job_rights import Grant
from modelsyncd.names import ModelName, ModelRef
from tests.fakes.jobs import FakeTrial, JobsNode, jobs_node, short_folder
from tests.fakes.other_user import GROUP, UID, asked, why_not

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "it can")

HELMET = ModelRef(ModelName("acme", "helmet"), channel="stable")
SECRET = ModelRef(ModelName("secret", "plan"), channel="stable")


@pytest.fixture
async def folder() -> AsyncIterator[Path]:
    async with short_folder() as path:
        path.chmod(0o755)
        yield path


@pytest.fixture
def trained(folder: Path) -> Path:
    path = folder / "trained"
    path.mkdir(mode=0o755)
    (path / "weights.bin").write_bytes(b"w" * 100)
    return path


async def _switched(node: JobsNode) -> JobsNode:
    await node.switch(HELMET, 1)
    node.assign((HELMET, 1), (SECRET, 1))
    await node.until(lambda: SECRET in node.steward.refs)
    return node


async def test_another_user_may_read_and_confirm_and_not_publish(folder: Path, trained: Path) -> None:
    async with jobs_node(folder) as node:
        await _switched(node)
        node.trying.trials[HELMET] = FakeTrial(1)
        assert await asked(node.socket, "agent.get('acme/helmet').number") == {"answer": 1}
        assert await asked(node.socket, "agent.confirm('acme/helmet', number=1)") == {"answer": True}
        who = node.trying.heard[0][-1]
        assert who.startswith(f"{UID}/")
        for code in (
            f"agent.publish({str(trained)!r}, 'acme/helmet')",
            "agent.record('acme/helmet', {'a': 1})",
        ):
            refused = await asked(node.socket, code)
            assert refused["error"] == "refused"
            assert f"user {UID} may not" in refused["message"]
            assert f'[rights."{UID}"]' in refused["hint"]
        assert node.outbox.kept == {}


@pytest.mark.parametrize("section", [str(UID), f"group:{GROUP}"])
async def test_what_the_settings_give_a_user_or_its_group_it_may(folder: Path, trained: Path, section: str) -> None:
    grants = {section: Grant(read=("acme/*",), publish=("acme/helmet@canary", "acme/vest"))}
    publish = "agent.publish({!r}, {!r}, wait=False).id"
    async with jobs_node(folder, grants=grants) as node:
        await _switched(node)
        assert await asked(node.socket, publish.format(str(trained), "acme/helmet@canary")) == {"answer": "000001"}
        assert node.outbox.items()[0].publication.user == str(UID)
        for model in ("acme/helmet", "acme/helmet@stable", "secret/plan"):
            refused = await asked(node.socket, publish.format(str(trained), model))
            assert (refused["error"], f"may not publish {model}" in refused["message"]) == ("refused", True)
        assert await asked(node.socket, "[one.ref for one in agent.list()]") == {"answer": ["acme/helmet@stable"]}
        assert (await asked(node.socket, "agent.get('secret/plan')"))["error"] == "refused"
        absent = await asked(node.socket, "agent.get('acme/plan')")
        assert "secret" not in absent["hint"]


async def test_only_who_published_something_may_withdraw_it(folder: Path, trained: Path) -> None:
    async with jobs_node(folder, grants={str(UID): Grant(publish=("*",))}) as node:
        code = f"agent.publish({str(trained)!r}, 'acme/helmet', wait=False).id"
        assert await asked(node.socket, code) == {"answer": "000001"}
        assert await asked(node.socket, "agent.withdraw('000001')") == {"answer": False}
        assert await asked(node.socket, code) == {"answer": "000002"}
        (item,) = node.outbox.items()
        object.__setattr__(item.publication, "user", "somebody")  # frozen: nobody else may do this
        refused = await asked(node.socket, "agent.withdraw('000002')")
        assert (refused["error"], "published by somebody" in refused["message"]) == ("refused", True)


async def test_nobody_publishes_what_it_can_not_read(folder: Path, trained: Path) -> None:
    async with jobs_node(folder, grants={str(UID): Grant(publish=("*",))}) as node:
        hidden = folder / "identity"
        hidden.mkdir(mode=0o700)
        (hidden / "node.key").write_text("secret")
        (trained / "key.pem").write_text("secret")
        (trained / "key.pem").chmod(0o600)
        for path, what in (
            (hidden, "read"),
            (hidden / "node.key", "search"),
            (trained, "read"),
            (trained / ".." / "identity" / "node.key", "search"),
        ):
            refused = await asked(node.socket, f"agent.publish({str(path)!r}, 'acme/helmet', wait=False)")
            assert (refused["error"], f"{UID} may not {what}" in refused["message"]) == ("refused", True)
        os.chown(trained / "key.pem", UID, GROUP)
        code = f"agent.publish({str(trained)!r}, 'acme/helmet', wait=False).size"
        assert await asked(node.socket, code) == {"answer": 106}


async def test_who_is_not_in_the_sockets_group_does_not_get_in(folder: Path) -> None:
    async with jobs_node(folder) as node:
        refused = await asked(node.socket, "agent.list()", [GROUP])
        assert (refused["error"], "no agent answers" in refused["message"]) == ("road", True)


async def test_grpcs_own_socket_is_out_of_reach(folder: Path) -> None:
    async with jobs_node(folder) as node:
        inner = folder / "door" / "jobs"
        assert inner.is_socket()
        assert (await asked(inner, "agent.list()"))["error"] == "road"
        assert await asked(node.socket, "agent.list()") == {"answer": []}

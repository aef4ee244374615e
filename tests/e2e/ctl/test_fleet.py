"""`modelsyncctl node`, `assign`, `unassign`, `status` and `watch` against a real hub and real agents."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from tests.e2e.conftest import StartAgent
from tests.e2e.content import change, folder, tree
from tests.e2e.processes import HubProgram


@asynccontextmanager
async def lines(hub: HubProgram, *arguments: str) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """The JSON lines of a verb that streams; it is ended with the block, as Ctrl-C would."""
    process = await asyncio.create_subprocess_exec(
        *hub.ctl.command(*arguments, "--json"), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )

    async def read() -> AsyncIterator[dict[str, Any]]:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            yield json.loads(line)

    try:
        async with asyncio.timeout(60):
            yield read()
    finally:
        process.send_signal(signal.SIGINT)
        await process.communicate()
    assert process.returncode == 130


def test_an_invite_is_a_token_with_an_end(hub: HubProgram) -> None:
    found = hub.ctl.json("node", "invite", "fleet-new", "--label", "site=north", "--hours", "2")
    assert found["name"] == "fleet-new"
    assert found["token"]
    assert found["hub"] == hub.address
    listed = {node["name"]: node for node in hub.ctl.json("node", "list")["nodes"]}
    assert listed["fleet-new"]["labels"] == {"site": "north"}
    assert listed["fleet-new"]["online"] is False
    assert listed["fleet-new"]["enrolled_at"] is None


def test_the_token_alone_is_on_stdout_so_that_a_shell_can_take_it(hub: HubProgram) -> None:
    done = hub.ctl.run("node", "invite", "fleet-shell")
    assert done.returncode == 0
    assert len(done.stdout.split()) == 1
    assert "modelsync-agent run" in done.stderr


def test_labels_are_replaced_and_select(hub: HubProgram) -> None:
    hub.ctl.json("node", "invite", "fleet-labels", "--label", "a=1")
    assert hub.ctl.json("node", "label", "fleet-labels", "b=2", "c=")["labels"] == {"b": "2", "c": ""}
    found = hub.ctl.json("node", "list", "--selector", "b=2")["nodes"]
    assert [node["name"] for node in found] == ["fleet-labels"]
    assert hub.ctl.json("node", "remove", "fleet-labels")["name"] == "fleet-labels"
    assert hub.ctl.error(3, "node", "show", "fleet-labels")["code"] == "not-found"


def test_assign_by_node_and_by_selector_and_unassign(hub: HubProgram, tmp_path: Path) -> None:
    hub.ctl.json("push", str(folder(tmp_path / "origin", seed=50)), "fleet/assigned", "--channel", "stable")
    hub.ctl.json("node", "invite", "fleet-a", "--label", "site=east")
    made = hub.ctl.json("assign", "fleet/assigned", "--node", "fleet-a", "--priority", "5")
    assert made["created"] is True
    assert made["assignment"]["priority"] == 5
    assert hub.ctl.json("assign", "fleet/assigned", "--node", "fleet-a", "--priority", "5")["created"] is False
    selected = hub.ctl.json("assign", "fleet/assigned@canary", "--selector", "site=east")["assignment"]
    assert selected["nodes"] == ["fleet-a"]
    shown = hub.ctl.json("node", "show", "fleet-a")
    assert {one["channel"] for one in shown["assignments"]} == {"stable", "canary"}
    ended = hub.ctl.text("unassign", "fleet/assigned@canary", "--selector", "site=east")
    assert "no longer follows fleet/assigned@canary" in ended
    assert hub.ctl.error(3, "unassign", "fleet/assigned@canary", "--selector", "site=east")["code"] == "not-found"


async def test_status_follows_a_node_from_nothing_to_active(
    own_hub: HubProgram, start_agent: StartAgent, tmp_path: Path
) -> None:
    origin = folder(tmp_path / "origin", seed=51)
    own_hub.ctl.json("push", str(origin), "fleet/helmet", "--channel", "stable")
    agent = await asyncio.to_thread(start_agent, own_hub, "edge-1")
    assert own_hub.ctl.json("status")["idle"] == ["edge-1"]
    async with lines(own_hub, "status", "--watch") as looks:
        await asyncio.to_thread(own_hub.ctl.json, "assign", "fleet/helmet@stable", "--node", "edge-1")
        async for look in looks:
            if look["places"] and look["settled"]:
                break
    (place,) = look["places"]
    assert (place["node"], place["model"], place["channel"]) == ("edge-1", "fleet/helmet", "stable")
    assert (place["desired"], place["active"], place["phase"], place["online"]) == (1, 1, "active", True)
    assert tree(agent.data / "models" / "fleet" / "helmet" / "stable") == tree(origin)
    told = own_hub.ctl.text("status")
    assert "fleet/helmet@stable" in told
    assert "All is as desired." in told
    assert own_hub.ctl.json("verify", "--agent", str(agent.data))["versions"] == ["fleet/helmet:1"]


async def test_watch_tells_releases_moves_and_nodes_as_they_come(
    own_hub: HubProgram, start_agent: StartAgent, tmp_path: Path
) -> None:
    origin = folder(tmp_path / "origin", seed=52)
    process = await asyncio.create_subprocess_exec(
        *own_hub.ctl.command("watch"), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    assert process.stdout is not None
    seen = ""
    async with asyncio.timeout(60):
        assert b"Watching" in await process.stderr.readline()
        number = 1
        while "released" not in seen:  # the watch may begin a moment after it says so: until then, another push
            await asyncio.to_thread(own_hub.ctl.json, "push", str(origin), "fleet/watched", "--channel", "stable")
            change(origin, seed=number)
            number += 1
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    seen += (await process.stdout.readline()).decode()
        await asyncio.to_thread(start_agent, own_hub, "edge-1")
        while "edge-1 online" not in seen or "moved" not in seen:
            seen += (await process.stdout.readline()).decode()
    process.send_signal(signal.SIGINT)
    await process.communicate()
    assert "fleet/watched:" in seen
    assert "by admin/admin" in seen
    assert process.returncode == 130


async def test_a_watch_for_programs_is_json_lines(own_hub: HubProgram, tmp_path: Path) -> None:
    origin = folder(tmp_path / "origin", seed=53)
    async with lines(own_hub, "status", "--watch") as looks:
        first = await anext(looks)
        own_hub.ctl.json("push", str(origin), "fleet/lines", "--channel", "stable")
        own_hub.ctl.json("node", "invite", "edge-9")
        own_hub.ctl.json("assign", "fleet/lines", "--node", "edge-9")
        async for look in looks:
            if look["places"]:
                break
    assert first["places"] == []
    (place,) = look["places"]
    assert (place["desired"], place["active"], place["phase"]) == (1, None, "unreported")

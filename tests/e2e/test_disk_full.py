"""Disks that fill up, at a node and at the hub: told in words, nothing lost, and gone on with when there is room."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.content import folder, tree
from tests.e2e.fleet import number_at, through, until_active, until_fault
from tests.e2e.processes import AgentProgram, Ctl, HubProgram
from tests.e2e.small_disk import SmallDisk, small_disk
from tests.e2e.travel import RATE, WINDOW, WORDS
from tests.fakes.link.relay import tcp_link
from tests.fakes.link.shape import Way
from tests.fakes.oracle import whole_versions

MEGABYTE = 1 << 20
REF = "full/model@stable"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", 48 * MEGABYTE) as found:
        yield found


@pytest.fixture
def agent(hub: HubProgram, disk: SmallDisk, request: pytest.FixtureRequest) -> Iterator[AgentProgram]:
    """An agent on a small disk that does not run yet."""
    program = AgentProgram.invited(hub, f"small-{zlib.crc32(request.node.name.encode())}", disk.inside / "agent")
    program.command = disk.command(program.command)
    program.log = disk.inside.with_suffix(".log")
    program.data = disk.path / "agent"
    yield program
    program.kill()


def test_a_node_without_room_says_how_much_is_missing_and_goes_on_when_it_is_there(
    hub: HubProgram, agent: AgentProgram, disk: SmallDisk, tmp_path: Path
) -> None:
    agent.start()
    origin = folder(tmp_path / "origin", size=10 * MEGABYTE)
    hub.ctl.json("push", str(origin), "full/model", "--channel", "stable")
    hub.ctl.json("assign", REF, "--node", agent.name)
    path = until_active(agent, REF, 1)
    before = tree(path)
    disk.fill(leave=6 * MEGABYTE)
    new = folder(tmp_path / "new", seed=2, size=12 * MEGABYTE)
    hub.ctl.json("push", str(new), "full/model", "--channel", "stable")
    standing = until_fault(hub, agent, REF, "disk-full")
    assert standing["phase"] == "failed"
    assert standing["active"] == 1
    assert "bytes are needed" in standing["error"]["message"]
    assert "free" in standing["error"]["hint"]
    assert tree(path) == before
    assert set(whole_versions(agent.data)) == {"full/model:1"}
    disk.clear()
    assert tree(until_active(agent, REF, 2)) == tree(new)
    assert set(whole_versions(agent.data)) == {"full/model:1", "full/model:2"}
    hub.ctl.json("unassign", REF, "--node", agent.name)


def test_a_node_whose_disk_fills_up_in_the_middle_keeps_what_it_has_and_goes_on(
    hub: HubProgram, agent: AgentProgram, disk: SmallDisk, tmp_path: Path
) -> None:
    ref = "full/middle@stable"
    origin = folder(tmp_path / "origin", seed=3, size=16 * MEGABYTE)
    hub.ctl.json("push", str(origin), "full/middle", "--channel", "stable")
    with tcp_link(hub.address, RATE) as link:
        through(agent, link)
        hub.ctl.json("assign", ref, "--node", agent.name)
        agent.start()
        link.reach(Way.DOWN, 8 * MEGABYTE)
        disk.fill()
        until_fault(hub, agent, ref, "disk-full")
        assert number_at(agent, ref) == 0
        assert whole_versions(agent.data) == {}
        disk.clear()
        assert tree(until_active(agent, ref, 1)) == tree(origin)
        assert link.carried(Way.DOWN) <= 1.02 * 16 * MEGABYTE + 2 * WINDOW + 4 * WORDS
    assert set(whole_versions(agent.data)) == {"full/middle:1"}
    hub.ctl.json("unassign", ref, "--node", agent.name)


@pytest.fixture
def cramped(tmp_path: Path) -> Iterator[tuple[HubProgram, SmallDisk]]:
    """A hub on a disk that has room for a pack, its reserve, and a little more."""
    with small_disk(tmp_path / "disk", 200 * MEGABYTE) as disk:
        program = HubProgram.at(disk.inside / "hub")
        program.command = disk.command(program.command)
        program.log = tmp_path / "hub.log"
        program.data = disk.path / "hub"
        program.start()
        yield program, disk
        program.kill()


def test_a_hub_without_room_refuses_a_push_before_anything_is_sent(
    cramped: tuple[HubProgram, SmallDisk], tmp_path: Path
) -> None:
    hub, disk = cramped
    origin = folder(tmp_path / "origin", size=2 * MEGABYTE)
    hub.ctl.json("push", str(origin), "full/hub", "--channel", "stable")
    disk.fill(leave=66 * MEGABYTE)
    new = folder(tmp_path / "new", seed=4, size=8 * MEGABYTE)
    error = hub.ctl.error(7, "push", str(new), "full/hub", "--channel", "stable")
    assert error["code"] == "disk-full"
    assert "nothing was sent" in error["safe"]
    assert "make room" in error["hint"]
    hub.ctl.json("pull", "full/hub@stable", str(tmp_path / "dest"))
    assert tree(tmp_path / "dest") == tree(origin)
    disk.clear()
    assert hub.ctl.json("push", str(new), "full/hub", "--channel", "stable")["number"] == 2


def test_a_hub_whose_disk_fills_up_in_the_middle_says_so_serves_on_and_keeps_what_came(
    cramped: tuple[HubProgram, SmallDisk], tmp_path: Path
) -> None:
    hub, disk = cramped
    origin = folder(tmp_path / "origin", size=2 * MEGABYTE)
    hub.ctl.json("push", str(origin), "full/hub", "--channel", "stable")
    new = folder(tmp_path / "new", seed=5, size=16 * MEGABYTE)
    with tcp_link(hub.address, RATE) as link:
        far = Ctl(hub.context, {"MODELSYNCD_HUB": link.address})

        def fill_later() -> None:
            link.reach(Way.UP, 6 * MEGABYTE)
            disk.fill()

        filler = threading.Thread(target=fill_later)
        filler.start()
        error = far.error(7, "push", str(new), "full/hub", "--channel", "stable")
        filler.join()
    assert error["code"] == "disk-full"
    assert error["hint"]
    hub.ctl.json("pull", "full/hub@stable", str(tmp_path / "dest"))
    assert tree(tmp_path / "dest") == tree(origin)
    disk.clear()
    done = hub.ctl.json("push", str(new), "full/hub", "--channel", "stable")
    assert done["number"] == 2
    assert done["bytes_had"] > 3 * MEGABYTE, "what was durable before the disk was full is not sent again"
    hub.ctl.json("pull", "full/hub@stable", str(tmp_path / "dest2"))
    assert tree(tmp_path / "dest2") == tree(new)

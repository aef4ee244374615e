"""Disks that change what they were given: at the hub, and in a node's staging while the agent is down."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.e2e.conftest import StartAgent
from tests.e2e.content import folder, tree
from tests.e2e.fleet import number_at, until_active, until_fault
from tests.e2e.processes import BIN, HubProgram
from tests.e2e.travel import check_cost, syncing
from tests.e2e.waiting import until
from tests.fakes.link.shape import Way
from tests.fakes.oracle import whole_versions


def flip(path: Path, at: int) -> None:
    """Turns one bit."""
    mode = path.stat().st_mode
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 0x04]))
    path.chmod(mode)


def test_rot_at_the_hub_is_named_and_never_activated_and_the_same_push_heals_it(
    own_hub: HubProgram, start_agent: StartAgent, tmp_path: Path
) -> None:
    agent = start_agent(own_hub, "rot")
    old, new = folder(tmp_path / "old", seed=1), folder(tmp_path / "new", seed=2, size=6_000_000)
    own_hub.ctl.json("assign", "rot/model@stable", "--node", "rot")
    own_hub.ctl.json("push", str(old), "rot/model", "--channel", "stable")
    path = until_active(agent, "rot/model@stable", 1)
    own_hub.ctl.json("push", str(new), "rot/model")
    own_hub.stop()
    pack = max((own_hub.data / "packs").rglob("*.pack"), key=lambda found: found.stat().st_size)
    flip(pack, pack.stat().st_size - 3_000_000)
    own_hub.restart()
    own_hub.ctl.json("promote", "rot/model:2", "stable")
    standing = until_fault(own_hub, agent, "rot/model@stable", "damage")
    assert "damaged or gone" in standing["error"]["message"]
    assert "push it again" in standing["error"]["hint"]
    assert standing["active"] == 1
    assert tree(path) == tree(old)
    assert set(whole_versions(agent.data)) == {"rot/model:1"}
    again = own_hub.ctl.json("push", str(new), "rot/model", "--channel", "stable")
    assert (again["number"], again["created"]) == (2, False)
    assert 0 < again["bytes_wire"] <= 2 << 20, "only what was damaged travels"
    # The node tries again within a minute; anything new that the hub says makes it try at once.
    own_hub.ctl.json("assign", "rot/model@stable", "--node", "rot", "--priority", "1")
    assert tree(until_active(agent, "rot/model@stable", 2)) == tree(new)
    assert set(whole_versions(agent.data)) == {"rot/model:1", "rot/model:2"}


def test_staged_bytes_that_change_while_the_agent_is_down_are_fetched_again(
    own_hub: HubProgram, tmp_path: Path
) -> None:
    with syncing(own_hub, tmp_path) as sync:
        sync.link.reach(Way.DOWN, 9_000_000)
        sync.agent.kill()
        (staged,) = (sync.agent.data / "staging").glob("*/weights.bin")
        for at in (100_000, 1_500_000, 3_000_000):
            flip(staged, at)
        sync.agent.start()
        sync.end()
        check_cost(sync.link, Way.DOWN, faults=1)


def test_a_version_that_rots_on_the_node_is_found_by_verify_and_mended_by_the_agent(
    own_hub: HubProgram, start_agent: StartAgent, tmp_path: Path
) -> None:
    agent = start_agent(own_hub, "rotten")
    origin = folder(tmp_path / "origin", size=4_000_000)
    own_hub.ctl.json("assign", "rot/mended@stable", "--node", "rotten")
    own_hub.ctl.json("push", str(origin), "rot/mended", "--channel", "stable")
    path = until_active(agent, "rot/mended@stable", 1)
    agent.stop()
    flip(path / "weights.bin", 2_000_000)
    done = subprocess.run(
        [str(BIN / "modelsync-agent"), "verify", "--data", str(agent.data)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 8, done.stderr
    assert "weights.bin" in done.stdout
    agent.start()
    until(lambda: tree(path) == tree(origin), "the version is mended", pause=0.1)
    assert number_at(agent, "rot/mended@stable") == 1
    until(lambda: not list((path.parent / "versions").glob("*.damaged")), "the mark is gone")
    assert set(whole_versions(agent.data)) == {"rot/mended:1"}

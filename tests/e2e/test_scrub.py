"""Rot is found while nobody looks, by programs as they run: at a node it is mended, at the hub it waits for a push."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import StartAgent
from tests.e2e.content import folder, tree
from tests.e2e.fleet import until_active
from tests.e2e.processes import HubProgram
from tests.e2e.test_rot import flip
from tests.e2e.waiting import until
from tests.fakes.oracle import whole_versions

pytestmark = pytest.mark.slow
SIZE = 4_000_000


def test_a_node_finds_and_mends_rot_in_what_its_jobs_use_though_nobody_asks(
    own_hub: HubProgram, start_agent: StartAgent, tmp_path: Path
) -> None:
    agent = start_agent(own_hub, "scrub")
    origin = folder(tmp_path / "origin", size=SIZE)
    own_hub.ctl.json("push", str(origin), "scrub/model", "--channel", "stable")
    own_hub.ctl.json("assign", "scrub/model@stable", "--node", "scrub")
    path = until_active(agent, "scrub/model@stable", 1)
    agent.stop()
    flip(path / "weights.bin", 3_000_000)
    (agent.data / "scrub.mark").unlink()  # as if a week had gone by
    agent.command += ["--scrub-rate", "100MB"]
    agent.start()
    until(lambda: " scrub.damaged " in agent.log.read_text(), "the rot is found")
    until(lambda: tree(path) == tree(origin), "it is mended", pause=0.1)
    until(lambda: not list((agent.data / "models").rglob("*.damaged")), "the mark is gone")
    assert set(whole_versions(agent.data)) == {"scrub/model:1"}
    wire = [int(word.partition("=")[2]) for word in agent.log.read_text().split() if word.startswith("wire=")]
    assert wire[-1] < SIZE / 2, "the bad chunk travelled, and no more"


def test_a_hub_finds_rot_though_nobody_asks_and_a_push_sends_only_that(own_hub: HubProgram, tmp_path: Path) -> None:
    origin = folder(tmp_path / "origin", size=SIZE)
    own_hub.ctl.json("push", str(origin), "scrub/model", "--channel", "stable")
    own_hub.stop()
    (pack,) = (own_hub.data / "packs").rglob("*.pack")
    flip(pack, pack.stat().st_size - 1_000_000)
    (own_hub.data / "scrub.mark").unlink()
    own_hub.restart()
    until(lambda: " chunks.damaged " in own_hub.log.read_text(), "the rot is found")
    again = own_hub.ctl.json("push", str(origin), "scrub/model", "--channel", "stable")
    assert (again["number"], again["created"]) == (1, False)
    assert 0 < again["bytes_wire"] <= 2 << 20
    assert own_hub.ctl.json("verify")["damaged"] == []

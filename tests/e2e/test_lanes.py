"""Models over several connections, from a hub whose TCP slows down for loss."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.content import folder, tree
from tests.e2e.fleet import until_active
from tests.e2e.processes import AgentProgram, Ctl, HubProgram
from tests.e2e.waiting import until
from tests.fakes.oracle import whole_versions

WIDENED = "session.widened peer=node/wide connections=4"


@pytest.mark.slow
def test_a_node_with_lanes_has_every_byte_and_keeps_its_session(tmp_path: Path) -> None:
    hub = HubProgram.at(tmp_path / "hub")
    hub.command[2:2] = ["--congestion", "reno"]
    hub.start()
    agent = None
    try:
        agent = AgentProgram.invited(hub, "wide", tmp_path / "wide")
        agent.command[2:2] = ["--lanes", "4"]
        agent.start()
        pushing = Ctl(hub.context, {"MODELSYNCD_LANES": "3", "MODELSYNCD_CONGESTION": "reno"})
        hub.ctl.json("assign", "wide/model@stable", "--node", "wide")
        for number in (1, 2):
            content = folder(tmp_path / f"v{number}", seed=number, size=24_000_000)
            pushing.json("push", str(content), "wide/model", "--channel", "stable")
            assert tree(until_active(agent, "wide/model@stable", number)) == tree(content)
            until(lambda: WIDENED in hub.log.read_text(), "four connections")
        assert set(whole_versions(agent.data)) == {"wide/model:1", "wide/model:2"}
        assert hub.log.read_text().count("session.began peer=node/wide") == 1, "its session broke"
    finally:
        if agent is not None:
            agent.kill()
        hub.kill()

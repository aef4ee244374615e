"""Jobs search on a node with the hub stopped: real processes, and a hub that is killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelsyncd.client import Client
from modelsyncd.errors import BadInputError
from tests.e2e.conftest import StartAgent
from tests.e2e.content import folder
from tests.e2e.fleet import until_active
from tests.e2e.processes import AgentProgram, Ctl, HubProgram
from tests.e2e.waiting import until

pytestmark = pytest.mark.slow


def found(agent: AgentProgram, query: str, *fields: str) -> list[str]:
    with Client(agent.data / "agent.sock") as client:
        return [one.ref for one in client.find(query, fields=fields)]


def test_a_node_searches_what_it_follows_with_the_hub_gone_and_after_its_own_restart(
    own_hub: HubProgram, start_agent: StartAgent, tmp_path: Path
) -> None:
    agent = start_agent(own_hub, "seeker")
    for number in (1, 2):
        path = folder(tmp_path / f"helmet{number}", seed=number, size=5_000)
        own_hub.ctl.json(
            "push", str(path), "seek/helmet@stable", "--metric", f"precision=0.{number}", "--label", "task=x"
        )
    own_hub.ctl.json("push", str(folder(tmp_path / "other", seed=9, size=5_000)), "seek/other@stable")
    own_hub.ctl.json("assign", "seek/helmet@stable", "--node", "seeker")
    until_active(agent, "seek/helmet@stable", 2)
    until(lambda: found(agent, "") == ["seek/helmet:2", "seek/helmet:1"], "the extract came")
    own_hub.ctl.json("push", str(folder(tmp_path / "three", seed=3, size=5_000)), "seek/helmet@stable")
    until(lambda: "seek/helmet:3" in found(agent, "channel = stable"), "what is new came")

    own_hub.kill()
    assert found(agent, "metrics.precision > 0.15") == ["seek/helmet:2"]
    assert found(agent, "task = x and not channel = *") == ["seek/helmet:2", "seek/helmet:1"]
    assert found(agent, "model = seek/other") == [], "what the node does not follow it may not know"
    agent.kill()
    agent.start()
    with Client(agent.data / "agent.sock") as client:
        several = client.find("size > 1", sort="metrics.precision", limit=2, fields=["size", "metrics.precision"])
        assert [one.number for one in several] == [1, 2]
        assert several.total == 3
        assert several.heard_at > 0
        assert several.releases[0].fields["metrics.precision"] == (0.1,)
        with pytest.raises(BadInputError, match="▸"):
            client.find("size > > 2")

    here = Ctl(Path("/nowhere"), {"MODELSYNCD_AGENT": str(agent.data / "agent.sock")})
    shown = here.text("query", "--here", "metrics.precision > 0.15")
    assert "seek/helmet:2" in shown
    assert "As the hub was heard" in shown
    assert here.json("query", "--here", "", "--limit", "1")["more"] is True

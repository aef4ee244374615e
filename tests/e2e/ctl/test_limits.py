"""`modelsyncctl limit`, `pause`, `pin`, `transfers`, `why` and `plan` against a real hub and a real agent."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from modelsyncd.ctl.nodeclock import NodeClock
from tests.e2e.conftest import StartAgent
from tests.e2e.content import change, folder
from tests.e2e.fleet import until_active
from tests.e2e.processes import HubProgram
from tests.e2e.waiting import until

LANE = "limits/helmet@stable"


def _why(hub: HubProgram, node: str) -> dict[str, Any]:
    return hub.ctl.json("why", node, "limits/helmet")


def _held(hub: HubProgram, node: str, kind: str) -> dict[str, Any]:
    """What the node says once this holds it up; and what is told to be in its way."""

    def look() -> dict[str, Any] | None:
        told = _why(hub, node)
        return told if told["hold"] == kind else None

    told: dict[str, Any] = until(look, f"{node} is held up by {kind}", pause=0.5)
    assert [block["kind"] for block in told["blocked"]] == [kind]
    return told


@pytest.mark.slow
def test_a_node_waits_as_it_is_told_says_why_and_goes_on_when_it_is_let(
    own_hub: HubProgram, start_agent: StartAgent, tmp_path: Path
) -> None:
    hub, origin = own_hub, folder(tmp_path / "origin", seed=70)
    agent = start_agent(hub, "edge-1", "site=oslo")
    name = agent.name
    assert _why(hub, name)["blocked"][0]["do"] == f"modelsyncctl assign {LANE} --node edge-1"
    hub.ctl.json("assign", LANE, "--node", name)
    assert [block["kind"] for block in _why(hub, name)["blocked"]] == ["no-release"]

    hub.ctl.json("pause", "--selector", "site=oslo", "--note", "storm")
    hub.ctl.json("push", str(origin), LANE)
    paused = _held(hub, name, "paused")["blocked"][0]
    assert "admin/admin" in paused["text"]
    assert paused["do"] == "modelsyncctl resume --selector site=oslo"
    (waits,) = hub.ctl.json("transfers")["transfers"]
    assert (waits["phase"], waits["hold"], waits["bytes_wire"]) == ("wanted", "paused", 0)
    told = hub.ctl.json("resume", "--node", name)
    assert [other["note"] for other in told["still_paused"]] == ["storm"]
    assert hub.ctl.json("resume", "--selector", "site=oslo")["changed"]
    until_active(agent, LANE, 1)
    assert until(lambda: not hub.ctl.json("transfers")["transfers"], "nothing travels any more", pause=0.5)
    assert hub.ctl.json("transfers", "--all")["transfers"][0]["over"]

    hub.ctl.json("limit", LANE, "--all", "--window", _closed(hub, name))
    change(origin, seed=71)
    hub.ctl.json("push", str(origin), LANE)
    shut = _held(hub, name, "window")["blocked"][0]
    assert shut["until"]
    assert shut["do"] == f"modelsyncctl limit {LANE} --node edge-1 --window always"
    hub.ctl.json(*shut["do"].split()[1:])
    until_active(agent, LANE, 2)


@pytest.mark.slow
def test_what_would_break_the_budget_waits_until_a_person_lets_it(
    own_hub: HubProgram, start_agent: StartAgent, tmp_path: Path
) -> None:
    hub, origin = own_hub, folder(tmp_path / "origin", seed=72)
    agent = start_agent(hub, "edge-2")
    hub.ctl.json("limit", "--node", agent.name, "--budget", "2kB", "--quota", "5GB")
    hub.ctl.json("push", str(origin), LANE)
    hub.ctl.json("assign", LANE, "--node", agent.name)
    told = _held(hub, agent.name, "budget")
    plan = hub.ctl.json("plan", LANE, "--node", agent.name)["limits"]
    assert (plan["fits_month"], plan["fits_quota"], plan["consented"]) == (False, True, False)
    (_, *words) = told["blocked"][0]["do"].split()
    assert hub.ctl.json(*words, "--note", "needed")["consent"]["number"] == 1
    until_active(agent, LANE, 1)

    shown = hub.ctl.json("limit", "--node", agent.name)
    overall = next(row for row in shown["nodes"] if row["model"] is None)
    assert (overall["month_left"], overall["quota_bytes"], overall["month_bytes"]) == (0, 5 * 10**9, 2_000)
    assert overall["month_wire"] > 2_000
    hub.ctl.json("pin", "limits/helmet:1", "--node", agent.name)
    assert [pin["model"] for pin in hub.ctl.json("pin", "--node", agent.name)["pins"]] == ["limits/helmet"]
    decided = hub.ctl.json("limit", "--history", "--node", agent.name)["decisions"]
    assert [(one["kind"], one["who"], one["note"]) for one in decided] == [
        ("pin", "admin/admin", ""),
        ("consent", "admin/admin", "needed"),
        ("limit", "admin/admin", ""),
    ]
    assert "anyway, by admin/admin" in hub.ctl.text("limit")
    assert hub.ctl.json("unpin", "limits/helmet:1", "--node", agent.name)["pin"]["number"] == 1
    hub.ctl.json("limit", "--node", agent.name, "--clear")
    assert hub.ctl.json("limit", LANE, "--node", agent.name, "--no-anyway")["changed"]
    assert "Nothing is limited" in hub.ctl.text("limit")


def test_what_can_not_be_is_refused_with_what_to_type(hub: HubProgram) -> None:
    assert hub.ctl.error(3, "limit", "--node", "nobody", "--rate", "2Mbit")["code"] == "not-found"
    assert "--node NAME --anyway" in hub.ctl.error(2, "limit", "--all", "--anyway")["hint"]
    assert hub.ctl.error(2, "limit", "--anyway", "--all", "--rate", "2Mbit")["code"] == "bad-input"
    assert hub.ctl.error(3, "why", "nobody", "limits/helmet")["code"] == "not-found"


def _closed(hub: HubProgram, node: str) -> str:
    """A window that is shut for a while yet, by the clock of the node."""
    offset = hub.ctl.json("node", "show", node)["report"]["utc_offset"]
    hour = int(NodeClock(offset, time.time()).shown.split()[1][:2])
    return f"{(hour + 3) % 24:02}:00-{(hour + 4) % 24:02}:00"

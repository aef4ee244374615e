"""What a node measures moves a channel by its rule, and the node switches: with the hub away in between."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelsyncd.client import Client
from tests.e2e.conftest import StartAgent
from tests.e2e.content import folder, tree
from tests.e2e.fleet import until_active
from tests.e2e.processes import HubProgram
from tests.e2e.waiting import until

pytestmark = pytest.mark.slow

MODEL = "acme/helmet"
BETTER = "metrics.precision >= current.precision + 0.01"


def test_a_candidate_that_a_node_found_better_while_the_hub_was_away_comes_into_use_when_it_is_back(
    own_hub: HubProgram, start_agent: StartAgent, tmp_path: Path
) -> None:
    old, new = folder(tmp_path / "old", seed=1), folder(tmp_path / "new", seed=2)
    own_hub.ctl.json("push", str(old), f"{MODEL}@stable")
    own_hub.ctl.json("push", str(new), f"{MODEL}@candidate")
    own_hub.ctl.json("rule", "set", f"{MODEL}@candidate", "stable", "--if", BETTER, "--stage", "eval")
    agent = start_agent(own_hub, "cam")
    for channel in ("stable", "candidate"):
        own_hub.ctl.json("assign", f"{MODEL}@{channel}", "--node", "cam")
    until_active(agent, f"{MODEL}@stable", 1)
    until_active(agent, f"{MODEL}@candidate", 2)
    own_hub.kill()
    with Client(agent.data / "agent.sock") as client:
        client.record(f"{MODEL}@stable", {"precision": 0.8}, stage="eval")
        client.record(f"{MODEL}@candidate", {"precision": 0.9}, stage="eval")
    own_hub.restart()
    path = until_active(agent, f"{MODEL}@stable", 2)
    assert tree(path) == tree(new)
    moves = [move for move in own_hub.ctl.json("history", MODEL)["moves"] if move["channel"] == "stable"]
    assert [(move["to"], move["who"]) for move in moves] == [(2, "admin/admin"), (1, "admin/admin")]
    assert moves[0]["why"] == f"rule: {BETTER} [precision of :2 = 0.9, precision of :1 = 0.8]"
    own_hub.ctl.json("rollback", MODEL, "stable")
    until_active(agent, f"{MODEL}@stable", 1)
    with Client(agent.data / "agent.sock") as client:
        client.record(f"{MODEL}:2", {"precision": 0.99}, stage="eval")
    until(
        lambda: 0.99 in [one["value"] for one in own_hub.ctl.json("metrics", MODEL)["numbers"]], "the number is there"
    )
    (rule,) = own_hub.ctl.json("rule", "list", MODEL)["rules"]
    assert rule["stage"] == "eval"
    again = own_hub.ctl.json("rule", "set", f"{MODEL}@candidate", "stable", "--if", BETTER, "--stage", "eval")
    assert (again["outcome"], again["current"]) == ("old", 1)  # what a person took back stays so

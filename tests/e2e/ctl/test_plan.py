"""`modelsyncctl plan` and `diff` by tensor, with a real hub and a real node: what was planned is what then travels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.conftest import StartAgent
from tests.e2e.fleet import until_active, until_told
from tests.e2e.processes import HubProgram
from tests.fakes.trained import Weights, saved, trained, weights

LAYERS = 2  # MiB: so little that the node's link is not measured, and both plan and transfer code as for a slow one


@dataclass
class Lab:
    """A hub with two releases, of which the second was trained from the first, and their weights."""

    hub: HubProgram
    old: Weights
    new: Weights


@pytest.fixture(scope="module")
def lab(hub: HubProgram, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    folder = tmp_path_factory.mktemp("planned")
    old = weights("planned", LAYERS)
    new = trained(old)
    new["layer.0.weight"] = old["layer.0.weight"]
    new["head.weight"] = weights("planned head", 1)["layer.0.weight"][:100]
    hub.ctl.json("push", str(saved(old, folder / "old")), "plan/net", "--channel", "stable")
    hub.ctl.json("push", str(saved(new, folder / "new")), "plan/net")
    return Lab(hub, old, new)


def test_a_node_receives_what_was_planned_for_it_to_the_byte(lab: Lab, start_agent: StartAgent) -> None:
    hub = lab.hub
    agent = start_agent(hub, "planned")
    first = hub.ctl.json("plan", "plan/net:1", "--node", agent.name)
    assert first["bytes_plain"] == first["bytes"]
    hub.ctl.json("assign", "plan/net@stable", "--node", agent.name)
    until_active(agent, "plan/net@stable", 1)
    assert until_told(hub, agent, "plan/net@stable", 1)["bytes_wire"] == first["bytes_wire"]

    plan = hub.ctl.json("plan", "plan/net:2", "--node", agent.name, "--rate", "20Mbit")
    assert [(base["number"], base["allowed"]) for base in plan["bases"]] == [(1, True)]
    assert plan["bytes_had"] >= 1 << 20
    assert 0 < plan["coded_wire"] < 0.5 * plan["bytes_coded"]
    assert plan["holdings_known"]
    assert 0 < plan["disk_bytes"] < plan["disk_free"]
    assert plan["seconds"] == pytest.approx((plan["bytes_wire"] + plan["framing_estimate"]) / 2.5e6, abs=1e-3)

    hub.ctl.json("promote", "plan/net:2", "stable")
    until_active(agent, "plan/net@stable", 2)
    told = until_told(hub, agent, "plan/net@stable", 2)
    for name in ("bytes_wire", "bytes_had", "bytes_coded", "bytes_plain"):
        assert told[name] == plan[name], name

    done = hub.ctl.json("plan", "plan/net@stable", "--node", agent.name)
    assert (done["bytes_wire"], done["bytes_had"]) == (0, done["bytes"])


def test_a_pull_takes_what_was_planned_for_somebody_with_nothing(lab: Lab, tmp_path: Path) -> None:
    plan = lab.hub.ctl.json("plan", "plan/net:2")
    pulled = lab.hub.ctl.json("pull", "plan/net:2", str(tmp_path / "dest"))
    assert pulled["bytes_wire"] == plan["bytes_wire"]
    assert lab.hub.ctl.text("plan", "plan/net:2").startswith("plan/net:2 to whoever has nothing\n")


def test_a_pull_onto_the_release_before_takes_what_was_planned_from_it(lab: Lab, tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    lab.hub.ctl.json("pull", "plan/net:1", str(dest))
    plan = lab.hub.ctl.json("plan", "plan/net:2", "--from", "plan/net:1")
    pulled = lab.hub.ctl.json("pull", "plan/net:2", str(dest), "--force")
    assert pulled["bytes_wire"] == plan["bytes_wire"]
    assert pulled["bytes_coded"] == plan["bytes_coded"] > 0


def test_a_node_that_never_came_is_planned_as_a_first_fetch_and_that_is_said(lab: Lab) -> None:
    lab.hub.ctl.json("node", "invite", "absent")
    assert lab.hub.ctl.json("plan", "plan/net:2", "--node", "absent")["holdings_known"] is False
    assert "never said what it holds" in lab.hub.ctl.text("plan", "plan/net:2", "--node", "absent")


def test_what_can_not_be_planned_is_told_with_the_usual_exit_codes(hub: HubProgram) -> None:
    assert hub.ctl.error(3, "plan", "nobody/nothing:1")["code"] == "not-found"
    assert hub.ctl.error(2, "plan", "plan/net", "--node", "a", "--from", "plan/net:1")["code"] == "bad-input"
    assert hub.ctl.error(2, "plan", "plan/net", "--rate", "fast")["code"] == "bad-input"
    assert hub.ctl.error(6, "plan", "plan/net", "--hub", "127.0.0.1:1")["code"] == "road"


def test_a_difference_is_told_by_tensor_and_with_norms_when_asked_for(lab: Lab) -> None:
    plain = lab.hub.ctl.json("diff", "plan/net:1", "plan/net:2")
    kinds = {one["after"]["name"]: one["kind"] for one in plain["tensors"]}
    assert kinds == {"head.weight": "added", "layer.0.weight": "unchanged", "layer.1.weight": "changed"}
    assert plain["kinds"]["changed"] == {"tensors": 1, "bytes": 1 << 20}
    assert all(one["norm"] is None for one in plain["tensors"])
    found = lab.hub.ctl.json("diff", "plan/net:1", "plan/net:2", "--norms")
    (norm,) = [one["norm"] for one in found["tensors"] if one["kind"] == "changed"]
    old, new = (model["layer.1.weight"].astype(np.float64) for model in (lab.old, lab.new))
    assert norm["l2"] == pytest.approx(float(np.linalg.norm(new - old)))
    assert norm["relative"] == pytest.approx(float(np.linalg.norm(new - old) / np.linalg.norm(old)))
    assert norm["largest"] == float(np.abs(new - old).max())
    told = lab.hub.ctl.text("diff", "plan/net:1", "plan/net:2", "--norms", "--all")
    assert "~ model.safetensors" in told
    assert "1 tensor changed, 1.0 MiB" in told
    assert "layer.0.weight" in told


def test_releases_without_tensors_are_told_by_file_alone(hub: HubProgram, tmp_path: Path) -> None:
    for number in (1, 2):
        path = tmp_path / f"{number}"
        path.mkdir()
        (path / "words.txt").write_text(f"{tmp_path.name} {number}")
        hub.ctl.json("push", str(path), "plan/words")
    found = hub.ctl.json("diff", "plan/words:1", "plan/words:2", "--norms")
    assert found["tensors"] == []
    assert "TENSOR" not in hub.ctl.text("diff", "plan/words:1", "plan/words:2")

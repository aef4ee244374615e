"""`modelsyncctl bundle` against a real hub and a real agent."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import StartAgent
from tests.e2e.content import folder, tree
from tests.e2e.fleet import until_active
from tests.e2e.processes import HubProgram
from tests.e2e.waiting import until
from tests.fakes.trained import saved, trained, weights


def test_what_can_be_no_bundle_is_refused_with_what_to_write(hub: HubProgram, tmp_path: Path) -> None:
    hub.ctl.json("push", str(folder(tmp_path / "part", size=1_000)), "bundles/part")
    for words in (
        ["bundles/none"],
        ["bundles/none", "--member", "bundles/part", "--member", "part=bundles/part:1"],
        ["bundles/none", "--member", "Big=bundles/part"],
        ["bundles/none", "--member", "a=bundles/part", "--member", "a=bundles/part:1"],
        ["bundles/none:1", "--member", "a=bundles/part"],
    ):
        hub.ctl.error(2, "bundle", "create", *words)
    hub.ctl.error(3, "bundle", "create", "bundles/none", "--member", "a=bundles/missing")
    assert "bundles/none" in hub.ctl.error(3, "show", "bundles/none")["message"]


def in_two_forms(hub: HubProgram, tmp_path: Path, *models: str, selector: str = "memory=<1GiB") -> dict[str, Path]:
    """Pushes each as fp32 for all and as int8 for some; their folders, as in "int8 forms/little"."""
    found: dict[str, Path] = {}
    for model in models:
        place = model.rpartition("/")[2]
        for number, form in enumerate(("fp32", "int8")):
            found[f"{form} {place}"] = folder(tmp_path / place / form, seed=len(found) + number, size=20_000)
        also = ("--variant", "fp32", "--also", f"int8={found[f'int8 {place}']}", "--selector", f"int8:{selector}")
        hub.ctl.json("push", str(found[f"fp32 {place}"]), model, *also)
    return found


def test_of_members_in_several_forms_a_bundle_has_those_that_some_node_gets(hub: HubProgram, tmp_path: Path) -> None:
    in_two_forms(hub, tmp_path, "forms/little", "forms/big")
    words = ["--member=forms/little", "--member=forms/big"]
    made = hub.ctl.json("bundle", "create", "forms/line", *words)
    selector = {"big:memory": "<1GiB", "little:memory": "<1GiB"}
    assert [(one["name"], one["selector"]) for one in made["variants"]] == [("fp32", {}), ("int8", selector)]
    shown = hub.ctl.json("show", "forms/line")
    assert (shown["variants"], len(shown["members"])) == (made["variants"], 2)
    chosen = ("--variant", "little:int8", "--variant", "big:fp32")
    (only,) = hub.ctl.json("bundle", "create", "forms/small", *words, *chosen)["variants"]
    assert (only["name"], only["selector"]) == ("default", {"memory": "<1GiB"})
    error = hub.ctl.error(2, "bundle", "create", "forms/none", *words, "--variant", "big:int4")
    assert "--variant big:int8" in error["hint"]


@pytest.mark.slow
def test_a_node_gets_of_a_bundle_the_forms_that_it_would_get_alone_and_all_at_once(
    hub: HubProgram, start_agent: StartAgent, tmp_path: Path
) -> None:
    said = {
        **in_two_forms(hub, tmp_path, "formed/little"),
        **in_two_forms(hub, tmp_path, "formed/big", selector="memory=<4GiB"),
    }
    words = ("--member", "formed/little", "--member", "formed/big", "--channel", "stable")
    made = hub.ctl.json("bundle", "create", "formed/line", *words)
    assert [one["name"] for one in made["variants"]] == ["fp32", "big.int8-little.fp32", "int8"]
    agent = start_agent(hub, "formed", "memory=2GiB")
    hub.ctl.json("assign", "formed/line@stable", "--node", agent.name)
    path = until_active(agent, "formed/line@stable", 1)

    def has(little: str, big: str) -> bool:
        """What the link leads to; all of it, as it is switched by one rename."""
        there = path.resolve()
        return {"little": tree(there / "little"), "big": tree(there / "big")} == {
            "little": tree(said[f"{little} little"]),
            "big": tree(said[f"{big} big"]),
        }

    assert has("fp32", "int8")
    hub.ctl.json("node", "label", agent.name, "memory=512MiB")
    until(lambda: has("int8", "int8"), "it has the small form of both")


def test_a_member_without_a_place_lies_below_its_models_last_name(hub: HubProgram, tmp_path: Path) -> None:
    hub.ctl.json("push", str(folder(tmp_path / "little", size=1_000)), "placeless/little@edge")
    made = hub.ctl.json("bundle", "create", "placeless/line", "--member", "placeless/little@edge")
    assert made["members"] == [{"model": "placeless/little", "number": 1, "place": "little"}]


def test_a_bundle_says_what_it_is_of_and_the_same_again_is_the_same(hub: HubProgram, tmp_path: Path) -> None:
    for place, seed in (("little", 1), ("big", 2)):
        hub.ctl.json("push", str(folder(tmp_path / place, seed=seed, size=300_000)), f"lines/{place}@edge")
    words = ["bundle", "create", "lines/line", "--member", "little=lines/little@edge", "--member", "big=lines/big:1"]
    made = hub.ctl.json(*words, "--channel", "stable", "--label", "round=1", "--note", "first")
    members = [
        {"model": "lines/big", "number": 1, "place": "big"},
        {"model": "lines/little", "number": 1, "place": "little"},
    ]
    assert (made["number"], made["created"], made["channel"], made["members"]) == (1, True, "stable", members)
    shown = hub.ctl.json("show", "lines/line")
    assert (shown["members"], shown["labels"], shown["note"]) == (members, {"round": "1"}, "first")
    parts = {f"{place}/{path}" for place in ("big", "little") for path in tree(tmp_path / place)}
    assert {one["path"] for one in shown["contents"]} == parts
    assert "big=lines/big:1 little=lines/little:1" in hub.ctl.text("list", "lines/")
    assert "big=lines/big:1 little=lines/little:1" in hub.ctl.text("history", "lines/line")
    again = hub.ctl.json(*words)
    assert (again["number"], again["created"]) == (1, False)
    hub.ctl.json("pull", "lines/line", str(tmp_path / "pulled"))
    assert tree(tmp_path / "pulled" / "little") == tree(tmp_path / "little")
    assert tree(tmp_path / "pulled" / "big") == tree(tmp_path / "big")


@pytest.mark.slow
def test_the_next_bundle_is_coded_against_this_one_and_moves_as_one_to_and_fro(
    own_hub: HubProgram, start_agent: StartAgent, tmp_path: Path
) -> None:
    hub, agent = own_hub, start_agent(own_hub, "edge-1")
    hub.ctl.json("assign", "two/line@stable", "--node", agent.name)
    models = {place: weights(f"{tmp_path.name} {place}", layers) for place, layers in (("little", 1), ("big", 3))}
    for number in (1, 2):
        for place, model in models.items():
            path = saved(model if number == 1 else trained(model), tmp_path / f"{place}-{number}")
            hub.ctl.json("push", str(path), f"two/{place}")
        wanted = [f"--member={place}=two/{place}:{number}" for place in models]
        made = hub.ctl.json("bundle", "create", "two/line", *wanted, "--channel", "stable")
        assert made["number"] == number
        path = until_active(agent, "two/line@stable", number)
        for place in models:
            assert tree(path / place) == tree(tmp_path / f"{place}-{number}")
    plan = hub.ctl.json("plan", "two/line:2", "--from", "two/line:1")
    assert plan["bytes_coded"] > 0.9 * plan["bytes"]
    assert plan["coded_wire"] < 0.5 * plan["bytes_coded"]
    member = hub.ctl.json("plan", "two/line:1", "--from", "two/big:1")
    assert member["bytes_had"] >= 0.99 * sum(len(data) for data, _ in tree(tmp_path / "big-1").values())
    hub.ctl.json("rollback", "two/line")
    path = until_active(agent, "two/line@stable", 1)
    assert {place: tree(path / place) for place in models} == {place: tree(tmp_path / f"{place}-1") for place in models}

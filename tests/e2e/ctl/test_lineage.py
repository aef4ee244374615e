"""`push --parent` and `lineage`, against a real hub."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.content import folder
from tests.e2e.processes import HubProgram

BASE, HELMET = "lineage/base", "lineage/helmet"


def test_a_family_is_shown_as_trees_both_ways_with_sizes_and_numbers(hub: HubProgram, tmp_path: Path) -> None:
    def push(model: str, seed: int, *more: str) -> None:
        hub.ctl.json("push", str(folder(tmp_path / f"origin{seed}", seed=seed, size=10_000)), model, *more)

    push(BASE, 1)
    push(HELMET, 2, "--parent", f"{BASE}=distilled-from", "--metric", "precision=0.8", "--channel", "stable")
    push(HELMET, 3, "--parent", f"{HELMET}@stable", "--metric", "precision=0.9")
    push(HELMET, 4, "--parent", f"{HELMET}:1", "--parent", f"{HELMET}:2=aggregated-from")

    text = hub.ctl.text("lineage", f"{HELMET}@stable")
    head, above, below = text.split("\n\n")
    assert head.startswith(f"{HELMET}:1  ")
    assert head.endswith("precision 0.8  @stable")
    assert above.splitlines()[0] == "Came from"
    assert above.splitlines()[1].startswith(f"└─ distilled-from: {BASE}:1  ")
    lines = below.rstrip().splitlines()
    assert lines[0] == "Became"
    assert lines[1].startswith(f"├─ fine-tuned-from: {HELMET}:2  ")
    assert lines[2].startswith(f"│  └─ aggregated-from: {HELMET}:3  ")
    assert lines[3].startswith(f"└─ fine-tuned-from: {HELMET}:3  ")
    assert lines[3].endswith("(see above)")

    found = hub.ctl.json("lineage", f"{HELMET}:3", "--depth", "1")
    assert (found["number"], found["cut"]) == (3, True)
    assert {(tie["child"], tie["role"], tie["parent"]) for tie in found["ties"]} == {
        (f"{HELMET}:3", "fine-tuned-from", f"{HELMET}:1"),
        (f"{HELMET}:3", "aggregated-from", f"{HELMET}:2"),
    }
    measured = {one["number"]: one["newest_metrics"] for one in found["releases"]}
    assert measured == {1: {"precision": 0.8}, 2: {"precision": 0.9}, 3: {}}
    shown = hub.ctl.json("show", f"{HELMET}:2")
    assert [(one["model"], one["number"], one["role"]) for one in shown["parents"]] == [(HELMET, 1, "fine-tuned-from")]
    assert "There is more" in hub.ctl.text("lineage", f"{HELMET}:3", "--depth", "1")


def test_a_parent_that_is_not_there_or_a_role_that_is_none_is_refused(hub: HubProgram, tmp_path: Path) -> None:
    path = str(folder(tmp_path / "origin", seed=7, size=1_000))
    assert "lineage/none" in hub.ctl.error(3, "push", path, "lineage/new", "--parent", "lineage/none")["message"]
    error = hub.ctl.error(2, "push", path, "lineage/new", "--parent", "lineage/base=fine-tuned")
    assert "fine-tuned-from" in error["hint"]
    hub.ctl.json("push", path, "lineage/alone")
    assert "It does not say what it came from" in hub.ctl.text("lineage", "lineage/alone")

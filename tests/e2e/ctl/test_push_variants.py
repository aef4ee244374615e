"""`modelsyncctl push` of variants against a real hub: several at once, beside those that are there, and in a crowd."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.e2e.content import folder
from tests.e2e.ctl.test_verify import flip
from tests.e2e.processes import HubProgram


def names(hub: HubProgram, ref: str) -> list[str]:
    """What the variants of a release are called."""
    return [one["name"] for one in hub.ctl.json("show", ref)["variants"]]


def test_several_variants_go_up_as_one_release(hub: HubProgram, tmp_path: Path) -> None:
    full, small = folder(tmp_path / "full", seed=31), folder(tmp_path / "small", seed=32, size=400_000)
    push = ("push", str(full), "several/model", "--variant", "fp32", "--also", f"int8={small}")
    selectors = ("--selector", "int8:arch=arm64", "--selector", "int8:memory=<4GiB", "--channel", "stable")
    done = hub.ctl.json(*push, *selectors)
    assert (done["number"], done["created"], done["files"]) == (1, True, 6)
    shown = hub.ctl.json("show", "several/model@stable")
    selector = {"arch": "arm64", "memory": "<4GiB"}
    assert [(one["name"], one["selector"]) for one in shown["variants"]] == [("fp32", {}), ("int8", selector)]
    again = hub.ctl.json(*push, *selectors)
    assert (again["number"], again["created"], again["bytes_wire"]) == (1, False, 0)
    assert hub.ctl.json(*push)["number"] == 2  # for everybody is not for some: that is another release
    page = hub.ctl.text("show", "several/model:1")
    assert "arch=arm64 memory=<4GiB" in page


def test_what_is_added_travels_and_what_is_kept_does_not(hub: HubProgram, tmp_path: Path) -> None:
    full, small = folder(tmp_path / "full", seed=33), folder(tmp_path / "small", seed=34, size=400_000)
    said = ("--label", "task=helmet", "--metric", "accuracy=0.9", "--note", "first")
    hub.ctl.json("push", str(full), "adding/model", "--variant", "fp32", *said)
    added = hub.ctl.json(
        *("push", str(small), "adding/model", "--variant", "int8", "--selector", "arch=arm64"),
        *("--add-to", "adding/model:1", "--label", "by=ann"),
    )
    assert (added["number"], added["variant"], added["kept"]) == (2, "int8", ["fp32"])
    assert added["bytes_wire"] < 600_000
    shown = hub.ctl.json("show", "adding/model")
    assert (shown["labels"], shown["metrics"], shown["note"]) == (
        {"by": "ann", "task": "helmet"},
        {"accuracy": 0.9},
        "",
    )
    other = folder(tmp_path / "other", seed=35, size=300_000)
    replaced = hub.ctl.json("push", str(other), "adding/model", "--variant", "int8", "--add-to", "adding/model")
    assert (replaced["number"], names(hub, "adding/model:3")) == (3, ["fp32", "int8"])
    assert hub.ctl.json("show", "adding/model")["variants"][1]["bytes"] == replaced["bytes"]


@pytest.mark.slow
def test_variants_that_are_added_at_the_same_time_are_all_there_in_the_end(hub: HubProgram, tmp_path: Path) -> None:
    hub.ctl.json("push", str(folder(tmp_path / "first", seed=40, size=200_000)), "crowd/model", "--variant", "v0")
    commands = [
        hub.ctl.command(
            *("push", str(folder(tmp_path / f"v{place}", seed=40 + place, size=200_000)), "crowd/model"),
            *("--variant", f"v{place}", "--add-to", "crowd/model"),
        )
        for place in (1, 2, 3)
    ]
    running = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for command in commands]
    assert [process.wait(120) for process in running] == [0, 0, 0]
    assert hub.ctl.json("show", "crowd/model")["number"] == 4
    assert sorted(names(hub, "crowd/model")) == ["v0", "v1", "v2", "v3"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--add-to", "wrong/model:1"], "needs a name"),
        (["--variant", "b", "--add-to", "other/model:1"], "no release of wrong/model"),
        (["--variant", "Not A Name"], "no name for a variant"),
        (["--selector", "memory=>=much"], "no number"),
        (["--also", "default=x"], "two variants are called"),
        (["--also", "nothing"], "no variant"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_read(
    hub: HubProgram, tmp_path: Path, options: list[str], told: str
) -> None:
    assert told in hub.ctl.error(2, "push", str(tmp_path / "nowhere"), "wrong/model", *options)["message"]


def test_two_forms_of_one_content_are_refused(hub: HubProgram, tmp_path: Path) -> None:
    origin = folder(tmp_path / "origin", seed=36, size=200_000)
    error = hub.ctl.error(2, "push", str(origin), "twice/model", "--also", f"copy={origin}")
    assert "same content" in error["message"]


@pytest.mark.slow
def test_a_variant_that_rotted_at_the_hub_is_not_kept_in_silence(own_hub: HubProgram, tmp_path: Path) -> None:
    full, small = folder(tmp_path / "full", seed=37), folder(tmp_path / "small", seed=38, size=200_000)
    first = ("push", str(full), "rotten/model", "--variant", "fp32")
    own_hub.ctl.json(*first)
    own_hub.stop()
    (pack,) = (own_hub.data / "packs").rglob("*.pack")
    flip(pack, 1_000_000)
    own_hub.restart()
    assert own_hub.ctl.error(8, "verify", "rotten/model")["code"] == "damage"
    second = ("push", str(small), "rotten/model", "--variant", "int8", "--add-to", "rotten/model")
    error = own_hub.ctl.error(8, *second)
    assert "not whole at the hub any more: fp32" in error["message"]
    assert own_hub.ctl.json("show", "rotten/model")["number"] == 1
    assert own_hub.ctl.json(*first)["number"] == 1
    assert own_hub.ctl.json(*second)["number"] == 2
    assert names(own_hub, "rotten/model") == ["fp32", "int8"]

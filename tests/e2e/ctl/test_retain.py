"""`modelsyncctl retain` and `gc`, against a real hub."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.content import folder
from tests.e2e.processes import HubProgram

MODEL = "kept/helmet"


def test_a_rule_is_kept_shown_and_carried_out(hub: HubProgram, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        path = folder(tmp_path / f"origin{number}", seed=number, size=1_000)
        channel = ["--channel", "stable"] if number == 1 else []
        assert hub.ctl.json("push", str(path), MODEL, *channel)["number"] == number
    assert "Of kept/* is kept: the newest 1" in hub.ctl.text("retain", "set", "kept/*", "--newest", "1")
    assert "kept/*" in hub.ctl.text("retain", "list")

    told = hub.ctl.json("gc", "--dry-run")
    assert [(one["number"], one["why"]) for one in told["going"]] == [(2, "kept/* keeps the newest 1")]
    assert [(one["number"], one["why"]) for one in told["spared"]] == [(1, "a channel names it")]
    assert "Nothing was changed. To do it: modelsyncctl gc" in hub.ctl.text("gc", "--dry-run")

    assert "1 release went" in hub.ctl.text("gc", "--grace", "0m")
    assert hub.ctl.run("show", f"{MODEL}:2").returncode != 0
    assert hub.ctl.json("show", f"{MODEL}:1")["number"] == 1
    assert hub.ctl.json("retain", "remove", "kept/*")["retention"]["newest"] == 1


def test_a_rule_that_says_nothing_and_an_age_that_is_none_are_refused_with_an_example(hub: HubProgram) -> None:
    for words, said in ((["kept/*"], "--newest, --age or both"), (["kept/*", "--age", "soon"], "is no age")):
        done = hub.ctl.run("retain", "set", *words)
        assert done.returncode != 0
        assert said in done.stderr

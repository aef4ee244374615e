"""`modelsyncctl promote --if` and `rule`, against a real hub."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.content import folder
from tests.e2e.processes import HubProgram
from tests.e2e.waiting import until

MODEL = "rules/helmet"
BETTER = "metrics.precision >= current.precision + 0.01"


def test_a_channel_moves_if_the_release_is_better_and_from_then_on_by_itself(hub: HubProgram, tmp_path: Path) -> None:
    def push(number: int, precision: str | None, *more: str) -> None:
        metric = [] if precision is None else ["--metric", f"precision={precision}"]
        path = folder(tmp_path / f"origin{number}", seed=number, size=1_000)
        assert hub.ctl.json("push", str(path), MODEL, *metric, *more)["number"] == number

    push(1, "0.8", "--channel", "stable")
    push(2, "0.805", "--channel", "candidate")
    ask = ("promote", f"{MODEL}@candidate", "stable", "--if", BETTER)

    done = hub.ctl.run(*ask)
    assert done.returncode == 5
    assert f"{MODEL}@stable stays at release 1: it does not hold that {BETTER}" in done.stdout
    assert [line.split()[:4] for line in done.stdout.splitlines()[-2:]] == [
        ["candidate", ":2", "precision", "0.805"],
        ["current", ":1", "precision", "0.8"],
    ]
    answer = json.loads(hub.ctl.run(*ask, "--json").stdout)
    assert (answer["outcome"], answer["candidate"], answer["current"], answer["move"]) == ("fails", 2, 1, None)
    assert [(one["of"], one["number"], one["value"]) for one in answer["compared"]] == [
        ("candidate", 2, 0.805),
        ("current", 1, 0.8),
    ]

    push(3, None, "--channel", "candidate")
    done = hub.ctl.run(*ask)
    assert (done.returncode, "a value is missing" in done.stdout) == (5, True)
    assert f"modelsyncctl metrics {MODEL}:3" in done.stdout

    push(4, "0.9", "--channel", "candidate")
    moved = hub.ctl.json(*ask, "--note", "friday")
    assert (moved["outcome"], moved["move"]["from"], moved["move"]["to"]) == ("moved", 1, 4)
    assert "names release 4 already" in hub.ctl.text(*ask)

    assert "No channel of rules/helmet moves by itself" in hub.ctl.text("rule", "list", MODEL)
    assert f"{MODEL}@stable follows {MODEL}@candidate" in hub.ctl.text(*ask, "--keep", "--note", "as agreed")
    (rule,) = hub.ctl.json("rule", "list", MODEL)["rules"]
    assert (rule["channel"], rule["candidates"], rule["if"], rule["who"]) == (
        "stable",
        "candidate",
        BETTER,
        "admin/admin",
    )
    assert BETTER in hub.ctl.text("rule", "list")
    push(5, "0.95", "--channel", "candidate")

    def moved_to_5() -> dict[str, object] | None:
        moves = hub.ctl.json("history", MODEL)["moves"]
        return next((move for move in moves if (move["channel"], move["to"]) == ("stable", 5)), None)

    move = until(moved_to_5, "the rule moves stable to 5", seconds=90, pause=0.2)
    assert (move["who"], move["from"]) == ("admin/admin", 4)
    assert move["why"] == f"rule: as agreed; {BETTER} [precision of :5 = 0.95, precision of :4 = 0.9]"
    assert hub.ctl.json("rule", "remove", MODEL, "stable")["rule"]["if"] == BETTER
    assert "has no rule" in hub.ctl.error(3, "rule", "remove", MODEL, "stable")["message"]


def test_what_can_be_no_rule_is_refused_in_words(hub: HubProgram, tmp_path: Path) -> None:
    model = "rules/vest"
    hub.ctl.json("push", str(folder(tmp_path / "origin", seed=9, size=1_000)), model)
    error = hub.ctl.error(2, "promote", f"{model}:1", "stable", "--if", "metrics.a > 1", "--keep")
    assert "a rule is kept for what comes" in error["message"]
    assert "belong to a condition" in hub.ctl.error(2, "promote", f"{model}:1", "stable", "--keep")["message"]
    assert "can't be read" in hub.ctl.error(2, "promote", f"{model}:1", "stable", "--if", "metrics.a >")["message"]
    first = hub.ctl.run("promote", f"{model}:1", "stable", "--if", "metrics.a > current.a")
    assert f"{model}@stable still names nothing" in first.stdout
    assert f"Its first release: modelsyncctl promote {model}:1 stable" in first.stdout

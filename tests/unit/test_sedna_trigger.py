"""Settings that still have a trigger: the agent does not start, and says which rule at the hub takes its place."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest

from edge_agent.sedna.deltas import metrics_of
from edge_agent.sedna.jobs import understand_all
from edge_agent.sedna.reports import numbers
from edge_agent.sedna.settings import JobSettings
from edge_agent.sedna.trigger import rule_of
from modelsyncd.errors import BadInputError
from modelsyncd.query.deciding import Answer, decide
from modelsyncd.query.judging import Value
from modelsyncd.query.parser import parse_rule
from modelsyncd.query.words import Field

DATA = Path("/var/lib/agent")


def answer(condition: str, new: object, old: object) -> Answer:
    """What a rule says of two releases that were evaluated together."""
    candidate, current = metrics_of(numbers(new), numbers(old)), numbers(old)

    def look(field: Field) -> Sequence[Value]:
        known, name = current if field.current else candidate, field.name.removeprefix("metrics.")
        return [known[name]] if name in known else []

    return decide(parse_rule(condition, 0.0), look)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("precision_delta >= 0.01", "metrics.precision >= current.precision + 0.01"),
        ("precision_delta gt 0", "metrics.precision > current.precision"),
        (" loss_delta  le  -1e-3 ", "metrics.loss <= current.loss - 0.001"),
        ("precision == 1", "metrics.precision = 1"),
        ("precision ne 1.0", "metrics.precision != 1"),
        ("loss < -0.5", "metrics.loss < -0.5"),
        ("precision[1] ge .9", 'metrics."precision[1]" >= 0.9'),
        ("precision_delta[1] > 0.1", 'metrics."precision[1]" > current."precision[1]" + 0.1'),
        ("box.recall_delta = 0", "metrics.box.recall = current.box.recall"),
        ("size_delta < 0", "metrics.size < current.metrics.size"),
        ("f1-score_delta > 1e-9", 'metrics."f1-score" > current."f1-score" + 1e-09'),
    ],
)
def test_each_trigger_has_a_rule(text: str, rule: str) -> None:
    assert rule_of(text) == rule
    assert parse_rule(rule, 0.0)


@pytest.mark.parametrize(
    ("text", "new", "old", "better"),
    [
        ("precision_delta >= 0.01", 0.92, 0.91, True),
        ("precision_delta >= 0.01", 0.915, 0.91, False),
        ("precision_delta >= 0.1", 0.3, 0.2, True),
        ("precision_delta gt 0", 0.91, 0.91, False),
        ("precision_delta > 0", 0.9100001, 0.91, True),  # calculated exactly: a trigger took this for equal
        ("precision > 0.9", 0.91, 0.99, True),
        ("precision lt 0.9", 0.91, 0.99, False),
        ("precision <= 0.91", 0.91, 0.99, True),
        ("precision_delta eq 0", 0.91, 0.91, True),
        ("precision_delta = 0", 0.91, 0.90, False),
        ("precision_delta ne 0", 0.91, 0.90, True),
        ("precision_delta < 0", 0.90, 0.91, True),
    ],
)
def test_its_rule_says_what_a_trigger_said(text: str, new: float, old: float, better: bool) -> None:
    expected = Answer.YES if better else Answer.NO
    assert answer(rule_of(text), {"precision": new}, {"precision": old}) is expected
    metric, _, threshold = text.split()
    recorded = f"metrics.{metric} {rule_of(text).split()[1]} {threshold}"  # by the difference that nodes record
    assert answer(recorded, {"precision": new}, {"precision": old}) is expected


def test_its_rule_can_name_one_of_many_classes_and_what_is_missing_moves_nothing() -> None:
    new, old = {"precision": [0.5, 0.9]}, {"precision": [0.6, 0.7]}
    assert answer(rule_of("precision_delta[1] > 0.1"), new, old) is Answer.YES
    assert answer(rule_of("precision_delta[0] > 0"), new, old) is Answer.NO
    assert answer(rule_of("precision_delta > 0"), new, old) is Answer.UNKNOWN
    assert answer('metrics."precision_delta[1]" = 0.2', new, old) is Answer.YES


@pytest.mark.parametrize(
    "text", ["precision", "precision >", "precision ~ 1", "precision > high", "a > nan", "a > inf", 'a"b > 1']
)
def test_what_was_no_trigger_has_no_rule(text: str) -> None:
    assert rule_of(text) == ""


def test_settings_with_triggers_are_refused_with_what_to_type_at_the_hub() -> None:
    settings = {
        "default/helmet": JobSettings("acme/helmet", trigger="precision_delta >= 0.01"),
        "default/gloves": JobSettings("acme/gloves", serving="live", candidate="new", trigger="better"),
        "default/shoes": JobSettings("acme/shoes"),
    }
    with pytest.raises(BadInputError) as caught:
        understand_all(settings, DATA)
    assert "default/helmet ('precision_delta >= 0.01') and default/gloves ('better')" in caught.value.message
    assert "workers keep" in caught.value.safe
    said = caught.value.hint.partition(": ")[2].split(" && ")
    condition = "metrics.precision >= current.precision + 0.01"
    assert [shlex.split(one) for one in said] == [
        ["modelsyncctl", "rule", "set", "acme/helmet@candidate", "stable", "--if", condition, "--stage", "eval"],
        ["modelsyncctl", "rule", "set", "acme/gloves@new", "live", "--if", "CONDITION", "--stage", "eval"],
    ]

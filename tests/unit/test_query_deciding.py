"""Whether promotion rules hold: yes, no, or not to be known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from modelsyncd.query.deciding import Answer, decide, fields_of
from modelsyncd.query.judging import Value
from modelsyncd.query.parser import parse_rule
from modelsyncd.query.words import Field


def answer(rule: str, known: Mapping[str, Value]) -> Answer:
    def look(field: Field) -> Sequence[Value]:
        return [known[str(field)]] if str(field) in known else []

    return decide(parse_rule(rule, 0.0), look)


BETTER = "metrics.precision >= current.precision + 0.01"
P, C = "metrics.precision", "current.metrics.precision"


@pytest.mark.parametrize(
    ("rule", "known", "expected"),
    [
        (BETTER, {P: 0.9, C: 0.89}, Answer.YES),
        (BETTER, {P: 0.89, C: 0.89}, Answer.NO),
        (BETTER, {P: 0.9}, Answer.UNKNOWN),
        (BETTER, {C: 0.9}, Answer.UNKNOWN),
        (f"not {BETTER}", {P: 0.9}, Answer.UNKNOWN),
        (f"{BETTER} and metrics.recall > 0.5", {P: 0.9, "metrics.recall": 0.4}, Answer.NO),
        (f"{BETTER} and metrics.recall > 0.5", {P: 0.9, "metrics.recall": 0.6}, Answer.UNKNOWN),
        (f"{BETTER} or metrics.recall > 0.5", {P: 0.9, "metrics.recall": 0.6}, Answer.YES),
        (f"{BETTER} or not current.number = *", {P: 0.9}, Answer.YES),
        (f"{BETTER} or not current.number = *", {P: 0.9, "current.number": 2.0}, Answer.UNKNOWN),
        ("metrics.loss <= current.loss * 0.9", {"metrics.loss": 0.9, "current.metrics.loss": 1.0}, Answer.YES),
        ("labels.task = helmet* and metrics.a != 1", {"labels.task": "helmets", "metrics.a": 2.0}, Answer.YES),
        ("labels.task != current.labels.task", {"labels.task": "a", "current.labels.task": "b"}, Answer.YES),
        ("labels.task != helmet", {}, Answer.UNKNOWN),
    ],
)
def test_a_rule_holds_or_does_not_or_can_not_be_told(rule: str, known: Mapping[str, Value], expected: Answer) -> None:
    assert answer(rule, known) is expected


def test_numbers_add_up_as_people_write_them() -> None:
    assert answer(BETTER.replace("0.01", "0.1"), {P: 0.3, C: 0.2}) is Answer.YES


def test_a_rule_says_what_it_looks_at_each_once() -> None:
    rule = parse_rule(f"{BETTER} and metrics.precision > 0.5", 0.0)
    assert [str(field) for field in fields_of(rule)] == [P, C]

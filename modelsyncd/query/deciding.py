"""The only place that decides whether a promotion rule holds, and says which side had which value.

Unlike a query, a rule is never fulfilled by what nobody knows: where a value is missing the answer is neither yes nor
no, and "not" does not change that. `current.number = *` asks whether there is any value at all, which is always known.
Numbers are calculated with as people write them: 0.3 is 0.2 + 0.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from math import isfinite

from modelsyncd.query.judging import Look, Value, matches
from modelsyncd.query.parser import comparisons, parts
from modelsyncd.query.words import (
    And,
    Any,
    Compare,
    Comparison,
    Condition,
    Field,
    Not,
    Number,
    Operand,
    Operator,
    Or,
    Sum,
    Text,
)


class Answer(Enum):
    """What becomes of a rule."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


def decide(condition: Condition, look: Look) -> Answer:
    """Whether it holds for what `look` sees."""
    match condition:
        case And(conditions):
            answers = {decide(one, look) for one in conditions}
            return Answer.NO if Answer.NO in answers else _unless_unknown(answers, Answer.YES)
        case Or(conditions):
            answers = {decide(one, look) for one in conditions}
            return Answer.YES if Answer.YES in answers else _unless_unknown(answers, Answer.NO)
        case Not(inner):
            return {Answer.YES: Answer.NO, Answer.NO: Answer.YES}.get(decide(inner, look), Answer.UNKNOWN)
        case Comparison():
            return _compared(condition, look)


def fields_of(condition: Condition) -> Sequence[Field]:
    """What it looks at, each once, from left to right."""
    sides = [side for one in comparisons(condition) for side in (one.field, one.value)]
    return list(dict.fromkeys(part for side in sides for part in parts(side) if isinstance(part, Field)))


def _unless_unknown(answers: set[Answer], otherwise: Answer) -> Answer:
    return Answer.UNKNOWN if Answer.UNKNOWN in answers else otherwise


def _compared(comparison: Comparison, look: Look) -> Answer:
    how = comparison.how
    ones = _values(comparison.field, look)
    if isinstance(comparison.value, Any):
        return _as_answer(bool(ones) is (how is not Compare.NOT_EQUAL))
    others = _values(comparison.value, look)
    if not ones or not others:
        return Answer.UNKNOWN
    if how is Compare.NOT_EQUAL:
        return _as_answer(not any(_holds(one, Compare.EQUAL, other) for one in ones for other in others))
    return _as_answer(any(_holds(one, how, other) for one in ones for other in others))


def _as_answer(holds: bool) -> Answer:
    return Answer.YES if holds else Answer.NO


@dataclass(frozen=True, slots=True)
class _Pattern:
    """A text that was written in the rule: a `*` in it stands for anything."""

    text: str


_Side = str | Decimal | _Pattern


def _values(operand: Operand, look: Look) -> Sequence[_Side]:
    match operand:
        case Field():
            return [_exact(value) for value in look(operand) if isinstance(value, str) or isfinite(value)]
        case Number(value):
            return [_exact(value)]
        case Text(text):
            return [_Pattern(text)]
        case Any():
            return []
        case Sum(left, operator, right):
            ones, others = _values(left, look), _values(right, look)
            pairs = [(one, other) for one in ones for other in others]
            return [
                _calculated(one, operator, other)
                for one, other in pairs
                if isinstance(one, Decimal) and isinstance(other, Decimal)
            ]


def _exact(value: Value) -> str | Decimal:
    return value if isinstance(value, str) else Decimal(repr(float(value)))


def _calculated(left: Decimal, operator: Operator, right: Decimal) -> Decimal:
    match operator:
        case Operator.PLUS:
            return left + right
        case Operator.MINUS:
            return left - right
        case Operator.TIMES:
            return left * right


def _holds(one: _Side, how: Compare, other: _Side) -> bool:
    if isinstance(one, str):
        wanted = other.text if isinstance(other, _Pattern) else other
        if not isinstance(wanted, str):
            return False
        return matches(one, how, wanted) if isinstance(other, _Pattern) else how is Compare.EQUAL and one == wanted
    if not isinstance(one, Decimal) or not isinstance(other, Decimal):
        return False
    match how:
        case Compare.LESS:
            return one < other
        case Compare.AT_MOST:
            return one <= other
        case Compare.MORE:
            return one > other
        case Compare.AT_LEAST:
            return one >= other
        case _:
            return one == other

"""The only place that tells whether a condition holds, for one release at a time.

What a release does not say compares as false: `metrics.precision > 0.8` is false where nobody measured it, and
`not metrics.precision > 0.8` true.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from modelsyncd.query.parser import calculated
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
    Or,
    Sum,
    Text,
)

Value = str | float
_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
Look = Callable[[Field], Sequence[Value]]
"""Gives all values of a field, none where there is none."""


def holds(condition: Condition, look: Look) -> bool:
    """Whether it is true for what `look` sees."""
    match condition:
        case And(conditions):
            return all(holds(one, look) for one in conditions)
        case Or(conditions):
            return any(holds(one, look) for one in conditions)
        case Not(inner):
            return not holds(inner, look)
        case Comparison(field, how, value):
            return _compares(_values(field, look), how, value, look)


def _compares(found: Sequence[Value], how: Compare, value: Operand, look: Look) -> bool:
    if how is Compare.NOT_EQUAL:
        return not _compares(found, Compare.EQUAL, value, look)
    match value:
        case Any():
            return bool(found)
        case Text(text):
            return any(isinstance(one, str) and matches(one, how, text) for one in found)
        case _:
            return any(_ordered(one, how, other) for other in _values(value, look) for one in found)


def _values(operand: Operand, look: Look) -> Sequence[Value]:
    match operand:
        case Field():
            return look(operand)
        case Number(value):
            return (value,)
        case Text(text):
            return (text,)
        case Any():
            return ()
        case Sum(left, operator, right):
            ones, others = _values(left, look), _values(right, look)
            pairs = [(one, other) for one in ones for other in others]
            return [
                calculated(one, operator, other)
                for one, other in pairs
                if not isinstance(one, str) and not isinstance(other, str)
            ]


def matches(found: str, how: Compare, wanted: str) -> bool:
    """Whether a text equals another, `*` standing for anything, or has it in it whatever the case."""
    if how is Compare.HAS:
        return folded(wanted) in folded(found)
    return found == wanted if "*" not in wanted else _like(found, wanted.split("*"))


def folded(text: str) -> str:
    """Without the case of ASCII letters, the only ones whose case databases agree on."""
    return text.translate(_LOWER)


def _like(found: str, parts: Sequence[str]) -> bool:
    """Whether the parts come one behind the other, the first and the last at the ends.

    Each is taken where it comes first: a regular expression would try all places, which takes it for ever.
    """
    first, *inner, last = parts
    at, end = len(first), len(found) - len(last)
    if at > end or not found.startswith(first) or not found.endswith(last):
        return False
    for part in inner:
        place = found.find(part, at, end)
        if place < 0:
            return False
        at = place + len(part)
    return True


def _ordered(one: Value, how: Compare, other: Value) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return how is Compare.EQUAL and one == other
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

"""The only place that decides whether a trained model is better: a metric, an operator and a threshold.

Metrics are those that `deltas` says.
Two numbers that differ by less than a millionth count as equal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

from edge_agent.sedna.deltas import metrics_of
from modelsyncd.errors import BadInputError

_EQUAL = 1e-6
_FORM = re.compile(r"\s*(\S+)\s+(\S+)\s+(\S+)\s*")
_WORDS = {"gt": ">", "ge": ">=", "eq": "==", "=": "==", "ne": "!=", "le": "<=", "lt": "<"}
_OPERATORS = frozenset(_WORDS.values())


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether the new model takes over, and why, in a sentence for people."""

    better: bool
    why: str


@dataclass(frozen=True, slots=True)
class Trigger:
    """`operator` is one of > >= == != <= <."""

    metric: str
    operator: str
    threshold: float

    def decide(self, new: Mapping[str, float], old: Mapping[str, float]) -> Decision:
        """By the numbers of both; a number that is missing never makes a model better."""
        value = metrics_of(new, old).get(self.metric)
        if value is None:
            return Decision(False, f"there is no {self.metric} among {', '.join(sorted(new)) or 'no numbers'}")
        holds = self._holds(value)
        return Decision(holds, f"{self.metric} is {value:.6g}, {'' if holds else 'not '}{self}")

    def _holds(self, value: float) -> bool:
        equal = abs(value - self.threshold) < _EQUAL
        match self.operator:
            case ">":
                return value > self.threshold and not equal
            case ">=":
                return value > self.threshold or equal
            case "==":
                return equal
            case "!=":
                return not equal
            case "<=":
                return value < self.threshold or equal
            case _:
                return value < self.threshold and not equal

    def __str__(self) -> str:
        return f"{self.operator} {self.threshold:g}"


def parse_trigger(text: str) -> Trigger:
    """ "precision_delta >= 0.01". Raises BadInputError."""
    form = _FORM.fullmatch(text)
    operator = _WORDS.get(form[2], form[2]) if form else ""
    if form is None or operator not in _OPERATORS:
        raise BadInputError(
            f"{text[:80]!r} is no trigger", hint='write METRIC OPERATOR NUMBER, as in "precision_delta >= 0.01"'
        )
    try:
        threshold = float(form[3])
    except ValueError as error:
        raise BadInputError(f"{form[3][:80]!r} in the trigger {text[:80]!r} is no number") from error
    if not isfinite(threshold):
        raise BadInputError(f"{form[3][:80]!r} in the trigger {text[:80]!r} is no number that can be reached")
    return Trigger(form[1], operator, threshold)

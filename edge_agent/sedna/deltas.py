"""The only place that says what a new model has more than the old one: NAME_delta, of each number that both have.

A difference is that of the numbers as people write them, as promotion rules calculate: 0.3 has 0.1 more than 0.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from math import isfinite


def metrics_of(new: Mapping[str, float], old: Mapping[str, float]) -> dict[str, float]:
    """The new model's numbers, and each one's difference to the old model's where that has it, too."""
    return {**new, **dict(_deltas(new, old))}


def _deltas(new: Mapping[str, float], old: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    for name in sorted(new.keys() & old.keys()):
        delta = float(Decimal(repr(new[name])) - Decimal(repr(old[name])))
        if isfinite(delta):  # what is beyond all numbers can't be recorded
            yield _named(name), delta


def _named(name: str) -> str:
    """`precision` → `precision_delta`, `precision[2]` → `precision_delta[2]`."""
    stem, bracket, index = name.partition("[")
    return f"{stem}_delta{bracket}{index}"

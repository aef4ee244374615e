"""The only place that makes charts of numbers about releases: one for each name, a series for each thing measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum

from modelsyncd.ctl.chart import Chart, Series
from modelsyncd.ctl.figures import local
from modelsyncd.wire.v1 import records_pb2 as pb

WHOLE = "the release"  # what was measured where neither variant nor data set nor stage is said


class By(StrEnum):
    """What goes from left to right: of each release the newest number, or all numbers by time."""

    RELEASE = "release"
    TIME = "time"


def charts(numbers: Sequence[pb.Number], by: By | None) -> Sequence[Chart]:
    """By name of the number. Unless it is said, numbers about one release are shown by time, others by release."""
    if by is None:
        by = By.RELEASE if len({one.number for one in numbers}) > 1 else By.TIME
    found: dict[str, dict[str, dict[float, float]]] = {}
    for one in sorted(numbers, key=lambda one: one.at):
        x = float(one.number) if by is By.RELEASE else one.at
        found.setdefault(one.name, {}).setdefault(_series(one), {})[x] = one.value  # the newest stays
    x_text = _release if by is By.RELEASE else local
    return [Chart(name, _sorted(found[name].items()), x_text) for name in sorted(found)]


def _sorted(found: Iterable[tuple[str, dict[float, float]]]) -> Sequence[Series]:
    named = sorted(found)
    whole = WHOLE if len(named) > 1 else ""
    return [Series(name or whole, tuple(sorted(points.items()))) for name, points in named]


def _series(one: pb.Number) -> str:
    """What was measured, on what: "int8, on night, eval"; empty for the release as a whole, on nothing that is said."""
    return ", ".join(part for part in (one.variant, one.dataset and f"on {one.dataset}", one.stage) if part)


def _release(number: float) -> str:
    return f":{number:.0f}"

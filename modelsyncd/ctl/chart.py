"""The only place that says what a chart is, where its axes have their marks, and how it looks in a terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from modelsyncd.ctl.numbers import value
from modelsyncd.ctl.screen import painted
from modelsyncd.escapes import plain

MARKS = "●▲■◆○△□◇"
COLOURS = ("blue", "red", "green", "magenta", "cyan", "yellow")
_STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True, slots=True)
class Series:
    """Points that belong together, by x."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """Some series over one axis; `x_text` says an x in words. There is a point at least."""

    title: str
    series: Sequence[Series]
    x_text: Callable[[float], str]

    @property
    def xs(self) -> Sequence[float]:
        """Every x that has a point, in order."""
        return sorted({x for one in self.series for x, _ in one.points})

    @property
    def ys(self) -> Sequence[float]:
        """Every value."""
        return [y for one in self.series for _, y in one.points]


def marks(low: float, high: float, most: int = 5) -> Sequence[float]:
    """Round numbers, at most `most` steps, that reach from below `low` to above `high`."""
    if low == high:
        low, high = (low - abs(low) / 10, high + abs(high) / 10) if low else (-1.0, 1.0)
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * each for each in _STEPS if power * each * (1 + 1e-9) >= rough)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{place * step:.12g}") for place in range(first, last + 1)]


def share(value: float, low: float, high: float) -> float:
    """Where a value lies between two others: 0 to 1; the middle where they are one."""
    return 0.5 if low == high else (value - low) / (high - low)


def drawn(chart: Chart, width: int = 72, height: int = 14) -> str:
    """For a terminal, `width` cells wide and `height` lines high without title and names of series."""
    ys, xs = marks(min(chart.ys), max(chart.ys)), chart.xs
    labels = {round((height - 1) * (1 - share(y, ys[0], ys[-1]))): value(y) for y in ys}
    margin = max(map(len, labels.values()))
    inner = max(10, width - margin - 2)
    grid = [[" "] * inner for _ in range(height)]
    for place, one in enumerate(chart.series):
        cells = [
            (
                round((inner - 1) * share(x, xs[0], xs[-1])),
                round((height - 1) * (1 - share(y, ys[0], ys[-1]))),
            )
            for x, y in one.points
        ]
        _draw(grid, cells, _styled(MARKS, place), painted("·", COLOURS[place % len(COLOURS)]))
    lines = [
        f"{labels.get(row, ''):>{margin}} {'┤' if row in labels else '│'}{''.join(cells).rstrip()}"
        for row, cells in enumerate(grid)
    ]
    names = [f"{_styled(MARKS, place)} {plain(one.name)}" for place, one in enumerate(chart.series) if one.name]
    foot = [f"{' ' * margin} └{'─' * inner}", f"{' ' * (margin + 2)}{_below(chart, inner)}"]
    return "\n".join([plain(chart.title), *lines, *foot, *(["  ".join(names)] if names else [])])


def _styled(of: str, place: int) -> str:
    return painted(of[place % len(of)], COLOURS[place % len(COLOURS)])


def _draw(grid: list[list[str]], cells: Sequence[tuple[int, int]], mark: str, dot: str) -> None:
    for (left, top), (right, bottom) in pairwise(cells):
        steps = max(abs(right - left), abs(bottom - top), 1)
        for step in range(1, steps):
            column, row = left + (right - left) * step / steps, top + (bottom - top) * step / steps
            if grid[round(row)][round(column)] == " ":
                grid[round(row)][round(column)] = dot
    for column, row in cells:
        grid[row][column] = mark


def _below(chart: Chart, inner: int) -> str:
    """The first and the last x, and that in the middle where there is room."""
    xs = chart.xs
    first, last = chart.x_text(xs[0]), chart.x_text(xs[-1])
    if len(xs) == 1:
        return first.center(inner).rstrip()
    middle = f"{first}{last.rjust(inner - len(first))}"
    if len(xs) % 2 and len(xs) > 2:
        text, place = chart.x_text(xs[len(xs) // 2]), round((inner - 1) * share(xs[len(xs) // 2], xs[0], xs[-1]))
        begin = place - len(text) // 2
        if begin > len(first) and begin + len(text) < inner - len(last):
            return middle[:begin] + text + middle[begin + len(text) :]
    return middle

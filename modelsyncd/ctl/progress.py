"""The only place that shows work under way: a bar on a terminal, now and then a line elsewhere, nothing with --json.

All of it goes to stderr. The words are made by pure code from a `Pace`, which is told the time.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from modelsyncd.ctl.figures import duration, share, size
from modelsyncd.ctl.screen import say
from modelsyncd.escapes import harmless, plain

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

SPAN = 10.0  # seconds: the rate is that of this last while, so that it follows a changing link
LINE_EVERY = 5.0  # seconds between two lines when the output is no terminal
_SAMPLE_EVERY = 0.25  # seconds


@dataclass(frozen=True, slots=True)
class Step:
    """How far some work has come, in plain bytes or in what the meter counts: `done` includes `had`, there before."""

    total: int
    done: int
    had: int = 0


class Meter(Protocol):
    """Where work says how far it has come. May be called from any one thread at a time."""

    def show(self, step: Step) -> None:
        """How far it has come."""

    def note(self, text: str) -> None:
        """A line that stays, as for a lost link."""


class Pace:
    """The rate of some work over its last `SPAN` seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def saw(self, done: int, now: float) -> None:
        """Takes a sample."""
        if self._samples and done < self._samples[-1][1]:
            self._samples.clear()  # the work began anew
        if len(self._samples) < 2 or now - self._samples[-2][0] >= _SAMPLE_EVERY:
            self._samples.append((now, done))
        else:
            self._samples[-1] = (now, done)
        while len(self._samples) > 2 and now - self._samples[1][0] >= SPAN:
            self._samples.popleft()

    @property
    def rate(self) -> float:
        """Plain bytes per second; 0 while unknown."""
        if len(self._samples) < 2:
            return 0.0
        (first, before), (last, after) = self._samples[0], self._samples[-1]
        return (after - before) / (last - first) if last > first else 0.0


Amount = Callable[[float], str]
"""How a number of what is counted is said; bytes as a rule."""


def words(step: Step, rate: float, amount: Amount = size) -> str:
    """Amounts, rate, time left, and how much was there already."""
    parts = [f"{amount(step.done)} of {amount(step.total)}"]
    if rate > 0:
        parts.append(f"{amount(rate)}/s")
        if step.done < step.total:
            parts.append(f"{duration((step.total - step.done) / rate)} left")
    if step.had:
        parts.append(f"{share(step.had, step.total)} already there")
    return ", ".join(parts)


@contextmanager
def meter(title: str, *, silent: bool, amount: Amount = size) -> Iterator[Meter]:
    """A meter that fits where stderr leads."""
    if silent:
        yield _Silent()
    elif sys.stderr.isatty():
        with _bars() as bars:
            yield _Bar(title, bars, amount)
    else:
        yield Lines(title, lambda text: say(text, err=True), amount=amount)


class _Silent:
    def show(self, step: Step) -> None:
        """Says nothing."""

    def note(self, text: str) -> None:
        """Says nothing."""


class Lines:
    """A line now and then; short work passes without one."""

    def __init__(
        self,
        title: str,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        amount: Amount = size,
    ) -> None:
        self._title = title
        self._amount = amount
        self._say = say
        self._clock = clock
        self._pace = Pace()
        self._said = clock()

    def show(self, step: Step) -> None:
        """Says how far it has come, if it is time."""
        now = self._clock()
        self._pace.saw(step.done, now)
        if now - self._said >= LINE_EVERY:
            self._said = now
            self._say(f"{self._title}: {share(step.done, step.total)}, {words(step, self._pace.rate, self._amount)}")

    def note(self, text: str) -> None:
        """Says it at once."""
        self._say(text)


def _bars() -> Bars:
    from rich.console import Console  # noqa: PLC0415 -- 60 ms that only a terminal needs
    from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[words]}"),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)


class _Bar:
    def __init__(self, title: str, bars: Bars, amount: Amount) -> None:
        self._bars = bars
        self._amount = amount
        self._pace = Pace()
        self._task: TaskID = bars.add_task(plain(title), total=None, words="")

    def show(self, step: Step) -> None:
        """Moves the bar."""
        self._pace.saw(step.done, time.monotonic())
        told = words(step, self._pace.rate, self._amount)
        self._bars.update(self._task, total=step.total, completed=step.done, words=told)

    def note(self, text: str) -> None:
        """A line above the bar."""
        self._bars.console.print(harmless(text), markup=False, highlight=False)

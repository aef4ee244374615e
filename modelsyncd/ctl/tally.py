"""How far a transfer has come, over all of its tries: pure, and the only place where tries become one number."""

from __future__ import annotations

from modelsyncd.ctl.progress import Step
from modelsyncd.session.progress import Progress

_NOTHING = Progress()


class Tally:
    """Plain bytes of content, for a meter. A new try may look back at first; what is shown never does."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._had: int | None = None
        self._done = 0
        self._past = _NOTHING
        self._now = _NOTHING

    @property
    def step(self) -> Step:
        """What to show; `had` is from before the first try."""
        return Step(self._total, self._done, self._had or 0)

    @property
    def coded(self) -> int:
        """Plain bytes that came coded against a base."""
        return self._past.coded + self._now.coded

    @property
    def giver_cpu(self) -> float:
        """Seconds that the giver spent on encoding."""
        return self._past.giver_cpu + self._now.giver_cpu

    @property
    def taker_cpu(self) -> float:
        """Seconds that the taker spent on decoding and checking, as far as it said so."""
        return self._past.taker_cpu + self._now.taker_cpu

    def begin(self) -> None:
        """A try begins: it counts from nothing."""
        self._past = Progress(coded=self.coded, giver_cpu=self.giver_cpu, taker_cpu=self.taker_cpu)
        self._now = _NOTHING

    def given(self, progress: Progress) -> None:
        """Takes the giver's view, whose `total` is only what the peer lacked when this try began; 0 while unknown."""
        self._cost(progress)
        if progress.total:
            there = self._total - progress.total
            self._saw(there, there + progress.done)

    def taken(self, progress: Progress) -> None:
        """Takes the taker's view, whose `total` is 0 while unknown."""
        self._cost(progress)
        if progress.total:
            self._saw(progress.had, progress.done)

    def _saw(self, had: int, done: int) -> None:
        if self._had is None:
            self._had = had
        self._done = max(self._done, done)

    def _cost(self, progress: Progress) -> None:
        if progress != _NOTHING:  # what a session says of a transfer that it does not know any more
            self._now = progress

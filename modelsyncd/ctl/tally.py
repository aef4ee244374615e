"""What a transfer has cost, over all of its tries: pure, and the only place that adds it up."""

from __future__ import annotations

from modelsyncd.ctl.progress import Step
from modelsyncd.session.progress import Progress


class Tally:
    """Plain bytes of content there before and in all; encoded bytes that travelled."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._had: int | None = None
        self._done = 0
        self._wire_before = 0
        self._wire_now = 0

    @property
    def had(self) -> int:
        """Plain bytes that were there before the first try."""
        return self.total if self._had is None else self._had

    @property
    def wire(self) -> int:
        """Encoded bytes that travelled, in all tries."""
        return self._wire_before + self._wire_now

    @property
    def moved(self) -> int:
        """Grows as long as a transfer gets anywhere."""
        return self._done + self.wire

    @property
    def step(self) -> Step:
        """For a meter."""
        return Step(self.total, self._done, self._had or 0)

    def begin(self) -> None:
        """A try begins: its own counts start from nothing."""
        self._wire_before += self._wire_now
        self._wire_now = 0

    def given(self, progress: Progress) -> None:
        """Takes the giver's view, whose `total` is only what the peer lacked when this try began."""
        self._wire_now = max(self._wire_now, progress.wire)
        if progress.total:
            self._saw(self.total - progress.total, self.total - progress.total + progress.done)

    def taken(self, progress: Progress) -> None:
        """Takes the taker's view."""
        self._wire_now = max(self._wire_now, progress.wire)
        if progress.total:
            self._saw(progress.had, progress.done)

    def _saw(self, had: int, done: int) -> None:
        if self._had is None:
            self._had = had
        self._done = max(self._done, done)

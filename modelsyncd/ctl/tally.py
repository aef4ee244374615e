"""How far a transfer has come, over all of its tries: pure, and the only place where tries become one number."""

from __future__ import annotations

from modelsyncd.ctl.progress import Step
from modelsyncd.session.progress import Progress


class Tally:
    """Plain bytes of content, for a meter. A new try may look back at first; what is shown never does."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._had: int | None = None
        self._done = 0

    @property
    def step(self) -> Step:
        """What to show; `had` is from before the first try."""
        return Step(self._total, self._done, self._had or 0)

    def given(self, progress: Progress) -> None:
        """Takes the giver's view, whose `total` is only what the peer lacked when this try began; 0 while unknown."""
        if progress.total:
            there = self._total - progress.total
            self._saw(there, there + progress.done)

    def taken(self, progress: Progress) -> None:
        """Takes the taker's view, whose `total` is 0 while unknown."""
        if progress.total:
            self._saw(progress.had, progress.done)

    def _saw(self, had: int, done: int) -> None:
        if self._had is None:
            self._had = had
        self._done = max(self._done, done)

"""The one place that decides how many bytes may be asked for and not yet be durable: about a second of the link.

Too small a window starves a long link; too large a one makes a cut expensive and delays what is said beside the bulk.
The rate is measured on what becomes durable, so a slow disk closes the window as a slow link does.
"""

from __future__ import annotations

SECONDS = 1.0  # of the measured rate in flight
FLOOR = 256 << 10  # bytes: a chunk; on a link that needs seconds for it, two would only delay what is said beside it
CAP = 32 << 20  # bytes
FIRST = 256 << 10  # bytes, before anything is measured: it doubles with each window that fills in less than a second
SAMPLE = 0.1  # seconds: a shorter interval says nothing about a rate


class Window:
    """A window of plain bytes that follows the measured rate."""

    def __init__(self, *, first: int = FIRST, floor: int = FLOOR, cap: int = CAP) -> None:
        self.size = min(max(first, floor), cap)
        """Bytes that may be in flight now."""
        self._floor = floor
        self._cap = cap
        self._since: float | None = None
        self._durable = 0

    def idle(self) -> None:
        """Nothing is in flight: the time from now on says nothing about the link."""
        self._since = None
        self._durable = 0

    def asked(self, now: float) -> None:
        """Something was asked for: from here on, time counts."""
        if self._since is None:
            self._since = now

    def kept(self, count: int, now: float) -> None:
        """`count` bytes became durable."""
        self._durable += count
        if self._since is None:
            return
        waited = now - self._since
        if waited < SAMPLE and self._durable < self.size:
            return
        if waited < SECONDS and self._durable >= self.size:
            aim = 2.0 * self.size  # a whole window in less than its time: the link can take more than it was given
        else:
            aim = (self.size + self._durable / waited * SECONDS) / 2  # half the way: one odd interval swings nothing
        self.size = int(min(max(aim, self._floor), self._cap))
        self._since = now
        self._durable = 0

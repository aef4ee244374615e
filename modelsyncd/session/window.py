"""The one place that decides how many bytes may be asked for and not yet be durable: about a second of the link.

A way that takes longer than half a second gets twice its time: what is durable shows only after it, so with less the
rate would be the window's own, and a window that follows it would shrink for ever.

Too small a window starves a long link; too large a one makes a cut expensive and delays what is said beside the bulk.
The rate is measured on what becomes durable, so a slow disk closes the window as a slow link does.
"""

from __future__ import annotations

SECONDS = 1.0  # of the measured rate in flight …
WAYS = (
    2.0  # … or so many times the way there and back, if that is longer: a shorter one would starve the link by itself
)
LONGEST = 4.0  # seconds of the rate at most, whatever the way
FLOOR = 256 << 10  # bytes: a chunk; on a link that needs seconds for it, two would only delay what is said beside it
CAP = 32 << 20  # bytes
FIRST = 256 << 10  # bytes, before anything is measured: it doubles with each window that fills in less than a second
LANE = 1 << 20  # bytes for each connection where there are several: a large chunk, so that none waits for a Want;
# but never more than LONGEST of the measured rate: chunks that a slow link can't carry would only wait
SAMPLE = 0.1  # seconds: a shorter interval says nothing about a rate


class Window:
    """A window of plain bytes that follows the measured rate."""

    def __init__(self, *, first: int = FIRST, floor: int = FLOOR, cap: int = CAP) -> None:
        self.size = min(max(first, floor), cap)
        """Bytes that may be in flight now."""
        self.way = 0.0
        """Seconds there and back, without what waits on the way; 0 for unknown."""
        self._floor = floor
        self._cap = cap
        self._lanes = 1
        self._rate = 0.0
        self._since: float | None = None
        self._durable = 0
        self._guessed = False

    def begin(self, size: int) -> None:
        """So much was recalled of an earlier session; believed until something is measured, and never below FIRST."""
        if size > self.size:
            self.size = min(size, self._cap)
            self._guessed = True

    def widen(self, lanes: int) -> None:
        """So many connections carry chunks, each of them one at a time."""
        if lanes > 1:
            self._lanes = lanes
            self.size = max(self.size, self._least())

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
        self._rate = self._durable / max(waited, SAMPLE)
        seconds = min(max(SECONDS, WAYS * self.way), LONGEST)
        if waited < seconds and self._durable >= self.size:
            aim = 2.0 * self.size  # a whole window in less than its time: the link can take more than it was given
        else:
            aim = self._durable / waited * seconds
            if not self._guessed:
                aim = (self.size + aim) / 2  # half the way: one odd interval swings nothing
        self._guessed = False
        self.size = int(min(max(aim, self._least()), self._cap))
        self._since = now
        self._durable = 0

    def _least(self) -> int:
        """A chunk; with lanes one for each of them, as far as the link carries those in time."""
        if self._lanes < 2:
            return self._floor
        return min(max(self._floor, int(min(LANE * self._lanes, LONGEST * self._rate))), self._cap)

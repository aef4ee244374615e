"""The one place that decides how many bytes may be asked for and not yet be durable: about a second of the link.

Too small a window starves a long link; too large a one makes a cut expensive and delays what is said beside the bulk.
The rate is measured on what becomes durable, so a slow disk closes the window as a slow link does.
"""

from __future__ import annotations

SECONDS = 1.0  # of the measured rate in flight
FLOOR = 512 << 10  # bytes: two chunks, so that one travels while the other is written
CAP = 32 << 20  # bytes
FIRST = 2 << 20  # bytes, before anything is measured
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
        if self._since is None or now - self._since < SAMPLE:
            return
        rate = self._durable / (now - self._since)
        aim = (self.size + rate * SECONDS) / 2  # half the way: one odd interval does not swing it
        self.size = int(min(max(aim, self._floor), self._cap))
        self._since = now
        self._durable = 0

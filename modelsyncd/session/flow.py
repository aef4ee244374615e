"""The only place that says how payload comes in: at which rate, and how long the way there and back takes.

Frames follow it: one that takes longer than a quarter of a second would hold up what is said beside the bulk, and what
was cut off with it; one that is much smaller would cost more than it carries.

A first window may be over before a rate can be measured. What came of it in less than a sample's time is the least that
the link carries in that time, so the frames of the next window are as large as that.
"""

from __future__ import annotations

FRAME_SECONDS = 0.25  # of the rate in one frame
FRAME_FLOOR = 4 << 10  # bytes
FIRST_FRAME = 16 << 10  # bytes, before anything is measured: half a second of 256 kbit/s
STEP = 4 << 10  # bytes: frames are multiples of it
RECALLED_MOST = 64 << 10  # bytes of a first frame, whatever an earlier session saw: two seconds of 256 kbit/s
SAMPLE = 0.25  # seconds: a shorter interval says nothing about a rate


class Flow:
    """Payload of all transfers that one side takes, as it arrives."""

    def __init__(self) -> None:
        self.rate = 0.0
        """Bytes a second; 0 before it is known."""
        self.way = 0.0
        """Seconds from a Want to the first payload of its answer, the shortest so far; 0 before it is known."""
        self._first = FIRST_FRAME
        self._asked_at: float | None = None
        self._since: float | None = None
        self._bytes = 0
        self._most = 0  # bytes that came in less than SAMPLE: a rate that nobody could measure yet is at least that

    @property
    def frame_bytes(self) -> int:
        """How large a frame should be; whoever asks takes no more than the protocol's largest."""
        if not self.rate:
            return max(self._first, int(self._most * FRAME_SECONDS / SAMPLE) // STEP * STEP)
        return max(FRAME_FLOOR, int(self.rate * FRAME_SECONDS) // STEP * STEP)

    def begin(self, rate: float) -> None:
        """An earlier session leads to expect so many bytes a second; believed until something is measured."""
        recalled = int(rate * FRAME_SECONDS) // STEP * STEP
        self._first = max(FIRST_FRAME, min(recalled, RECALLED_MOST))

    def asked(self, now: float) -> None:
        """Something was asked for while nothing was under way."""
        self._asked_at, self._since, self._bytes = now, None, 0

    def idle(self) -> None:
        """Nothing is owed: the time from now on says nothing about the link."""
        self._asked_at = self._since = None

    def arrived(self, count: int, now: float) -> None:
        """`count` bytes that were asked for."""
        if self._asked_at is not None:
            took, self._asked_at = now - self._asked_at, None
            self.way = min(self.way, took) if self.way else took
        if self._since is None:
            self._since, self._bytes = now, 0  # its own way here was part of the waiting
            return
        self._bytes += count
        waited = now - self._since
        if waited < SAMPLE:
            self._most = max(self._most, self._bytes)
            return
        measured = self._bytes / waited
        self.rate = (self.rate + measured) / 2 if self.rate else measured
        self._since, self._bytes = now, 0

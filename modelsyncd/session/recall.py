"""The only place that says what one session tells the next about the link, and how far that is to be trusted.

A memory shortens the start of a session and decides nothing for long, because the link may be another one by now.
So only half of it counts, ever less with its age, and what is asked for at once is little enough for a link that became
slow: the first thing that is measured is believed instead.
"""

from __future__ import annotations

from math import exp2

SHARE = 0.5  # of what was measured last: the first window and frames are made for it
HALF_LIFE = 3_600.0  # seconds after which a memory counts half
WINDOW_MOST = 1 << 20  # bytes of a first window: half a minute of 256 kbit/s


class Recall:
    """What a link carried. One for each peer; it outlives sessions."""

    def __init__(self) -> None:
        self._rate = 0.0
        self._at = 0.0

    def learn(self, rate: float, now: float) -> None:
        """The link carried so many bytes a second just now."""
        self._rate, self._at = rate, now

    def rate(self, now: float) -> float:
        """Bytes a second that may be counted on; 0 while nothing is known."""
        return SHARE * self._rate * exp2(-max(0.0, now - self._at) / HALF_LIFE)

    def window_bytes(self, now: float) -> int:
        """What may be asked for first."""
        return int(min(self.rate(now), WINDOW_MOST))

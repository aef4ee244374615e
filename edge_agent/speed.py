"""The only place that measures how fast bytes come to a node."""

from __future__ import annotations

from collections import deque

SPAN = 5.0  # seconds that a rate is taken over, or a little more
LEAST = 0.2  # seconds that say something


class Speed:
    """A count that grows, seen now and then."""

    def __init__(self, now: float, count: int) -> None:
        self._seen = deque([(now, count)])

    def saw(self, now: float, count: int) -> None:
        """It is so many by now."""
        if now > self._seen[-1][0]:
            self._seen.append((now, count))
        while len(self._seen) > 2 and now - self._seen[1][0] >= SPAN:
            self._seen.popleft()

    @property
    def rate(self) -> float:
        """How many a second came of late; 0 while too little time has gone."""
        (began, first), (ended, last) = self._seen[0], self._seen[-1]
        return (last - first) / (ended - began) if ended - began >= LEAST else 0.0

"""The only place that says how fast may be asked, whatever the window allows: a rate, and yielding to others.

A rate is a token bucket that may go into debt: a chunk is asked for while there is anything in it, and what it took is
paid off before the next. So the rate holds over any time that is long against one chunk, and no chunk is too large.

Yielding asks for a window only after an Echo came back about as fast as the fastest of late, with nothing of ours under
way: our own chunks would delay it, too, and we would yield to ourselves. That costs one round trip for each window.
"""

from __future__ import annotations

from collections.abc import Iterable

BURST = 1.0  # seconds of the rate that may be saved up

MARGIN = 0.05  # seconds that a way may take longer than the fastest …
FACTOR = 1.5  # … or times as long, before it counts as busy
MEMORY = 300.0  # seconds after which the fastest way of before is half forgotten
FIRST_PAUSE, LAST_PAUSE = 0.5, 8.0  # seconds between two tries on a busy way: the pause doubles
LOST = 10.0  # seconds after which an unanswered Echo is sent again


class Bucket:
    """Bytes that may be asked for now. `rate` in bytes a second, above 0."""

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self._tokens = rate * BURST
        self._at = now

    def change(self, rate: float, now: float) -> None:
        """From now on another rate; debts stay."""
        self._fill(now)
        self.rate = rate
        self._tokens = min(self._tokens, rate * BURST)

    def tokens(self, now: float) -> float:
        """What may be asked for; nothing while it is not above 0."""
        self._fill(now)
        return self._tokens

    def spend(self, count: float) -> None:
        """So many bytes were asked for; fewer than nothing when it turned out to be less."""
        self._tokens -= count

    def ready_at(self, now: float) -> float:
        """When something may be asked for again."""
        self._fill(now)
        return now if self._tokens > 0 else now + (1 - self._tokens) / self.rate

    def _fill(self, now: float) -> None:
        self._tokens = min(self.rate * BURST, self._tokens + self.rate * max(0.0, now - self._at))
        self._at = max(self._at, now)


def credit(buckets: Iterable[Bucket], now: float) -> float | None:
    """What all of them allow now, in bytes; None when there are none."""
    return min((bucket.tokens(now) for bucket in buckets), default=None)


class Courtesy:
    """Whether the way is free enough for one who yields."""

    def __init__(self) -> None:
        self.free = False
        """Whether a window may be asked for now."""
        self._token = 0
        self._asked_at: float | None = None
        self._retry_at = 0.0
        self._pause = FIRST_PAUSE
        self._fastest = float("inf")
        self._fastest_before = float("inf")
        self._turned_at: float | None = None

    def ask(self, now: float) -> int | None:
        """The token of an Echo that is due, or None."""
        lost = self._asked_at is not None and now - self._asked_at >= LOST
        if self.free or now < self._retry_at or not (self._asked_at is None or lost):
            return None
        self._token += 1
        self._asked_at = now
        return self._token

    def answered(self, token: int, now: float) -> None:
        """An Echo came back."""
        if self._asked_at is None or token != self._token:
            return  # one that was given up
        took, self._asked_at = now - self._asked_at, None
        self._remember(took, now)
        fastest = min(self._fastest, self._fastest_before)
        self.free = took <= max(fastest * FACTOR, fastest + MARGIN)
        self._pause = FIRST_PAUSE if self.free else min(LAST_PAUSE, 2 * self._pause)
        self._retry_at = now if self.free else now + self._pause

    def used(self) -> None:
        """A window was asked for: the next one needs another Echo."""
        self.free = False

    def wake_at(self) -> float:
        """When to look again; infinite while nothing is to be done."""
        if self.free:
            return float("inf")
        return self._retry_at if self._asked_at is None else self._asked_at + LOST

    def _remember(self, took: float, now: float) -> None:
        if self._turned_at is None:
            self._turned_at = now
        elif now - self._turned_at >= MEMORY:
            self._turned_at, self._fastest_before, self._fastest = now, self._fastest, float("inf")
        self._fastest = min(self._fastest, took)

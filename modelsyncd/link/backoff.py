"""The only place that says how long to wait before the next try: ever longer, and never the same on two machines."""

from __future__ import annotations

SOON = 0.2  # seconds over which the first try falls after a session that got somewhere


class Backoff:
    """Waits between tries. The caller brings the randomness, so that tests need none.

    A hub that restarts is met by all of its nodes at once; what spreads them is the jitter, which covers the whole of
    each wait above the floor, and the cap, over which they spread when the hub stays away.
    """

    def __init__(self, floor: float = 0.5, cap: float = 60.0) -> None:
        """`floor` and `cap` in seconds: the shortest and the longest wait."""
        self._floor = floor
        self._cap = cap
        self._ceiling = floor
        self._soon = 0.0

    def next(self, jitter: float) -> float:
        """Seconds to wait now; the time it may take doubles with each call. `jitter` is random in [0, 1)."""
        if self._soon:
            wait, self._soon = jitter * self._soon, 0.0
            return wait
        self._ceiling = min(self._cap, 2 * self._ceiling)
        return self._floor + jitter * (self._ceiling - self._floor)

    def reset(self, spread: float = 0.0) -> None:
        """Something went well: the next wait is short again, or at most `spread` seconds if that is longer."""
        self._soon = 0.0
        self._ceiling = max(self._floor, min(spread, self._cap) / 2)

    def hasten(self, spread: float = 0.0) -> None:
        """A try got somewhere and was cut: the next one falls within SOON, or within `spread` if that is longer.

        Only that one: if it fails, the waits go on as after `reset`.
        """
        self.reset(spread)
        self._soon = max(SOON, min(spread, self._cap))

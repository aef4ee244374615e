"""What a node's manners allow, checked on what arrives once the hub has heard that the node knows them."""

from __future__ import annotations

from datetime import UTC, datetime

from modelsyncd.manners import Manners, is_closed
from tests.fakes.versions import STEP

EPOCH = 1_800_000_000.0  # seconds since 1970 at which every world begins: a Friday, eight in the morning
GRACE = 10.0  # seconds in which what was on its way when an opening ended still arrives


class Ruling:
    """One node's manners, since `at` (seconds); `came` payload bytes of the month had arrived before."""

    def __init__(self, manners: Manners, at: float, came: int, window: int) -> None:
        self._manners = manners
        self._at = at
        self._before = came
        self._spare = window + STEP
        self._since = 0
        self.sessions = 1
        """Sessions since then: each may begin with what may be saved up, and one chunk."""

    def arrived(self, count: int, now: float) -> str | None:
        """Takes note of what came; what is wrong with it, if anything is."""
        self._since += count
        manners = self._manners
        spare = self.sessions * self._spare
        if manners.paused and self._since > spare:
            return f"{self._since} bytes came while it was paused"
        if manners.rate and self._since > manners.rate * (now - self._at + self.sessions) + spare:
            return f"{self._since} bytes came in {now - self._at:.0f} s at {manners.rate} a second"
        left = max(0, manners.month_bytes - self._before) * 1.01
        if manners.month_bytes and self._since > left + spare:
            return f"{self._since} bytes came, and {left:.0f} were left of the month's"
        if now - self._at > GRACE and all(map(self._closed_at, (now, now - GRACE))):
            return f"bytes came more than {GRACE:.0f} s after the opening ended"
        return None

    def _closed_at(self, when: float) -> bool:
        return is_closed([self._manners], datetime.fromtimestamp(EPOCH + when, UTC))

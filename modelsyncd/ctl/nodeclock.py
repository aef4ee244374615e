"""The only place that reads a time as a clock at the node shows it: windows and months are the node's own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone

from modelsyncd.manners import Manners, is_closed, opens_at
from modelsyncd.wire.v1 import sync_pb2

_OFFSET = re.compile(r"([+-])(\d{2}):(\d{2})")


TOO_OLD = "its agent knows no limits yet: upgrade it"


def knows_limits(report: sync_pb2.Report) -> bool:
    """Whether the agent that made this report keeps to limits: those that do say their time zone."""
    return bool(report.utc_offset)


class NodeClock:
    """A node's clock; that of this machine's zone while the node has not said which its own is."""

    def __init__(self, utc_offset: str, now: float) -> None:
        """`utc_offset` as in "+01:00", `now` in seconds since 1970."""
        found = _OFFSET.fullmatch(utc_offset)
        self.known = found is not None
        """Whether the node said which its zone is."""
        self.now = now
        zone = None
        if found is not None:
            sign = -1 if found[1] == "-" else 1
            zone = timezone(sign * timedelta(hours=int(found[2]), minutes=min(59, int(found[3]))))
        self._local = datetime.fromtimestamp(now, UTC).astimezone(zone)

    @property
    def month(self) -> str:
        """As in "2026-11"."""
        return f"{self._local:%Y-%m}"

    @property
    def shown(self) -> str:
        """What it shows now: "Mon 18:05 (+01:00)"."""
        text = f"{self._local:%a %H:%M (%z)}"
        return f"{text[:-3]}:{text[-3:]}"

    @property
    def next_month(self) -> float:
        """When the next month begins there, seconds since 1970."""
        first = self._local.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1).timestamp()

    def opens(self, several: Sequence[Manners]) -> float | None:
        """When all of these are open: 0 for now, None for never; seconds since 1970."""
        if not is_closed(several, self._local):
            return 0.0
        at = opens_at(several, self._local)
        return at.timestamp() if at is not None else None

    def spent(self, month: str, wire: int) -> int:
        """What of a month's bytes, as a node reported them, counts now: nothing once another month has begun."""
        return wire if month == self.month else 0

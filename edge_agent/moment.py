"""The only place that reads a wall clock as the node's own time: its hour, its month, and when another one comes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

_UNSURE = 60.0  # seconds after which to look again when no time can be named


@dataclass(frozen=True, slots=True)
class Moment:
    """`wall` is seconds since 1970; `zone` is the node's, None for the system's."""

    wall: float = 0.0
    zone: tzinfo | None = None

    @property
    def local(self) -> datetime:
        """What a clock at the node shows."""
        return datetime.fromtimestamp(self.wall, self.zone)

    @property
    def month(self) -> str:
        """As in "2026-11"."""
        return f"{self.local:%Y-%m}"

    @property
    def month_ends(self) -> float:
        """When the next month begins, seconds since 1970."""
        first = self.local.replace(day=1, hour=0, minute=0, second=0, microsecond=0, fold=0)
        return self.next(first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1))

    @property
    def utc_offset(self) -> str:
        """As in "+01:00"."""
        offset = self.local.astimezone(self.zone).utcoffset() or timedelta()
        minutes = abs(offset) // timedelta(minutes=1)
        return f"{'-' if offset < timedelta() else '+'}{minutes // 60:02}:{minutes % 60:02}"

    def next(self, local: datetime) -> float:
        """When a clock at the node shows this time next, seconds since 1970.

        A time that comes twice, in the night in which clocks go back, is taken for the first that is yet to come.
        """
        for fold in (0, 1):
            wall = local.replace(fold=fold).timestamp()
            if wall > self.wall:
                return wall
        return self.wall + _UNSURE

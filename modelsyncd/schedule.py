"""The only place that reads times of the week: "22:00-06:00", "mon-fri 22:00-06:00", "sat,sun".

Times are wall-clock times of wherever it is used, to the minute. An opening that ends before it begins goes on after
midnight and belongs to the day on which it began. On the nights in which clocks change, the wall clock counts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from modelsyncd.errors import BadInputError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY = 24 * 60  # minutes
WEEK = 7 * DAY
_TIMES = re.compile(r"(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})")
_HINT = 'write as in "22:00-06:00", "mon-fri 22:00-06:00" or "sat,sun"'


@dataclass(frozen=True, slots=True, order=True)
class Opening:
    """Some days of the week (0 is Monday), and from which to which minute of the day; `start == end` is all day."""

    days: tuple[int, ...]
    start: int = 0
    end: int = 0

    @property
    def minutes(self) -> int:
        """How long it stays open."""
        return (self.end - self.start) % DAY or DAY

    def __str__(self) -> str:
        if self.start == self.end:
            return _write_days(self.days)
        times = f"{_clock(self.start)}-{_clock(self.end)}"
        return times if len(self.days) == len(DAYS) else f"{_write_days(self.days)} {times}"


def parse_opening(text: str) -> Opening:
    """From what people write. Raises BadInputError."""
    words = text.strip().lower().split()
    times = words.pop() if words and ":" in words[-1] else ""
    if len(words) > 1 or not (words or times):
        raise BadInputError(f"{text[:80]!r} is no time of the week", hint=_HINT)
    start, end = _parse_times(times, text) if times else (0, 0)
    return Opening(_parse_days(words[0], text) if words else tuple(range(len(DAYS))), start, end)


def is_open(openings: Sequence[Opening], local: datetime) -> bool:
    """Whether one of them is open at this time."""
    now = _minute(local)
    return any((now - day * DAY - one.start) % WEEK < one.minutes for one in openings for day in one.days)


def next_change(openings: Sequence[Opening], local: datetime) -> datetime:
    """The first time after `local` at which one of them opens or closes; a week later when there are none."""
    now = _minute(local)
    edges = {edge for one in openings for day in one.days for edge in _edges(day, one)}
    wait = min(((edge - now - 1) % WEEK + 1 for edge in edges), default=WEEK)
    return local.replace(second=0, microsecond=0) + timedelta(minutes=wait)


def _edges(day: int, opening: Opening) -> tuple[int, int]:
    start = day * DAY + opening.start
    return start % WEEK, (start + opening.minutes) % WEEK


def _minute(local: datetime) -> int:
    return local.weekday() * DAY + local.hour * 60 + local.minute


def _parse_times(times: str, text: str) -> tuple[int, int]:
    found = _TIMES.fullmatch(times)
    if found is None:
        raise BadInputError(f"{text[:80]!r} is no time of the week", hint=_HINT)
    hour, minute, last_hour, last_minute = map(int, found.groups())
    start, end = hour * 60 + minute, last_hour * 60 + last_minute
    if minute > 59 or last_minute > 59 or start >= DAY or end > DAY:
        raise BadInputError(f"{text[:80]!r} has a time that is not on the clock", hint=_HINT)
    if start == end:
        raise BadInputError(f"{text[:80]!r} ends when it begins", hint="leave the times out for the whole day")
    return start, end % DAY


def _parse_days(word: str, text: str) -> tuple[int, ...]:
    found: set[int] = set()
    for part in word.split(","):
        first, dash, last = part.partition("-")
        last = last if dash else first
        if first not in DAYS or last not in DAYS:
            raise BadInputError(f"{text[:80]!r} names a day that is none of {' '.join(DAYS)}", hint=_HINT)
        start = DAYS.index(first)
        found.update((start + step) % 7 for step in range((DAYS.index(last) - start) % 7 + 1))
    return tuple(sorted(found))


def _write_days(days: Sequence[int]) -> str:
    runs: list[list[int]] = []
    for day in days:
        if runs and runs[-1][-1] == day - 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    return ",".join(DAYS[run[0]] if len(run) == 1 else f"{DAYS[run[0]]}-{DAYS[run[-1]]}" for run in runs)


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"

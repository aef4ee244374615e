"""The only place that counts the payload bytes of a month, over restarts: of the node and of each assignment.

Months are the node's own. A crash forgets what came since the last write: `DUE_SECONDS` or `DUE_BYTES`, whichever is
less.

Clocks are wrong at times. One that goes on to a later month begins that month with what was counted under it before,
mostly nothing. One that goes back takes along what was counted since it went on, for those bytes did travel: so a
clock that swings back gives no budget twice. What comes before a clock that was wrong is set right, as on a node that
boots without one, stays with the month that it showed. And because each month ends, none of this blocks for ever.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from modelsyncd.daemon.log import Log
from modelsyncd.errors import ModelsyncError
from modelsyncd.names import ModelRef
from modelsyncd.store.durable import disk_errors, write_file

FILE = "usage.json"
DUE_SECONDS = 30.0
DUE_BYTES = 16_000_000
MONTHS = 6  # that are remembered: a clock that swings does so between two or three
ALL = ""  # the account of the node itself, among those of its assignments

_Accounts = dict[str, int]


class Usage:
    """Bytes by month. Without a `path` they are forgotten with this object. Belongs to the loop's thread."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._months: dict[str, _Accounts] = {}
        self._month = ""
        self._stay: _Accounts = {}  # counted since `_month` began
        self._unsaved = 0
        self._saved_at = 0.0

    def load(self) -> None:
        """Reads what was saved; a file that is broken counts as none. Raises DiskError."""
        if self._path is None:
            return
        with disk_errors(self._path):
            try:
                raw = self._path.read_bytes()
            except FileNotFoundError:
                return
        try:
            kept = json.loads(raw)
            months = {str(month): _accounts(one) for month, one in kept["months"].items()}
            self._month, self._stay, self._months = str(kept["month"]), _accounts(kept["stay"]), months
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            Log().warning("usage.broken", path=self._path, why=str(error))

    def count(self, month: str, count: int, ref: ModelRef | None = None) -> None:
        """So many bytes came, for an assignment if one is named."""
        self._turn(month)
        for account in (ALL, *([str(ref)] if ref is not None else [])):
            self._months[month][account] = self._months[month].get(account, 0) + count
            self._stay[account] = self._stay.get(account, 0) + count
        self._unsaved += count

    def used(self, month: str) -> Mapping[str, int]:
        """Bytes of this month by assignment, and under `ALL` of the node."""
        self._turn(month)
        return self._months[month]

    def hurry(self) -> None:
        """What is unsaved is worth saving at once: a transfer ended."""
        self._unsaved += DUE_BYTES if self._unsaved else 0

    def due(self, now: float) -> bool:
        """Whether it should be saved; `now` in seconds, of a clock that never goes back."""
        return self._unsaved >= DUE_BYTES or (self._unsaved > 0 and now - self._saved_at >= DUE_SECONDS)

    def encode(self, now: float) -> bytes:
        """What to save; counts as saved from now on."""
        self._unsaved = 0
        self._saved_at = now
        return json.dumps({"month": self._month, "stay": self._stay, "months": self._months}, indent=1).encode()

    def write(self, encoded: bytes) -> None:
        """Makes it durable; for a thread. An error is only told: it is written again soon."""
        if self._path is None:
            return
        try:
            write_file(self._path, encoded)
        except ModelsyncError as error:
            Log().failure("usage.unsaved", error)

    def _turn(self, month: str) -> None:
        if month == self._month:
            return
        here = self._months.pop(month, {})
        if month < self._month:
            for account, count in self._stay.items():
                here[account] = here.get(account, 0) + count
            Log().warning("clock.back", month=month, was=self._month)
        else:
            self._stay = {}
        self._months[month] = here  # the last one: the least lately used is forgotten first
        self._month = month
        while len(self._months) > MONTHS:
            del self._months[next(iter(self._months))]


def _accounts(found: Mapping[str, int]) -> _Accounts:
    return {str(account): int(count) for account, count in found.items()}

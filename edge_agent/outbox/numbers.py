"""The only place that keeps numbers which jobs record until the hub has them: a file of lines, each with its checksum.

Law: a number is durable before whoever recorded it is told, and goes only when the hub has said what became of it. Its
key was made when it was recorded, so a batch that is sent twice counts once. A line that a power cut tore counts as
never recorded: nobody was told of it. Numbers about a model that were measured at one moment go in one batch, so that
no rule at the hub compares half of what belongs together.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_agent.outbox.words import Measured
from modelsyncd.daemon.log import Log
from modelsyncd.digest import checksum
from modelsyncd.errors import BadInputError, DiskFullError, ModelsyncError
from modelsyncd.link.backoff import Backoff
from modelsyncd.names import ModelName, parse_model
from modelsyncd.store.durable import disk_errors, make_folder, sync_folder, write_at, write_file
from modelsyncd.store.failpoints import Point, passing
from modelsyncd.store.papers import read_paper

MOST = 100_000  # numbers that may wait: 30 MB at most
BATCH = 1_000  # numbers of one request
PATIENCE = 300.0  # seconds between two tries at most, while there is a session
LARGEST = (1 << 63) - 1  # number of a release
_KEY = 16  # bytes


@dataclass(frozen=True, slots=True)
class Kept:
    """A number and the key that names it for good."""

    key: bytes
    measured: Measured


Post = Callable[[Sequence[Kept]], Awaitable[Sequence[str]]]
"""Hands numbers to the hub; returns why some of them can't be kept, for the log. Raises ModelsyncError."""

Pause = Callable[[Backoff], Awaitable[None]]
"""Waits as long as the backoff says."""


class Numbers:
    """What waits. Safe to use from any thread; every method but `waiting` blocks."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._kept: list[Kept] = []
        self._size = 0

    @property
    def waiting(self) -> int:
        """How many."""
        return len(self._kept)

    def load(self) -> None:
        """Reads what waits; lines that are broken are named in the log and left out. Raises DiskError."""
        make_folder(self._path.parent, 0o700)
        if not os.path.lexists(self._path):
            return
        raw = read_paper(self._path)
        lines = raw.splitlines()
        kept = [found for line in lines if (found := _read(line)) is not None]
        if len(kept) < len(lines):
            Log().warning("numbers.broken", path=self._path, lost=len(lines) - len(kept))
        with self._lock:
            self._rewrite(kept)

    def add(self, numbers: Sequence[Measured]) -> None:
        """Durable when it returns. Raises DiskFullError when too many wait, DiskError, BadInputError."""
        for one in numbers:
            if not (0 < one.number <= LARGEST and math.isfinite(one.value) and math.isfinite(one.at)):
                raise BadInputError(f"{one.name[:40]!r} = {one.value} of {one.model}:{one.number} can't be kept")
        with self._lock:
            known = {one.key for one in self._kept} if any(one.key for one in numbers) else set()
            fresh = [Kept(one.key or os.urandom(_KEY), one) for one in numbers if one.key not in known]
            raw = b"".join(map(_line, fresh))
            if len(self._kept) + len(fresh) > MOST:
                raise DiskFullError(
                    f"{len(self._kept):,} numbers wait for the hub, and {MOST:,} may",
                    safe="none of the new ones was kept; those that wait are",
                    hint="they leave when the hub can be reached",
                )
            if raw:
                self._append(raw)
                passing(Point.NUMBERS_SPOOLED)
            self._kept = [*self._kept, *fresh]

    def first(self) -> Sequence[Kept]:
        """The next batch for the hub."""
        kept = self._kept
        end = min(BATCH, len(kept))
        while 0 < end < len(kept) and _belongs(kept[end - 1]) == _belongs(kept[end]):
            end -= 1
        return kept[: end or BATCH]

    def drop(self, batch: Sequence[Kept]) -> None:
        """The hub has said what became of these. Raises DiskError; then they are sent again."""
        passing(Point.NUMBERS_CONFIRMED)
        gone = {one.key for one in batch}
        with self._lock:
            self._rewrite([one for one in self._kept if one.key not in gone])

    def _append(self, raw: bytes) -> None:
        """What a failed try left behind is written over."""
        fresh = not os.path.lexists(self._path)
        with disk_errors(self._path):
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                os.ftruncate(descriptor, self._size)
                write_at(descriptor, raw, self._size)
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
        if fresh:
            sync_folder(self._path.parent)
        self._size += len(raw)

    def _rewrite(self, kept: list[Kept]) -> None:
        raw = b"".join(map(_line, kept))
        write_file(self._path, raw, 0o600)
        self._kept, self._size = kept, len(raw)


def _belongs(kept: Kept) -> tuple[ModelName, float]:
    return kept.measured.model, kept.measured.at


def _line(kept: Kept) -> bytes:
    one = kept.measured
    fields = [kept.key.hex(), str(one.model), one.number, one.name, one.value, one.dataset, one.stage, one.at]
    fields += [one.variant] if one.variant else []  # else as agents of before wrote them, and can read
    raw = json.dumps(fields, ensure_ascii=True).encode()
    return b"%016x %s\n" % (checksum(raw), raw)


def _read(line: bytes) -> Kept | None:
    """None for what is not whole."""
    said, _, raw = line.partition(b" ")
    if said != b"%016x" % checksum(raw):
        return None
    try:
        key, model, number, name, value, dataset, stage, at, *more = json.loads(raw)
        (variant,) = more or [""]
        measured = Measured(
            parse_model(model),
            int(number),
            str(name),
            float(value),
            str(dataset),
            str(stage),
            float(at),
            variant=str(variant),
        )
        return Kept(bytes.fromhex(key), measured)
    except (ValueError, TypeError, ModelsyncError):
        return None


async def post(numbers: Numbers, hand: Post, news: asyncio.Event, closed: Callable[[], str], pause: Pause) -> None:
    """Hands over what waits, batch by batch, whenever `news` is set and nothing is `closed`; until it is cancelled."""
    backoff = Backoff(floor=1.0, cap=PATIENCE)
    while True:
        await news.wait()
        news.clear()
        while (batch := numbers.first()) and not closed():
            try:
                refused = await hand(batch)
                await asyncio.to_thread(numbers.drop, batch)
            except ModelsyncError as error:
                Log().failure("numbers.unsent", error, waiting=numbers.waiting)
                await pause(backoff)
                continue
            backoff.reset()
            for why in dict.fromkeys(refused):
                Log().warning("numbers.refused", why=why)

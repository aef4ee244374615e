"""A hub's stores on a disk that outlives them, for a gc between whose steps anything may happen, and kills."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from cloud_hub import sweep
from cloud_hub.catalog import Catalog, removals
from cloud_hub.collector import Collector
from cloud_hub.commit import HubIntake
from cloud_hub.stock import Stock
from cloud_hub.tables import Table
from modelsyncd.codec.registry import READABLE, Codec
from modelsyncd.digest import Digest
from modelsyncd.release import ManifestRef
from modelsyncd.session.effects import Keep
from modelsyncd.session.frames import Part
from modelsyncd.store.blobs import Blobs, open_blobs
from modelsyncd.store.packs import PackReader, PackWriter, Place, Record, recover
from tests.fakes.hub_store import ADMIN
from tests.fakes.publisher import Publication

STEP = 96  # bytes of a chunk
PACK = 1_500  # bytes of a pack
BATCH = 2  # chunks that arrive at once
SMALL = ((sweep, "PAGE", 3), (sweep, "MANIFESTS", 1), (removals, "_BATCH", 2))
"""What a gc does in one go, so small that there is much between its steps."""


class Killed(BaseException):
    """The process ends here."""


class Pushing:
    """A push as a session drives it, one step at a time."""

    def __init__(self, intake: HubIntake, what: Publication, now: float, broken: frozenset[int] = frozenset()) -> None:
        """Of its chunks those that are `broken` arrive with other bytes, until they are asked for once more.

        Whoever drives it notes when it `went` on last, and the longest that it was `silent`, in seconds.
        """
        self.what = what
        self.went = now
        self.silent = 0.0
        self.steps = self._steps(intake, what, broken)

    def _steps(self, intake: HubIntake, what: Publication, broken: frozenset[int]) -> Iterator[None]:
        if at_once(intake.consider(what.offer)) is not None:
            return
        yield
        for part in Part:
            missing = at_once(intake.survey(what.offer, part)).ordinals
            yield
            while missing:
                missing = yield from self._bring(intake, what, part, missing, broken)
                broken = frozenset()
        at_once(intake.complete(what.offer))

    def _bring(
        self, intake: HubIntake, what: Publication, part: Part, ordinals: Sequence[int], broken: frozenset[int]
    ) -> Generator[None, None, Sequence[int]]:
        """What has to come again."""
        spoiled: list[int] = []
        for start in range(0, len(ordinals), BATCH):
            chunks = at_once(what.load(what.manifest, part, ordinals[start : start + BATCH], READABLE, ()))
            batch = [
                Keep(what.offer, part, c.ordinal, Codec(c.codec), b"?" if c.ordinal in broken else c.payload, None)
                for c in chunks
            ]
            spoiled += at_once(intake.keep(batch)).spoiled
            yield
        return spoiled


class GcHub:
    """The stores, in a folder of their own. `wall` is the time for all of them, in seconds."""

    def __init__(self, looked: Callable[[], object] = lambda: None) -> None:
        """`looked` is called each time that it has been looked which chunks of a manifest are here."""
        self._looked = looked
        memory = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
        self.wall = 1_000.0
        self._patches = contextlib.ExitStack()
        self._patches.enter_context(patch.object(asyncio, "to_thread", _here))
        for module, name, value in SMALL:
            self._patches.enter_context(patch.object(module, name, value))
        self._open()

    def _open(self) -> None:
        self.catalog = Catalog.open(f"sqlite:///{self.folder}/catalog.db")
        self.blobs: Blobs = open_blobs(f"file://{self.folder}/packs")
        spool = self.folder / "spool"
        self.catalog.chunks.add(recover(spool, self.blobs, self.catalog.chunks.end), self.wall)
        self.writer, self.reader = PackWriter(spool, self.blobs, pack_bytes=PACK), PackReader(spool, self.blobs)
        self.stock = _Stock(self.catalog, self.writer, self.reader, self.folder, clock=lambda: self.wall)
        self.stock.looked = self._looked
        self.stock.underway._clock = lambda: self.wall
        self.collector = Collector(self.catalog, self.stock, self.blobs, clock=lambda: self.wall)

    def die(self) -> None:
        """What is in memory is lost, what is on the disk is not; it is opened again."""
        pack = self.writer._pack
        if pack is not None:
            pack.close()
        self.catalog.close()
        self._open()

    def intake(self) -> HubIntake:
        """For one push."""
        arrivals: Any = _Arrivals()
        return HubIntake(ADMIN, self.catalog, self.stock, arrivals, tell=_ignore, clock=lambda: self.wall)

    def places(self) -> Sequence[Place]:
        """Where all chunks rest."""
        return self.catalog.chunks.page(None, 100_000)

    def close(self) -> None:
        """Nothing of it stays."""
        self.catalog.close()
        self._patches.close()
        shutil.rmtree(self.folder)


class _Stock(Stock):
    looked: Callable[[], object]

    def missing(self, table: Table) -> list[int]:
        found = super().missing(table)
        self.looked()
        return found


class _Arrivals:
    """As `Arrivals`, for what comes without a base."""

    def warm(self, batch: object) -> None:
        """There is nothing to read ahead."""

    def judged(self, keep: Keep, ref: ManifestRef, digest: Digest, size: int) -> Record | None:
        return None if keep.payload == b"?" else Record(digest, keep.codec, keep.payload, size)


def _ignore(_: object) -> None:
    pass


async def _here(work: Callable[..., Any], *arguments: Any) -> Any:
    return work(*arguments)


def at_once(work: Any) -> Any:
    """What a coroutine answers that never waits."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")

"""The only place where the hub reads back what rests while nobody asks for it: a few chunks at a time, once a week.

Each chunk is decoded and hashed, as `verify` does; one that is wrong is forgotten, so that nobody gets it and the next
push of its content brings it back. What can't be reached is not forgotten, and tried again later.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from cloud_hub.catalog import Catalog
from cloud_hub.stock import Stock
from modelsyncd.daemon.log import Log
from modelsyncd.daemon.rounds import Rounds, Sleep
from modelsyncd.digest import Digest
from modelsyncd.errors import DiskError, ModelsyncError
from modelsyncd.store.packs import Place, pack_key
from modelsyncd.store.reread import Mark, rate_for

FILE = "scrub.mark"
BATCH = 4  # chunks of one hop to a thread: 1 MiB as a rule
SAVED = 600.0  # seconds of reading that a killed hub may do twice


class Scrub:
    """Reads back what the catalogue knows. `packs` is the folder of the packs, None for an object store.

    `rate` is bytes a second of packs, 0 for none, None for what `size` asks for, the bytes of all packs.
    """

    def __init__(
        self,
        catalog: Catalog,
        stock: Stock,
        data: Path,
        *,
        rate: int | None = None,
        packs: Path | None = None,
        size: Callable[[], int] = lambda: 0,
        wall: Callable[[], float] = time.time,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._catalog = catalog
        self._stock = stock
        self._rounds = Rounds(data / FILE, wall, sleep)
        self._marks = self._rounds.marks
        self._asked = rate
        self._packs = packs
        self._size = size
        self._wall = wall
        self._sleep = sleep
        self._log = Log()

    async def run(self) -> None:
        """Until it is cancelled; returns at once when there is no rate."""
        if self._asked == 0:
            return
        await self._rounds.run(self._round)

    async def _round(self, mark: Mark) -> None:
        """Raises ModelsyncError."""
        rate = rate_for(self._asked, await asyncio.to_thread(self._size))
        began, unsaved = self._wall(), 0.0
        chunks = read = damaged = 0
        after = _digest(mark.at)
        while places := await asyncio.to_thread(self._catalog.chunks.page, after, BATCH):
            damaged += len(await asyncio.to_thread(self._look, places))
            chunks += len(places)
            size = sum(place.length for place in places)
            read += size
            after = places[-1].digest
            await self._sleep(size / rate)
            unsaved += size / rate
            if unsaved >= SAVED:
                unsaved = 0.0
                await asyncio.to_thread(self._marks.save, Mark(mark.began, after.hex()))
        await asyncio.to_thread(self._marks.save, Mark(mark.began, over=True))
        self._log.info("scrub.round", chunks=chunks, bytes=read, damaged=damaged, took_s=self._wall() - began)

    def _look(self, places: Sequence[Place]) -> list[Digest]:
        """Chunks that are damaged, forgotten from now on.

        One that the disk does not give, as on a bad sector, is no reason to leave the others: it is told of, and stays
        known, for the disk may give it next time. Raises DiskError, RoadError when nothing of several can be read.
        """
        damaged: list[Digest] = []
        failed: list[ModelsyncError] = []
        for place in places:
            self._drop(place)
            try:
                damaged += self._stock.verify([place.digest])[1]
            except DiskError as error:
                failed.append(error)
                self._log.failure("scrub.unreadable", error, chunk=place.digest, pack=place.pack)
        if len(failed) == len(places) > 1:
            raise failed[0]
        return damaged

    def _drop(self, place: Place) -> None:
        """Has the kernel forget its copy: it is the disk that rots. Harmless where there is none."""
        if self._packs is None:
            return
        with suppress(OSError):
            descriptor = os.open(self._packs / pack_key(place.pack), os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.posix_fadvise(descriptor, place.offset, place.length, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)


def _digest(word: str) -> Digest | None:
    with suppress(ValueError):
        return Digest(bytes.fromhex(word)) if len(word) == 64 else None
    return None

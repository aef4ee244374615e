"""The only place that reads versions back while nobody asks for it: a little at a time, once a week, all of them.

BLAKE3 alone decides. It yields to transfers, holds one manifest in memory, and does nothing between two reads. What is
found wrong is marked before anything else uses it, and the steward is told; what is marked already is not read.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from modelsyncd.daemon.log import Log
from modelsyncd.daemon.rounds import Rounds, Sleep
from modelsyncd.digest import Digest
from modelsyncd.errors import BadInputError, DamageError, DiskError, ModelsyncError, NotFoundError
from modelsyncd.names import parse_model
from modelsyncd.store.reread import Mark, Reread, rate_for
from modelsyncd.store.tree import EdgeTree
from modelsyncd.store.version import Version

FILE = "scrub.mark"
STRIDE = 1 << 20  # bytes of one hop to a thread: four chunks as a rule
SAVED = 600.0  # seconds of reading that a killed process may lose: each save costs a few blocks of flash
PATIENCE = 600.0  # seconds that one stride waits for a transfer to end: some links are never quiet


async def _at_once() -> None:
    return


class Scrub:
    """Reads back what a tree holds. `quiet` returns once nothing travels; `tell` is called after something was marked.

    `rate` is bytes a second, 0 for none, None for what the size of the store asks for; `size` says that size.
    """

    def __init__(
        self,
        tree: EdgeTree,
        tell: Callable[[], object],
        *,
        rate: int | None = None,
        size: Callable[[], int] = lambda: 0,
        quiet: Callable[[], Awaitable[None]] = _at_once,
        wall: Callable[[], float] = time.time,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._tree = tree
        self._tell = tell
        self._asked = rate
        self._size = size
        self._quiet = quiet
        self._wall = wall
        self._sleep = sleep
        self._rounds = Rounds(tree.layout.root / FILE, wall, sleep)
        self._marks = self._rounds.marks
        self._log = Log()
        self._rate = 0
        self._read = 0
        self._unsaved = 0.0
        self._damaged = 0

    async def run(self) -> None:
        """Until it is cancelled; returns at once when there is no rate."""
        if self._asked == 0:
            return
        await self._rounds.run(self._round)

    async def _round(self, mark: Mark) -> None:
        self._rate = rate_for(self._asked, self._size())
        self._read = self._damaged = 0
        self._unsaved = 0.0
        began = self._wall()
        begin, ordinal = _understood(mark.at)
        versions = [version for version in self._tree.versions() if begin is None or version >= begin]
        for version in versions:
            try:
                await self._version(version, ordinal if version == begin else 0, mark.began)
            except DiskError as error:  # says nothing about its bytes, nor about the other versions
                self._log.failure("scrub.failed", error, model=str(version.model), version=version.number)
            await asyncio.to_thread(self._marks.save, Mark(mark.began, _word(version, 1 << 62)))
        await asyncio.to_thread(self._marks.save, Mark(mark.began, over=True))
        took = self._wall() - began
        self._log.info("scrub.round", versions=len(versions), bytes=self._read, damaged=self._damaged, took_s=took)

    async def _version(self, version: Version, ordinal: int, round_began: float) -> None:
        try:
            reread = await asyncio.to_thread(Reread, self._tree, version)
        except (DamageError, BadInputError) as error:
            await self._mark(version, error)
            return
        except NotFoundError:
            return  # removed since the round began
        try:
            while ordinal < len(reread):
                await self._wait_for_quiet()
                count, size = await asyncio.to_thread(reread.step, ordinal, STRIDE)
                ordinal += count
                self._read += size
                await self._pause(size, Mark(round_began, _word(version, ordinal)))
        except DamageError as error:
            await self._mark(version, error)
        reread.close()  # not when it is cancelled: a thread may be reading

    async def _wait_for_quiet(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self._quiet()

    async def _pause(self, size: int, mark: Mark) -> None:
        seconds = size / self._rate
        await self._sleep(seconds)
        self._unsaved += seconds
        if self._unsaved >= SAVED:
            self._unsaved = 0.0
            await asyncio.to_thread(self._marks.save, mark)

    async def _mark(self, version: Version, why: ModelsyncError) -> None:
        """Raises DiskError when there is no room for a mark."""
        if not self._tree.layout.version(version).is_dir():
            return
        try:
            await asyncio.to_thread(self._tree.quarantine, version)
        except NotFoundError:
            return  # pruned meanwhile
        self._damaged += 1
        self._log.warning("scrub.damaged", model=str(version.model), version=version.number, why=why.message)
        self._tell()


def _word(version: Version, ordinal: int) -> str:
    return f"{version.model} {version.number} {version.manifest.hex()} {ordinal}"


def _understood(word: str) -> tuple[Version | None, int]:
    """Where to go on: the version, and the ordinal of its first chunk that was not read; None for the beginning."""
    try:
        model, number, manifest, ordinal = word.split()
        return Version(parse_model(model), int(number), Digest(bytes.fromhex(manifest))), max(0, int(ordinal))
    except (ValueError, BadInputError):
        return None, 0

"""The only place that goes round what rests: on from where a round stood, or anew a week after it began."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from modelsyncd.daemon.log import Log
from modelsyncd.store.reread import Mark, MarkFile, due

RECOVERY = 3_600.0  # seconds before a disk or a store that could not be read at all is tried again

Sleep = Callable[[float], Awaitable[None]]


class Rounds:
    """The rounds whose mark lies at `path`. `wall` is seconds since 1970."""

    def __init__(self, path: Path, wall: Callable[[], float], sleep: Sleep) -> None:
        self.marks = MarkFile(path)
        """Where the one who goes round says how far it has come."""
        self._wall = wall
        self._sleep = sleep
        self._log = Log()

    async def run(self, one: Callable[[Mark], Awaitable[None]]) -> None:
        """Until it is cancelled; a round that fails is gone on with after a while."""
        while True:
            try:
                await one(await self._due())
            except Exception as error:  # noqa: BLE001 - a chore's fault must take nobody's program away
                self._log.failure("scrub.failed", error)
                await self._sleep(RECOVERY)

    async def _due(self) -> Mark:
        """The round to go on with, once it is time for it. Raises DiskError."""
        mark, wait = due(await asyncio.to_thread(self.marks.load), self._wall())
        if wait:
            await self._sleep(wait)
        return mark

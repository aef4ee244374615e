"""The only place that has versions read back before a channel is switched to them, while all else goes on.

One after the other, because a disk is no faster with two readers, and the models in use are on it too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from edge_agent.stock import Store
from modelsyncd.errors import ModelsyncError
from modelsyncd.store.version import Version

Tell = Callable[[Version, ModelsyncError | None], None]
"""Told of each version that was read, and of what was wrong with it. Must not block."""


class Prover:
    """Versions that wait to be read back. All methods belong to the loop's thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[Version, None] = {}
        self._asked = asyncio.Event()

    @property
    def pending(self) -> frozenset[Version]:
        """Those that were asked for and not told of yet."""
        return frozenset(self._waiting)

    def ask(self, version: Version) -> None:
        """Has a version read back, once; `tell` is called then."""
        self._waiting.setdefault(version)
        self._asked.set()

    async def run(self, tell: Tell) -> None:
        """Until it is cancelled; then `TreeStore.stop` ends what its thread is reading."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            while self._waiting:
                version = next(iter(self._waiting))
                error = await self._prove(version)
                del self._waiting[version]
                tell(version, error)

    async def _prove(self, version: Version) -> ModelsyncError | None:
        try:
            await asyncio.to_thread(self._store.prove, version)
        except ModelsyncError as error:
            return error
        return None

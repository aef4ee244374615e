"""The only place that tidies a node's disk as `reconcile` says: what the disk refuses is tried again a while later.

Nobody waits for any of it, so a disk that can't delete stops nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from edge_agent.reconcile import Action, Discard, Prune, Unlink
from edge_agent.stock import Store
from modelsyncd.daemon.log import Log
from modelsyncd.digest import short
from modelsyncd.errors import ModelsyncError

CHORE_PAUSE = 60.0  # seconds before tidying that the disk refused is tried again

Chore = Unlink | Prune | Discard


class Chores:
    """What goes. `next_try` is seconds on `clock`: nothing is tidied before. Belongs to the loop's thread."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._log = Log()
        self.next_try = 0.0

    def postponed(self, action: Action, now: float) -> bool:
        """Whether it is one of these, and has to wait."""
        return isinstance(action, Chore) and now < self.next_try

    def hasten(self) -> None:
        """Tried again at once."""
        self.next_try = 0.0

    async def do(self, chore: Chore) -> None:
        """Does it, or postpones all of them."""
        try:
            match chore:
                case Unlink(ref):
                    await asyncio.to_thread(self._store.unlink, ref)
                    self._log.info("channel.unlinked", model=str(ref))
                case Prune(version):
                    await asyncio.to_thread(self._store.prune, version)
                    self._log.info("version.pruned", model=str(version.model), version=version.number)
                case Discard(manifest):
                    await asyncio.to_thread(self._store.discard, manifest)
                    self._log.info("staging.discarded", manifest=short(manifest))
        except ModelsyncError as error:
            self.next_try = self._clock() + CHORE_PAUSE
            self._log.failure("chore.failed", error, action=type(chore).__name__.lower())

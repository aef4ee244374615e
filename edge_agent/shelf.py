"""The only place where a session's chunks become durable on a node: the asynchronous face of tree, cache and seeds.

Each call is one hop to a thread, whatever it carries.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from edge_agent.taking import Taking
from modelsyncd.digest import Digest
from modelsyncd.errors import RefusedError
from modelsyncd.session.effects import Keep
from modelsyncd.session.events import Settled
from modelsyncd.session.frames import Offer, Part
from modelsyncd.session.ports import Keeping, Missing
from modelsyncd.session.progress import Progress
from modelsyncd.store.cache import Cache
from modelsyncd.store.seeds import Seeds
from modelsyncd.store.tree import EdgeTree

TAKINGS = 32  # manifests whose chunk lists stay in memory; one more costs a look at the cache when it goes on


class NodeShelf:
    """A node's `TakerStore`. What it holds in memory may be thrown away at any moment."""

    def __init__(self, tree: EdgeTree, cache: Cache) -> None:
        self._tree = tree
        self._cache = cache
        self._seeds = Seeds(tree, cache)
        self._lock = threading.Lock()
        self._takings: OrderedDict[Digest, Taking] = OrderedDict()

    def close(self) -> None:
        """Ends long work early and closes files; nothing that is durable is lost."""
        self._seeds.stop()
        with self._lock:
            takings = list(self._takings.values())
            self._takings.clear()
        for taking in takings:
            with taking.lock:
                taking.close()

    def forget(self, manifest: Digest) -> None:
        """Closes what is open of a manifest: what is staged of it is about to go, and the next transfer begins anew."""
        with self._lock:
            taking = self._takings.pop(manifest, None)
        if taking is not None:
            with taking.lock:
                taking.close()

    def progress(self, manifest: Digest) -> Progress:
        """Plain bytes of a manifest's content that are on their way here: total, had before, durable now."""
        with self._lock:
            taking = self._takings.get(manifest)
        return Progress() if taking is None else taking.progress

    def lent(self, transfers: Iterable[Digest]) -> frozenset[Digest]:
        """Manifests that the givers of these transfers may code against: they had better stay."""
        with self._lock:
            takings = [taking for one in transfers if (taking := self._takings.get(one)) is not None]
        return frozenset(manifest for taking in takings for manifest in taking.lent)

    # --- TakerStore ---

    async def consider(self, offer: Offer) -> Settled | None:
        """A node takes what its hub assigns, and nothing else. Raises RefusedError."""
        raise RefusedError(
            "this node takes only what is assigned to it",
            safe="nothing was changed",
            hint="assign the model to the node at the hub: modelsyncctl assign",
        )

    async def survey(self, offer: Offer, part: Part) -> Missing:
        """What is missing once seeds are copied. Raises BadInputError, DamageError, DiskError, ConflictError."""
        return await asyncio.to_thread(self._survey, offer, part)

    async def keep(self, batch: Sequence[Keep]) -> Keeping:
        """Decodes, verifies and writes a batch with one fsync for each file. Raises DiskError."""
        return await asyncio.to_thread(self._keep, batch)

    async def complete(self, offer: Offer) -> Settled:
        """Puts the version in its place; nothing leads to it yet. Raises DamageError, DiskError."""
        return await asyncio.to_thread(self._complete, offer)

    # --- inside ---

    def _survey(self, offer: Offer, part: Part) -> Missing:
        taking = self._taking(offer.manifest)
        with taking.lock:
            return taking.survey(offer, part)

    def _keep(self, batch: Sequence[Keep]) -> Keeping:
        if not batch:
            return Keeping((), ())
        taking = self._taking(batch[0].offer.manifest)
        with taking.lock:
            return taking.keep(batch[0].offer, batch)

    def _complete(self, offer: Offer) -> Settled:
        taking = self._taking(offer.manifest)
        with taking.lock:
            settled = taking.complete(offer)
            taking.close()
        with self._lock:
            self._takings.pop(offer.manifest, None)
        return settled

    def _taking(self, manifest: Digest) -> Taking:
        with self._lock:
            taking = self._takings.get(manifest)
            if taking is None:
                taking = self._takings[manifest] = self._new(manifest)
            self._takings.move_to_end(manifest)
            self._evict()
        return taking

    def _new(self, manifest: Digest) -> Taking:
        return Taking(manifest, self._tree, self._cache, self._seeds)

    def _evict(self) -> None:
        """Lets go of takings that nobody has used for longest, and nobody uses now."""
        for manifest in list(self._takings)[:-TAKINGS]:
            taking = self._takings[manifest]
            if taking.lock.acquire(blocking=False):
                try:
                    taking.close()
                    del self._takings[manifest]
                finally:
                    taking.lock.release()

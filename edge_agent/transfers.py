"""The only place that knows what is being fetched: by which session, how urgently, and what it has cost so far.

All methods belong to the loop's thread.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping

from edge_agent.fetcher import Fetcher
from edge_agent.ledger import Ledger
from modelsyncd.digest import Digest
from modelsyncd.session.effects import Finished
from modelsyncd.session.frames import Offer
from modelsyncd.session.progress import Progress


class Transfers:
    """What is under way. None of it outlives its session, but what it cost does."""

    def __init__(self) -> None:
        self._pump: Fetcher | None = None
        self._taking: dict[Digest, int] = {}
        self._arrived: set[Digest] = set()
        self._ledger = Ledger()

    @property
    def online(self) -> bool:
        """Whether there is a session."""
        return self._pump is not None

    @property
    def taking(self) -> Mapping[Digest, int]:
        """Manifests that are being fetched, with their priorities."""
        return self._taking

    @property
    def costs(self) -> Mapping[Digest, Progress]:
        """What each manifest that is wanted has taken, over all sessions."""
        return {**self._ledger.all(), **{manifest: self._live(manifest) for manifest in self._taking}}

    def attach(self, pump: Fetcher) -> None:
        """A session is up."""
        self._pump = pump
        self._taking.clear()

    def detach(self) -> None:
        """The session is over. What has arrived stays taken until it is seen on the disk."""
        pump, self._pump = self._pump, None
        for manifest in self._taking.keys() - self._arrived:
            del self._taking[manifest]
            if pump is not None:
                self._ledger.close(manifest, pump.progress(manifest))

    def fetch(self, offer: Offer, priority: int) -> None:
        """Begins to fetch, or changes the priority. Nothing without a session."""
        if self._pump is None:
            return
        if offer.manifest not in self._taking:
            self._ledger.begin(offer.manifest)
        self._taking[offer.manifest] = priority
        self._pump.take(offer, priority)

    def drop(self, manifest: Digest) -> None:
        """Stops fetching."""
        taken = self._taking.pop(manifest, None) is not None
        if self._pump is None:
            return
        if taken and manifest not in self._arrived:
            self._ledger.close(manifest, self._pump.progress(manifest))
        self._pump.drop(manifest)

    def finish(self, end: Finished) -> None:
        """The session has ended a transfer. What arrived counts as taken until it is seen on the disk."""
        settled = end.fault is None
        self._ledger.close(end.manifest, end.progress, settled=settled)
        if settled:
            self._arrived.add(end.manifest)
        else:
            del self._taking[end.manifest]

    def landed(self) -> Collection[Digest]:
        """What has arrived since this was asked last; a look at the disk shows it now."""
        arrived, self._arrived = self._arrived, set()
        return arrived

    def release(self, landed: Collection[Digest]) -> None:
        """These were looked for on the disk."""
        for manifest in landed:
            self._taking.pop(manifest, None)

    def keep(self, wanted: Container[Digest]) -> None:
        """Forgets what all others have cost."""
        self._ledger.keep(wanted)

    def _live(self, manifest: Digest) -> Progress:
        if self._pump is None or manifest in self._arrived:
            return self._ledger.sum(manifest)
        return self._ledger.sum(manifest, self._pump.progress(manifest))

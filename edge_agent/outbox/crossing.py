"""The only place that keeps apart what one session fetches and what it publishes: each manifest goes one way at a time.

A session tells its transfers apart by their manifests alone. What is offered while the hub has it fetched, or the
reverse, waits until the other is done: it costs nothing then, because the content is at both ends.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modelsyncd.session.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from modelsyncd.digest import Digest
    from modelsyncd.link.pump import Pump
    from modelsyncd.session.events import Pace
    from modelsyncd.session.frames import Frame, Offer


@dataclass(slots=True)
class Crossing:
    """An `edge_agent.fetcher.Fetcher` over one session's pump. `offered` says what goes the other way now."""

    pump: Pump
    offered: Callable[[], Collection[Digest]]
    taking: set[Digest] = field(default_factory=set)
    """What is being fetched."""
    _later: dict[Digest, tuple[Offer, int, bool]] = field(default_factory=dict)

    def take(self, offer: Offer, priority: int = 0, *, gated: bool = False) -> None:
        """Begins to fetch, or changes the priority; later, if it is on its way to the hub now."""
        if offer.manifest in self.offered() and offer.manifest not in self.taking:
            self._later[offer.manifest] = (offer, priority, gated)
            return
        self.taking.add(offer.manifest)
        self.pump.take(offer, priority, gated=gated)

    def go(self, manifest: Digest, allowance: int | None = None) -> None:
        """See `Fetcher`."""
        self.pump.go(manifest, allowance)

    def pace(self, pace: Pace) -> None:
        """See `Fetcher`."""
        self.pump.pace(pace)

    def drop(self, manifests: Collection[Digest]) -> None:
        """See `Fetcher`."""
        going = [one for one in manifests if self._later.pop(one, None) is None and one in self.taking]
        self.taking.difference_update(going)
        if going:
            self.pump.drop(going)

    def say(self, frame: Frame) -> None:
        """See `Fetcher`."""
        self.pump.say(frame)

    def progress(self, manifest: Digest) -> Progress:
        """See `Fetcher`: none of what goes the other way."""
        return self.pump.progress(manifest) if manifest in self.taking else Progress()

    def finished(self, manifest: Digest) -> bool:
        """A transfer ended. Whether it was one that was fetched."""
        fetched = manifest in self.taking
        self.taking.discard(manifest)
        return fetched

    def resume(self) -> None:
        """Begins what had to wait, where nothing is in its way any more."""
        for manifest in [one for one in self._later if one not in self.offered()]:
            offer, priority, gated = self._later.pop(manifest)
            self.take(offer, priority, gated=gated)

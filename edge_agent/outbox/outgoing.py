"""The only place that says what a session asks of an outbox, and has it asked before anything is fetched."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Container, Sequence
from typing import Protocol

from edge_agent.outbox.delivery import Speaker
from modelsyncd.digest import Digest
from modelsyncd.session.effects import Finished, Keep
from modelsyncd.session.events import Settled
from modelsyncd.session.frames import Desired, Offer, Part, Report
from modelsyncd.session.ports import GiverStore, Keeping, Missing, TakerStore


class Outgoing(Protocol):
    """What goes up in a session. All methods belong to the loop's thread."""

    @property
    def giver(self) -> GiverStore | None:
        """Gives what is offered."""

    @property
    def offered(self) -> Collection[Digest]:
        """Manifests that are offered now."""

    @property
    def changed(self) -> asyncio.Event:
        """Set when something is different from now."""

    def attach(self, pump: Speaker, taking: Callable[[], Container[Digest]]) -> None:
        """A session is up. `taking` are manifests that are being fetched in it."""

    def detach(self) -> None:
        """The session is over."""

    def heed(self, desired: Desired) -> None:
        """The hub's word."""

    def finished(self, end: Finished) -> bool:
        """A transfer ended. Whether it was one from here."""

    def kick(self) -> None:
        """What is in the way of an offer may be gone."""

    def reported(self, report: Report) -> Report:
        """The report, with what waits here."""

    async def adopt(self, manifest: Digest) -> None:
        """This is about to be fetched."""


class Nothing:
    """Where nothing goes up."""

    giver: GiverStore | None = None
    offered: Collection[Digest] = ()

    def __init__(self) -> None:
        self.changed = asyncio.Event()

    def attach(self, pump: Speaker, taking: Callable[[], Container[Digest]]) -> None:
        """Nothing."""

    def detach(self) -> None:
        """Nothing."""

    def heed(self, desired: Desired) -> None:
        """Nothing."""

    def finished(self, end: Finished) -> bool:
        """Never."""
        return False

    def kick(self) -> None:
        """Nothing."""

    def reported(self, report: Report) -> Report:
        """As it is."""
        return report

    async def adopt(self, manifest: Digest) -> None:
        """Nothing."""


class Adopting:
    """A `TakerStore` that asks an outbox first whether it has what is to come."""

    def __init__(self, store: TakerStore, adopt: Callable[[Digest], Awaitable[None]]) -> None:
        self._store = store
        self._adopt = adopt

    async def consider(self, offer: Offer) -> Settled | None:
        """See `TakerStore`."""
        return await self._store.consider(offer)

    async def survey(self, offer: Offer, part: Part) -> Missing:
        """See `TakerStore`."""
        if part is Part.MANIFEST:
            await self._adopt(offer.manifest)
        return await self._store.survey(offer, part)

    async def keep(self, batch: Sequence[Keep]) -> Keeping:
        """See `TakerStore`."""
        return await self._store.keep(batch)

    async def complete(self, offer: Offer) -> Settled:
        """See `TakerStore`."""
        return await self._store.complete(offer)

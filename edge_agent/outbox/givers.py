"""The only giver of a node's session: chunks of what waits in the outbox, each item from its own copy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modelsyncd.digest import Digest, short
from modelsyncd.errors import ModelsyncError, NotFoundError, RoadError
from modelsyncd.session.frames import Part

if TYPE_CHECKING:
    from modelsyncd.codec.registry import Codec
    from modelsyncd.exchange.source_giver import SourceGiver
    from modelsyncd.session.events import Encoded


@dataclass(slots=True)
class Givers:
    """A `GiverStore`. `closed` says why nothing may be sent now; `rate` is payload bytes a second, 0 for any."""

    closed: Callable[[], str]
    rate: Callable[[], int] = lambda: 0
    sent: Callable[[int], None] = lambda _: None
    """Told payload bytes that are about to travel."""
    failures: dict[Digest, ModelsyncError] = field(default_factory=dict)
    """Why something could not be read here."""
    _known: dict[Digest, SourceGiver] = field(default_factory=dict)

    def add(self, manifest: Digest, giver: SourceGiver) -> None:
        """From now on this is what is given of a manifest."""
        self.failures.pop(manifest, None)
        self._known[manifest] = giver

    def remove(self, manifest: Digest) -> None:
        """Nothing of it is given any more."""
        self.failures.pop(manifest, None)
        self._known.pop(manifest, None)

    async def load(
        self,
        manifest: Digest,
        part: Part,
        ordinals: Sequence[int],
        codecs: frozenset[Codec],
        bases: Sequence[Digest],
        *,
        rate: float = 0.0,
    ) -> Sequence[Encoded]:
        """See `GiverStore`. Raises RoadError while nothing may be sent: that ends the transfer until it may."""
        giver = self._known.get(manifest)
        if giver is None:
            raise NotFoundError(f"this node gives no manifest {short(manifest)}")
        if why := self.closed():
            raise RoadError(why, safe="what was sent stays at the hub", hint="it goes on by itself when it may")
        try:
            chunks = await giver.load(manifest, part, ordinals, codecs, bases, rate=rate)
        except ModelsyncError as error:
            self.failures[manifest] = error
            raise
        size = sum(len(chunk.payload) for chunk in chunks)
        self.sent(size)
        if limit := self.rate():
            await asyncio.sleep(size / limit)  # one load is out at a time, so this is the rate of all of them
        return chunks

"""The doors that a session's shell needs behind it: where a taker keeps and where a giver reads. Owned by the user.

Both are asynchronous because they sit in the shell; each call is one hop to a thread at most, however many chunks it
carries. Errors are ModelsyncError and nothing else; the pump turns them into Failed for that transfer only.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from modelsyncd.codec.registry import Codec
from modelsyncd.digest import Digest
from modelsyncd.plan import Priced
from modelsyncd.session.effects import Keep
from modelsyncd.session.events import Encoded, Settled
from modelsyncd.session.frames import Offer, Part


@dataclass(frozen=True, slots=True)
class Missing:
    """Plain sizes of all chunks of a part by ordinal, and the ordinals that are not here yet, ascending.

    A digest that occurs several times is listed once, by its first ordinal. `bases` are manifests that are here whole
    and likely to resemble this one, the likeliest first.
    """

    sizes: Sequence[int]
    ordinals: Sequence[int]
    bases: Sequence[Digest] = ()


@dataclass(frozen=True, slots=True)
class Keeping:
    """What became of a batch of arrivals: durable, or not as their digest says; `cpu` seconds were spent on them.

    An arrival whose base is not here, or not as the giver took it for, is spoiled, too: it is asked for without a base.
    """

    kept: tuple[int, ...]
    spoiled: tuple[int, ...]
    cpu: float = 0.0


class TakerStore(Protocol):
    """Where arriving chunks become durable."""

    async def consider(self, offer: Offer) -> Settled | None:
        """Whether to take what a peer offers to us: None means yes; Settled means identical content is here already.

        Raises RefusedError, NumberTakenError, DiskFullError, BadInputError.
        """

    async def survey(self, offer: Offer, part: Part) -> Missing:
        """What is missing here. For CONTENT the manifest is here whole already. Raises DiskError, BadInputError."""

    async def keep(self, batch: Sequence[Keep]) -> Keeping:
        """Decodes, verifies and writes arrivals of one transfer and part; returns when all of them are durable.

        Raises DiskError; then none of the batch counts as kept.
        """

    async def complete(self, offer: Offer) -> Settled:
        """Commits the version: all of its chunks are durable. Raises NumberTakenError, DiskError, DamageError."""


class GiverStore(Protocol):
    """Where chunks are read for a peer."""

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
        """These chunks, encoded with one of the codecs. Checks the right to read at each call.

        `bases` are manifests that the peer holds whole; none of them need be known here. `rate` is what the link to the
        peer carries, in bytes a second, or 0 while that is unknown: it says how much CPU a saved byte is worth.

        Raises RefusedError, NotFoundError, DamageError (bad bytes are never given), SourceChangedError, DiskError.
        """


class PriceStore(Protocol):
    """Where it is worked out what chunks would take; only for a giver whose Hello names Feature.QUOTES."""

    def price(
        self,
        manifest: Digest,
        ordinals: Collection[int],
        codecs: frozenset[Codec],
        bases: Sequence[Digest],
        *,
        rate: float = 0.0,
    ) -> AsyncGenerator[Priced, None]:
        """What these chunks of the content take, after each step of working it out; the last leaves nothing.

        Counts from the beginning each time. As GiverStore.load otherwise, and raises the same.
        """
        ...

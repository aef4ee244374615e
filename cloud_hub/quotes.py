"""The only place where the hub tells a peer what chunks will take."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import aclosing

from cloud_hub.efforts import Efforts
from cloud_hub.encoder import Encoder
from cloud_hub.pricing import Pricing, Question
from cloud_hub.rights import Right
from cloud_hub.stock import Stock
from modelsyncd.codec.registry import Codec
from modelsyncd.digest import Digest
from modelsyncd.plan import Priced

EVERY = 1.0  # seconds between two words about one question: on a slow link they must not be what takes the time


class Quotes:
    """Implements `session.ports.PriceStore` for one peer."""

    def __init__(
        self,
        stock: Stock,
        encoder: Encoder,
        right: Callable[[], Right],
        efforts: Efforts,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`right` makes a right of its own for each question, because questions are answered side by side."""
        self._stock = stock
        self._encoder = encoder
        self._right = right
        self._efforts = efforts
        self._clock = clock

    async def price(
        self,
        manifest: Digest,
        ordinals: Collection[int],
        codecs: frozenset[Codec],
        bases: Sequence[Digest],
        *,
        rate: float = 0.0,
    ) -> AsyncGenerator[Priced, None]:
        """See the port. Raises RefusedError, NotFoundError, BadInputError, DamageError, DiskError."""
        right = self._right()
        profile = self._efforts.fitting(manifest, rate)
        allowed = await asyncio.to_thread(_allowed, right, manifest, bases)
        question = Question(manifest, ordinals, codecs, allowed, profile)
        found = Pricing(self._stock, self._encoder, question, right)
        due = self._clock()
        async with aclosing(found.run()) as steps:
            async for _ in steps:
                if found.left and self._clock() < due:
                    continue
                due = self._clock() + EVERY
                if not found.left:
                    self._efforts.promise(manifest, profile)
                yield found.priced


def _allowed(right: Right, manifest: Digest, bases: Sequence[Digest]) -> Sequence[Digest]:
    right(manifest)
    return right.bases(bases) if bases else ()

"""The only place that works out what chunks of a manifest's content take: by doing all that giving them would do.

So the bytes are exact, and what was coded is kept: the transfer that follows codes nothing anew. What rows tell comes
first (chunks that go as they rest, codings that are kept), then chunks are coded. It goes in small steps, each in its
turn with the transfers that are under way.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice

from cloud_hub.encoder import Encoder, Foreseen, is_coding
from cloud_hub.stock import SLICE, Stock
from cloud_hub.tables import Table, check_ordinals
from modelsyncd.codec.profile import Profile
from modelsyncd.codec.registry import Codec
from modelsyncd.digest import Digest
from modelsyncd.errors import BadInputError
from modelsyncd.plan import Priced, Share
from modelsyncd.session.events import Encoded
from modelsyncd.session.frames import Part

STEP = 8  # chunks that are coded in one turn, as when they are given
LOOK = 64  # chunks in one turn whose kept codings are looked for


@dataclass(frozen=True, slots=True)
class Question:
    """Which chunks of a manifest's content, for a peer that decodes `codecs` and may be coded for against `bases`."""

    manifest: Digest
    ordinals: Collection[int]
    codecs: frozenset[Codec]
    bases: Sequence[Digest]
    profile: Profile

    @property
    def is_coding(self) -> bool:
        """Whether any of them may be coded against a base."""
        return is_coding(self.bases, self.codecs, self.profile)


class Pricing:
    """What some chunks take. `run` yields after each step; what has come of it so far stands in its fields."""

    def __init__(
        self, stock: Stock, encoder: Encoder, asked: Question, check: Callable[[Digest], None] = lambda _: None
    ) -> None:
        """`check` is asked before each step, and raises when the manifest may not be read."""
        self._stock = stock
        self._encoder = encoder
        self._asked = asked
        self._check = check
        self.coded, self.alone = Share(), Share()
        self.left = 0
        """Plain bytes that are not worked out yet."""
        self.cpu = 0.0
        """Seconds that encoding has taken."""
        self.against: Counter[Digest] = Counter()
        """Plain bytes that travel coded against each base."""

    @property
    def priced(self) -> Priced:
        """As it is told to whoever asked."""
        return Priced(self.coded.plain, self.coded.wire, self.alone.plain, self.alone.wire, self.left)

    async def run(self) -> AsyncGenerator[None, None]:
        """Works it out. Raises RefusedError, NotFoundError, DamageError, BadInputError, DiskError, RoadError."""
        table = await asyncio.to_thread(self._table)
        codes = self._asked.is_coding
        unknown: list[int] = []
        for ordinals in _slices(self._asked.ordinals, LOOK if codes else SLICE):
            async with self._encoder.turns if codes else nullcontext():
                seen = await asyncio.to_thread(self._foresee, ordinals)
            self._count(table, seen)
            known = {one.ordinal for one in seen}
            unknown += [ordinal for ordinal in ordinals if ordinal not in known]
            yield
        for ordinals in _slices(unknown, STEP):
            async with self._encoder.turns:
                given = await asyncio.to_thread(self._encode, ordinals)
            self.cpu += sum(chunk.cpu for chunk in given)
            self._count(table, map(_seen, given))
            yield

    def _table(self) -> Table:
        self._check(self._asked.manifest)
        table = self._stock.table(self._stock.ref(self._asked.manifest), Part.CONTENT)
        if len(self._asked.ordinals) > len(table.sizes):
            raise BadInputError(f"{len(self._asked.ordinals)} chunks were named: the list has {len(table.sizes)}")
        check_ordinals(table, self._asked.ordinals)
        self.left = sum(table.sizes[ordinal] for ordinal in self._asked.ordinals)
        return table

    def _foresee(self, ordinals: Sequence[int]) -> list[Foreseen]:
        asked = self._asked
        self._check(asked.manifest)
        return self._encoder.foresee(asked.manifest, ordinals, asked.bases, asked.codecs, asked.profile)

    def _encode(self, ordinals: Sequence[int]) -> list[Encoded]:
        asked = self._asked
        self._check(asked.manifest)
        return self._encoder.encode(asked.manifest, ordinals, asked.bases, asked.codecs, asked.profile)

    def _count(self, table: Table, seen: Iterable[Foreseen]) -> None:
        for one in seen:
            size = table.sizes[one.ordinal]
            self.left -= size
            if one.base is None:
                self.alone += Share(1, size, one.size)
            else:
                self.coded += Share(1, size, one.size, one.runs)
                self.against[one.base] += size


def _seen(chunk: Encoded) -> Foreseen:
    if chunk.base is None:
        return Foreseen(chunk.ordinal, len(chunk.payload))
    return Foreseen(chunk.ordinal, len(chunk.payload), chunk.base.manifest, len(chunk.base.runs))


def _slices(items: Iterable[int], size: int) -> Iterator[Sequence[int]]:
    rest = iter(items)
    while taken := tuple(islice(rest, size)):
        yield taken

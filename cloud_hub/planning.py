"""The only place that works out what a whole transfer would take, for whoever holds something or nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from cloud_hub.encoder import as_it_rests
from cloud_hub.holdings import Holdings
from cloud_hub.pricing import Pricing, Question
from cloud_hub.stores import Stores
from cloud_hub.tables import PieceTable, Table
from modelsyncd.codec.profile import Profile
from modelsyncd.digest import Digest
from modelsyncd.plan import Costs, Plan, Share, make
from modelsyncd.release import ManifestRef
from modelsyncd.session.frames import Part

_NOTHING = Plan(0, 0, 0, 0, 0)


class Planning:
    """One plan. `run` yields after each step; what has come of it so far stands in its fields."""

    def __init__(self, stores: Stores, target: ManifestRef, holdings: Holdings, profile: Profile) -> None:
        self._stock = stores.stock
        self._encoder = stores.encoder
        self._target = target
        self._holdings = holdings
        self._profile = profile
        self.costs = Costs(_NOTHING)
        self.cpu = 0.0
        """Seconds that encoding has taken."""
        self.against: Counter[Digest] = Counter()
        """Plain bytes that travel coded against each base."""
        self.allowed: frozenset[Digest] = frozenset()
        """Bases against which may be coded."""

    @property
    def is_there(self) -> bool:
        """Whether the release lies there already."""
        return any(held.manifest == self._target.digest for held in self._holdings.held)

    async def run(self) -> AsyncGenerator[None, None]:
        """Works it out. Raises NotFoundError, DamageError, BadInputError, DiskError, RoadError."""
        table = await asyncio.to_thread(self._stock.table, self._target, Part.CONTENT)
        if self.is_there:
            self.costs = Costs(make(table.sizes, ()))
            return
        self.costs = Costs(_NOTHING, manifest=await asyncio.to_thread(self._pieces))
        named = [held.manifest for held in self._holdings.held]
        allowed = await asyncio.to_thread(self._holdings.right.bases, named)
        self.allowed = frozenset(allowed)
        missing = await asyncio.to_thread(self._missing, table, named)
        self.costs = replace(self.costs, plan=make(table.sizes, missing))
        yield
        asked = Question(self._target.digest, missing, self._holdings.codecs, allowed, self._profile)
        found = Pricing(self._stock, self._encoder, asked)
        self.against = found.against
        async with aclosing(found.run()) as steps:
            async for _ in steps:
                self.costs = replace(self.costs, coded=found.coded, alone=found.alone)
                self.cpu = found.cpu
                yield

    def _pieces(self) -> Share:
        """The manifest's own chunks; they are never coded against anything."""
        table = PieceTable(self._target)
        return self._at_rest(table, _first_of_each(table))

    def _missing(self, table: Table, named: Sequence[Digest]) -> list[int]:
        """Ordinals of the chunks that lie in none of these manifests; of equal chunks only the first."""
        here: set[Digest] = set()
        for manifest in named:
            held = self._stock.table(self._stock.ref(manifest), Part.CONTENT)
            here.update(map(held.digest, range(len(held.sizes))))
        return [ordinal for ordinal in _first_of_each(table) if table.digest(ordinal) not in here]

    def _at_rest(self, table: Table, ordinals: Sequence[int]) -> Share:
        """Chunks as they rest: known without reading them, unless whoever fetches can't decode that."""
        places = self._stock.places([table.digest(ordinal) for ordinal in ordinals])
        share = Share()
        for ordinal in ordinals:
            place = places.get(table.digest(ordinal))
            size = table.sizes[ordinal]
            if place is not None and place.codec in self._holdings.codecs:
                share += Share(1, size, place.length)
            else:
                ((place, resting),) = self._stock.read([table.digest(ordinal)])
                share += Share(1, size, len(as_it_rests(ordinal, place, resting, self._holdings.codecs).payload))
        return share


def _first_of_each(table: Table) -> list[int]:
    """Ordinals, ascending; of equal chunks only the first."""
    first: dict[Digest, int] = {}
    for ordinal in range(len(table.sizes)):
        first.setdefault(table.digest(ordinal), ordinal)
    return list(first.values())

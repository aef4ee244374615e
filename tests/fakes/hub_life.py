"""A hub's stores, and the life they lead: started, pushed to in small batches, and closed; each promise is told."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from cloud_hub.arrivals import Arrivals
from cloud_hub.commit import HubIntake
from cloud_hub.stores import Stores, open_stores
from cloud_hub.tables import PieceTable
from modelsyncd.codec.registry import Codec
from modelsyncd.digest import digest_of
from modelsyncd.errors import NotFoundError
from modelsyncd.names import parse_model
from modelsyncd.session.effects import Keep
from modelsyncd.session.frames import Part
from tests.fakes.hub_store import ADMIN
from tests.fakes.node_life import here
from tests.fakes.publisher import Publication, publication

MODEL = parse_model("acme/helmet")
PACK_BYTES = 24_000  # so that a push fills a few packs


@dataclass(frozen=True, slots=True)
class Belongs:
    """Nodes trust the authority with this certificate."""

    certificate: bytes


@dataclass(frozen=True, slots=True)
class Taken:
    """These chunks never travel again."""

    number: int
    part: Part
    ordinals: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Released:
    """This release is there, and the channel leads to it or to a later one."""

    number: int


Word = Belongs | Taken | Released


@dataclass(frozen=True)
class Pushes:
    """What is pushed, one release after the other."""

    publications: tuple[Publication, ...]
    batch: int = 3


def pushes(chunks: int, *, step: int, batch: int, changes: int = 6) -> Pushes:
    """Two releases; the second differs from the first in a few chunks."""
    rng = random.Random(chunks)
    first = rng.randbytes(chunks * step - 100)
    second = bytearray(first)
    for at in rng.sample(range(chunks - 1), changes):
        second[at * step : at * step + 10] = rng.randbytes(10)
    files = [{"model.bin": first}, {"model.bin": bytes(second)}]
    made = [publication(each, number=number, channel="stable", step=step) for number, each in enumerate(files, 1)]
    return Pushes(tuple(made), batch)


class HubLife:
    """One process's view of a hub's folder."""

    def __init__(self, root: Path, tale: Pushes, told: Callable[[Word], None] = lambda _: None) -> None:
        self.tale = tale
        self.told = told
        self.sent: list[tuple[int, Part, int]] = []
        """What travelled: number of the release, part, ordinal."""
        self.stores: Stores = open_stores(root, "", "", 1_000.0, pack_bytes=PACK_BYTES)
        told(Belongs(self.stores.authority.certificate))

    def numbers(self) -> list[int]:
        """The releases that are there."""
        try:
            return [row.number for row in self.stores.catalog.models.history(MODEL).releases]
        except NotFoundError:
            return []

    def live(self) -> None:
        """Whatever is left to push."""
        with patch.object(asyncio, "to_thread", here):
            asyncio.run(self._live())

    async def _live(self) -> None:
        for what in self.tale.publications:
            await self.push(what)

    async def push(self, what: Publication) -> None:
        """One push, from its offer to its release."""
        stores, number = self.stores, what.release.number
        arrivals = Arrivals(stores.contents)
        intake = HubIntake(ADMIN, stores.catalog, stores.stock, arrivals, tell=lambda _: None, clock=lambda: 1_000.0)
        if await intake.consider(what.offer) is None:
            for part in Part:
                missing = (await intake.survey(what.offer, part)).ordinals
                for start in range(0, len(missing), self.tale.batch):
                    await self._keep(intake, what, part, missing[start : start + self.tale.batch])
            await intake.complete(what.offer)
        self.told(Released(number))

    async def _keep(self, intake: HubIntake, what: Publication, part: Part, ordinals: Sequence[int]) -> None:
        chunks = what.manifest_pieces if part is Part.MANIFEST else what.chunks
        batch = [Keep(what.offer, part, ordinal, Codec.STORED, chunks[ordinal], None) for ordinal in ordinals]
        keeping = await intake.keep(batch)
        assert keeping.kept == tuple(ordinals)
        self.sent += [(what.release.number, part, ordinal) for ordinal in ordinals]
        self.told(Taken(what.release.number, part, keeping.kept))

    def check_rows(self) -> None:
        """Raises AssertionError when a row leads to bytes that are not there, or a release to chunks without rows."""
        catalog, stock = self.stores.catalog, self.stores.stock
        digests = [place.digest for place in catalog.chunks.page(None, 1_000_000)]
        assert stock.verify(digests)[1] == [], "a row dangles"
        for what in self.tale.publications[: len(self.numbers())]:
            ref = what.ref()
            assert not stock.missing(PieceTable(ref)), "a release has lost its manifest"
            assert stock.is_whole(ref), "a release has lost chunks"
            assert {digest_of(chunk) for chunk in what.chunks} <= set(digests)

    def close(self) -> None:
        self.stores.close()

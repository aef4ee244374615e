"""A hub's stores in a folder, without its network: the real catalogue, packs and blobs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cloud_hub.arrivals import Arrivals
from cloud_hub.catalog import Catalog
from cloud_hub.codings import Codings
from cloud_hub.commit import HubIntake
from cloud_hub.contents import Contents
from cloud_hub.efforts import Effort, Efforts
from cloud_hub.encoder import Encoder
from cloud_hub.events import Event
from cloud_hub.offers import Offers
from cloud_hub.rights import Right, anything
from cloud_hub.stock import Stock
from modelsyncd.codec.profile import profile_for
from modelsyncd.codec.registry import READABLE, Codec
from modelsyncd.digest import digest_of
from modelsyncd.session.effects import Keep
from modelsyncd.session.events import Settled
from modelsyncd.session.frames import Part
from modelsyncd.session.ports import Keeping
from modelsyncd.store.blobs import Blobs, open_blobs
from modelsyncd.store.packs import PackReader, PackWriter
from modelsyncd.trust.identity import Kind, Peer
from tests.fakes.publisher import Publication

ADMIN = Peer(Kind.ADMIN, "tester")


@dataclass
class HubStore:
    """Everything that a hub rests on."""

    folder: Path
    catalog: Catalog
    blobs: Blobs
    writer: PackWriter
    stock: Stock
    codings: Codings
    told: list[Event] = field(default_factory=list)

    def intake(self, peer: Peer = ADMIN) -> HubIntake:
        arrivals = Arrivals(Contents(self.stock))
        return HubIntake(peer, self.catalog, self.stock, arrivals, tell=self.told.append, clock=lambda: 1_000.0)

    def encoder(self) -> Encoder:
        return Encoder(self.stock, Contents(self.stock), self.codings)

    def offers(self, right: Right = anything, effort: Effort = profile_for) -> Offers:
        return Offers(self.stock, self.encoder(), right, Efforts(effort))

    def close(self) -> None:
        self.codings.close()
        self.writer.close()
        self.blobs.close()
        self.catalog.close()

    def pack_files(self) -> list[Path]:
        return sorted(self.folder.rglob("*.pack"))


def hub_store(folder: Path) -> HubStore:
    catalog = Catalog.open(f"sqlite:///{folder}/catalog.db")
    blobs = open_blobs(f"file://{folder}/packs")
    writer = PackWriter(folder / "spool", blobs)
    stock = Stock(catalog, writer, PackReader(folder / "spool", blobs), folder)
    codings = codings_in(folder, catalog)
    return HubStore(folder, catalog, blobs, writer, stock, codings)


def codings_in(folder: Path, catalog: Catalog, *, room: int = 1 << 30, pack_bytes: int = 1 << 20) -> Codings:
    """The codings below a hub's folder, as a process of that hub has them."""
    kept, spool = open_blobs(f"file://{folder}/codings"), folder / "codings-spool"
    writer, reader = PackWriter(spool, kept, pack_bytes=pack_bytes), PackReader(spool, kept)
    return Codings(catalog, writer, reader, kept, folder, room=room, clock=lambda: 1_000.0)


def spoil(catalog: Catalog, folder: Path, plain: bytes) -> None:
    """Turns one bit of a chunk where it rests below the hub's folder."""
    (place,) = catalog.chunks.places([digest_of(plain)]).values()
    (pack,) = (path for path in folder.rglob("*.pack") if path.stem == place.pack)
    with pack.open("r+b") as file:
        file.seek(place.offset + place.length // 2)
        (byte,) = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 0x40]))


async def bring(intake: HubIntake, publication: Publication, part: Part, ordinals: Sequence[int]) -> Keeping:
    """Gives these chunks to the hub as a session would."""
    chunks = await publication.load(publication.manifest, part, ordinals, READABLE, ())
    return await intake.keep(
        [Keep(publication.offer, part, chunk.ordinal, Codec(chunk.codec), chunk.payload, None) for chunk in chunks]
    )


async def push(intake: HubIntake, publication: Publication) -> Settled:
    """A whole push, as a session would drive it."""
    settled = await intake.consider(publication.offer)
    if settled is not None:
        return settled
    for part in Part:
        missing = await intake.survey(publication.offer, part)
        if missing.ordinals:
            await bring(intake, publication, part, missing.ordinals)
    return await intake.complete(publication.offer)

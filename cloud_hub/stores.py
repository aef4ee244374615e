"""The only place where all that a hub rests on is opened, in the order that makes a crash harmless, and closed again.

The lock comes first, then the catalogue, which refuses what a newer hub wrote before anything else is touched; then
the place for packs, which must be the one that the catalogue speaks of; then packs that a killed hub left open are
closed and their chunks are known again, so that no byte travels twice.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from cloud_hub.catalog import Catalog
from cloud_hub.codings import PACK_BYTES, Codings
from cloud_hub.contents import Contents
from cloud_hub.encoder import Encoder
from cloud_hub.stock import Stock
from modelsyncd.store import packs as packing
from modelsyncd.store.blobs import Blobs, open_blobs
from modelsyncd.store.durable import lock_folder, write_file
from modelsyncd.store.failpoints import Point, passing
from modelsyncd.store.marked import BESIDE, MarkedBlobs
from modelsyncd.store.packs import PackReader, PackWriter, recover
from modelsyncd.trust.authority import Authority

LOCK = "hub.lock"
CODINGS_BYTES = 10 << 30  # bytes of codings that are kept unless the settings say otherwise


@dataclass(frozen=True, slots=True)
class Stores:
    """What a hub rests on. `recovered` is how many chunks were found in packs that a killed hub had left open."""

    catalog: Catalog
    packs: Blobs
    stock: Stock
    contents: Contents
    codings: Codings
    encoder: Encoder
    authority: Authority
    recovered: int
    _open: ExitStack

    def close(self) -> None:
        """Hands the open pack to the blob store, then closes everything, the lock last. Raises DiskError, RoadError."""
        self._open.close()


def open_stores(
    data: Path,
    database: str,
    blobs: str,
    now: float,
    *,
    codings_bytes: int = CODINGS_BYTES,
    pack_bytes: int = packing.PACK_BYTES,
) -> Stores:
    """Opens a data folder (absolute), making what is not there; empty URLs mean places inside the folder.

    Raises LockedError, NewerFormatError, BadInputError, DamageError, DiskError, RoadError; then nothing stays open.
    """
    with ExitStack() as stack:
        stack.callback(lock_folder(data, LOCK).release)
        catalog = stack.enter_context(Catalog.open(database or f"sqlite:///{data / 'catalog.db'}"))
        catalog.lift(now)
        authority = Authority.open(data / "authority", now, _keep)
        folder, spool = data / "packs", data / "spool"
        packs = MarkedBlobs(open_blobs(blobs or folder.as_uri()), blobs or str(folder))
        stack.callback(packs.close)
        packs.claim(spool, expected=catalog.chunks.count() > 0)
        found = recover(spool, packs, catalog.chunks.end)
        passing(Point.PACKS_RECOVERED)
        catalog.chunks.add(found, now)
        writer = PackWriter(spool, packs, pack_bytes=pack_bytes)
        stack.callback(writer.close)
        stock = Stock(catalog, writer, PackReader(spool, packs), data)
        codings = _codings(stack, catalog, data, blobs, codings_bytes)
        contents = Contents(stock)
        encoder = Encoder(stock, contents, codings)
        return Stores(catalog, packs, stock, contents, codings, encoder, authority, len(found), stack.pop_all())


def _keep(path: Path, data: bytes, mode: int) -> None:
    write_file(path, data, mode)
    passing(Point.AUTHORITY_KEPT)


def _codings(stack: ExitStack, catalog: Catalog, data: Path, blobs: str, room: int) -> Codings:
    """Codings beside the packs, with a spool of their own: what is lost of them is made again, so nothing is marked."""
    kept = open_blobs(f"{blobs.rstrip('/')}/{BESIDE.rstrip('/')}" if blobs else (data / "codings").as_uri())
    stack.callback(kept.close)
    spool = data / "codings-spool"
    recovered = recover(spool, kept)
    writer, reader = PackWriter(spool, kept, pack_bytes=PACK_BYTES), PackReader(spool, kept)
    codings = Codings(catalog, writer, reader, kept, data, room=room, clock=time.time)
    codings.adopt(recovered)
    stack.callback(codings.close)
    return codings

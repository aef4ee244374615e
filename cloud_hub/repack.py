"""The only place where packs go: those that hold nothing, those that no row speaks of, and sparse ones after a rewrite.

Law: a pack leaves the index before the disk, and only when no chunk rests in it; whoever still reads there looks up
the chunk once more. What is rewritten is laid down beside what pushes bring, durable before the index names it.
Everything here blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from cloud_hub.catalog import Catalog
from cloud_hub.catalog.packs import Use
from cloud_hub.stock import Stock
from modelsyncd.daemon.log import Log
from modelsyncd.errors import DamageError
from modelsyncd.store.blobs import Blobs
from modelsyncd.store.failpoints import Point, passing
from modelsyncd.store.packs import Place, Record, pack_key
from modelsyncd.store.records import HEADER_SIZE, PACK_MARK

SPARSE = 0.3  # of a pack: rewriting one that is fuller frees less than half of what it writes
COPIED = 4 << 20  # encoded bytes that are laid down at once, unless one chunk is larger


@dataclass(frozen=True, slots=True)
class Freed:
    """Packs that went or were rewritten, bytes that were written again, and bytes that are free now."""

    packs: int = 0
    rewritten: int = 0
    copied: int = 0
    size: int = 0


class Repack:
    """Gives back what packs hold in vain."""

    def __init__(self, catalog: Catalog, stock: Stock, blobs: Blobs) -> None:
        self._catalog = catalog
        self._stock = stock
        self._blobs = blobs
        self._log = Log()

    def run(self) -> Iterator[Freed]:
        """Says how far it is after each pack; may be ended anywhere. Raises DiskFullError, DiskError, RoadError."""
        freed = Freed()
        there = {PurePosixPath(blob.key).stem: blob.size for blob in self._blobs.list() if blob.key.endswith(".pack")}
        with self._stock.stillness.alone():  # so that whatever was laid down before has its rows
            known = self._catalog.packs.names()
        used = self._catalog.packs.used()
        for pack, size in sorted(there.items()):
            if pack not in known:
                self._delete(pack)
                freed = Freed(freed.packs + 1, freed.rewritten, freed.copied, freed.size + size)
                yield freed
                continue
            use = used.get(pack, Use(0, 0))
            if size - _length(use) < max(1, SPARSE * size):
                continue
            copied = self._empty(pack) if use.chunks else 0
            if self._retire(pack):
                rewritten = freed.rewritten + (1 if copied else 0)
                freed = Freed(freed.packs + 1, rewritten, freed.copied + copied, freed.size + size - copied)
                yield freed

    def _empty(self, pack: str) -> int:
        """Lays the chunks of a pack into another; bytes that were written. What is damaged stays where it is."""
        copied = 0
        for some in _portions(self._catalog.packs.content(pack)):
            try:
                payloads = self._stock.payloads(some)
            except DamageError as error:
                self._log.warning("pack.damaged", pack=pack, why=error.message)
                return copied
            records = [
                Record(place.digest, place.codec, payload, place.plain_size)
                for place, payload in zip(some, payloads, strict=True)
            ]
            self._stock.move(list(zip(some, records, strict=True)))
            copied += sum(HEADER_SIZE + place.length for place in some)
        return copied

    def _retire(self, pack: str) -> bool:
        with self._stock.stillness.alone():
            if not self._catalog.packs.retire(pack):
                return False
        passing(Point.PACK_RETIRED)
        self._delete(pack)
        return True

    def _delete(self, pack: str) -> None:
        self._blobs.delete(pack_key(pack))
        passing(Point.PACK_DELETED)


def _length(use: Use) -> int:
    return len(PACK_MARK) + use.chunks * HEADER_SIZE + use.size


def _portions(places: Sequence[Place]) -> Iterator[Sequence[Place]]:
    """The places in runs that fit into memory."""
    run: list[Place] = []
    size = 0
    for place in places:
        if run and size + place.length > COPIED:
            yield run
            run, size = [], 0
        run.append(place)
        size += place.length
    if run:
        yield run

"""The only place that finds chunks which nothing needs, while the hub runs: marks what is needed, sweeps the rest.

Needed is what a manifest lists that a release has, or that a push looks at (`underway.py`), and what lies in a young
pack. Law: a chunk that is needed is never swept. So whatever can't be read of a manifest that a release has ends the
sweep before it has begun; and each time that chunks go, which takes milliseconds, pushes are kept out, and what they
have begun to look at meanwhile is marked first. The catalogue is asked in order of digests, and memory holds the names
of the chunks that are needed: about 100 bytes for each. Everything here blocks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from cloud_hub.catalog import Catalog
from cloud_hub.stock import Stock
from cloud_hub.tables import PieceTable, Table
from modelsyncd.codec.registry import decode
from modelsyncd.digest import Digest, digest_of, short
from modelsyncd.errors import BadInputError, DamageError
from modelsyncd.manifest import ChunkTable
from modelsyncd.release import ManifestRef
from modelsyncd.session.frames import Part
from modelsyncd.store.failpoints import Point, passing
from modelsyncd.store.packs import Place
from modelsyncd.wire.nouns import decode_manifest

PAGE = 4_096  # chunks that are looked at in one go
MANIFESTS = 256  # manifests that are read in one go, at most
MANIFEST_BYTES = 16 << 20  # of manifests that are read in one go, unless one is larger


@dataclass(frozen=True, slots=True)
class Step:
    """How far a sweep is. Bytes are encoded ones, in packs."""

    manifests: int = 0
    chunks: int = 0
    swept: int = 0
    swept_bytes: int = 0


class Sweep:
    """One sweep. `young` are packs whose chunks stay; `without` are manifests that count as gone (a dry run)."""

    def __init__(
        self, catalog: Catalog, stock: Stock, young: Collection[str], without: Collection[Digest] = frozenset()
    ) -> None:
        self._catalog = catalog
        self._stock = stock
        self._young = young
        self._without = without
        self._marked: set[Digest] = set()
        self._entered = 0
        self._step = Step()

    def run(self, *, dry: bool) -> Iterator[Step]:
        """Marks and sweeps, or only counts; says how far it is. Ending it anywhere is safe.

        Raises DamageError when a manifest can't be read, DiskError, RoadError; what was swept by then was not needed.
        """
        with self._stock.underway.swept():
            yield from self._mark()
            yield from self._go(dry=dry)

    # --- marking ---

    def _mark(self) -> Iterator[Step]:
        after: Digest | None = None
        while refs := self._catalog.manifests.page(after, MANIFESTS):
            after = refs[-1].digest
            for some in _portions([ref for ref in refs if ref.digest not in self._without]):
                self._mark_releases(some)
            self._step = Step(self._step.manifests + len(refs))
            yield self._step

    def _mark_releases(self, refs: Sequence[ManifestRef]) -> None:
        pieces = [_digests(PieceTable(ref)) for ref in refs]
        for ref, table in zip(refs, self._tables(refs, pieces), strict=True):
            self._marked.update(_digests(table), _digests(PieceTable(ref)))

    def _tables(self, refs: Sequence[ManifestRef], pieces: Sequence[Sequence[Digest]]) -> Iterator[Table]:
        """The contents of manifests, all read in one go. Raises DamageError, DiskError, RoadError."""
        try:
            resting = iter(self._stock.read([digest for each in pieces for digest in each]))
        except DamageError as error:
            raise DamageError(
                "a manifest of a release can't be read, so it is not known which chunks it needs",
                safe="no chunk was removed",
                hint="modelsyncctl verify says what is damaged; push those releases again, then try again",
            ) from error
        for ref, digests in zip(refs, pieces, strict=True):
            own = [next(resting) for _ in digests]
            data = b"".join(decode(place.codec, payload, place.plain_size) for place, payload in own)
            if digest_of(data) != ref.digest:
                raise DamageError(
                    f"manifest {short(ref.digest)} of a release is damaged, so it is not known which chunks it needs",
                    safe="no chunk was removed",
                    hint="modelsyncctl verify says what is damaged; push those releases again, then try again",
                )
            yield ChunkTable(decode_manifest(data))

    def _mark_pushes(self) -> None:
        """Marks what pushes look at since this was last called. Raises DamageError, DiskError, RoadError."""
        self._entered, refs = self._stock.underway.since(self._entered)
        for ref in refs:
            pieces = PieceTable(ref)
            self._marked.update(_digests(pieces))
            if self._stock.missing(pieces):
                continue  # its content is entered again before anybody counts on it
            with suppress(BadInputError):  # what is no manifest never becomes a release
                self._marked.update(_digests(self._stock.table(ref, Part.CONTENT)))

    # --- sweeping ---

    def _go(self, *, dry: bool) -> Iterator[Step]:
        after: Digest | None = None
        while places := self._catalog.chunks.page(after, PAGE):
            after = places[-1].digest
            going: Sequence[Place] = [place for place in places if self._goes(place)]
            if dry:
                self._mark_pushes()
                going = [place for place in going if place.digest not in self._marked]
            elif going:
                going = self._drop(going)
            step = self._step
            size = step.swept_bytes + sum(place.length for place in going)
            self._step = Step(step.manifests, step.chunks + len(places), step.swept + len(going), size)
            yield self._step

    def _goes(self, place: Place) -> bool:
        return place.digest not in self._marked and place.pack not in self._young

    def _drop(self, places: Sequence[Place]) -> Sequence[Place]:
        with self._stock.stillness.alone():
            self._mark_pushes()
            going = [place for place in places if self._goes(place)]
            self._catalog.packs.drop([place.digest for place in going])
        passing(Point.CHUNKS_SWEPT)
        self._stock.swept()
        return going


def _portions(refs: Sequence[ManifestRef]) -> Iterator[Sequence[ManifestRef]]:
    """The manifests in runs that fit into memory."""
    run: list[ManifestRef] = []
    size = 0
    for ref in refs:
        if run and size + ref.size > MANIFEST_BYTES:
            yield run
            run, size = [], 0
        run.append(ref)
        size += ref.size
    if run:
        yield run


def _digests(table: Table) -> list[Digest]:
    return [table.digest(ordinal) for ordinal in range(len(table.sizes))]

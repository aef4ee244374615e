"""The only place where the hub's chunks go in and come out: packs and the index of them, kept in step.

Law: a row exists only for bytes that are durable, and what is read is checked before anyone sees it. A chunk that is
found damaged is forgotten from the index, never repaired in place: the next push of the same content brings it back.
What a push looks at is entered as under way before it is looked up, so that no sweep takes it (`underway.py`).
Everything here blocks; callers hop to a thread. Safe to use from any thread.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

from cloud_hub.catalog import Catalog
from cloud_hub.promises import Promises
from cloud_hub.stillness import Stillness
from cloud_hub.tables import PieceTable, Table, TableCache
from cloud_hub.underway import Underway
from modelsyncd.codec.registry import decode
from modelsyncd.daemon.log import Log
from modelsyncd.digest import Buffer, Digest, digest_of, short
from modelsyncd.errors import BadInputError, DamageError, DiskFullError, NotFoundError
from modelsyncd.manifest import ChunkTable, Manifest
from modelsyncd.release import ManifestRef
from modelsyncd.session.frames import Part
from modelsyncd.store.durable import disk_errors
from modelsyncd.store.failpoints import Point, passing
from modelsyncd.store.packs import PackReader, PackWriter, Place, Record
from modelsyncd.wire.nouns import decode_manifest

SLICE = 8_192  # chunks that are looked up at once: bounds memory whatever the model's size
RESERVE = 64 << 20  # bytes that a push may not take from the disk: the catalogue lives there too
NAMED = 16  # damaged chunks of one pack that a line of the log names
REFS = 256  # manifests whose sizes and piece digests are remembered


class Stock:
    """All chunks of one hub. `folder` is on the file system that fills when something is pushed."""

    def __init__(
        self,
        catalog: Catalog,
        writer: PackWriter,
        reader: PackReader,
        folder: Path,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._catalog = catalog
        self._clock = clock
        self._writer = writer
        self._reader = reader
        self._folder = folder
        self.promises = Promises()
        self.stillness = Stillness()
        self.underway = Underway(self.stillness)
        self._log = Log()
        self._tables = TableCache()
        self._refs: OrderedDict[Digest, ManifestRef] = OrderedDict()
        self._whole: set[Digest] = set()
        self._losses = 0
        self._lock = threading.Lock()

    # --- chunks ---

    def keep(self, arrivals: Sequence[Record]) -> None:
        """Makes verified chunks durable and knows them from then on. Raises DiskFullError, DiskError."""
        with self.stillness.shared():  # a pack that has no row yet is none that a sweep may take for garbage
            absent = set(self._catalog.chunks.missing([arrival.digest for arrival in arrivals]))
            fresh = [arrival for arrival in arrivals if arrival.digest in absent]
            if fresh:
                places = self._writer.append(fresh)
                passing(Point.RECORDS_SYNCED)
                self._catalog.chunks.add(places, self._clock())
                passing(Point.CHUNKS_INDEXED)

    def payloads(self, places: Sequence[Place]) -> list[Buffer]:
        """What rests in these very places, checked against rot; nothing is forgotten. Raises as `read`."""
        return self._reader.read_all(places)

    def move(self, records: Sequence[tuple[Place, Record]]) -> None:
        """Lays chunks down once more, and knows them there from then on: so that their old pack can go.

        Raises DiskFullError, DiskError.
        """
        places = self._writer.append([record for _, record in records])
        passing(Point.RECORDS_COPIED)
        self._catalog.packs.move([(old, new) for (old, _), new in zip(records, places, strict=True)], self._clock())
        passing(Point.CHUNKS_MOVED)

    def swept(self) -> None:
        """Forgets what was remembered of chunks and manifests: some are gone."""
        with self._lock:
            self._losses += 1
            self._whole.clear()
            self._refs.clear()

    def places(self, digests: Sequence[Digest]) -> dict[Digest, Place]:
        """Where those of the chunks rest that are here; nothing is read."""
        return self._catalog.chunks.places(digests)

    def read(self, digests: Sequence[Digest]) -> list[tuple[Place, Buffer]]:
        """Where each chunk rests, and its encoded bytes, checked against rot.

        Raises DamageError when one is gone or damaged; it is forgotten, so that pushing its content again heals it.
        DiskError, RoadError when bytes can't be reached; then nothing is forgotten.
        """
        while True:
            places = self._catalog.chunks.places(digests)
            absent = [digest for digest in digests if digest not in places]
            if absent:
                raise _damaged(absent)
            wanted = [places[digest] for digest in digests]
            try:
                return list(zip(wanted, self._reader.read_all(wanted), strict=True))
            except DamageError as error:
                damaged = self._forget_damaged(wanted)
                if damaged:
                    raise _damaged(damaged) from error

    def _forget_damaged(self, places: Sequence[Place]) -> Sequence[Digest]:
        """Looks which of these it was, and forgets them; none when they rest elsewhere by now, or nowhere."""
        damaged = [place for place in places if not self._is_sound(place)]
        there = self._still(damaged)
        if len(there) < len(damaged):
            return []
        self._forget(there)
        return [place.digest for place in there or places]

    def _still(self, places: Sequence[Place]) -> Sequence[Place]:
        """Those that are where chunks rest now: their pack may have gone since they were looked up."""
        now = self._catalog.chunks.places([place.digest for place in places]) if places else {}
        return [place for place in places if now.get(place.digest) == place]

    def _forget(self, damaged: Sequence[Place]) -> None:
        """Forgets chunks that were read and are wrong, or whose pack is gone, and says so to whoever runs this hub."""
        self._catalog.chunks.forget(damaged)
        passing(Point.CHUNKS_FORGOTTEN)
        with self._lock:
            self._losses += len(damaged)
            self._whole.clear()
        for pack in sorted({place.pack for place in damaged}):
            chunks = [short(place.digest) for place in damaged if place.pack == pack]
            named = ",".join(chunks[:NAMED]) + (",…" if len(chunks) > NAMED else "")
            self._log.error("chunks.damaged", pack=pack, count=len(chunks), chunks=named)

    def _is_sound(self, place: Place) -> bool:
        try:
            self._reader.read(place)
        except DamageError:
            return False
        return True

    def verify(self, digests: Sequence[Digest]) -> tuple[int, list[Digest]]:
        """Re-hashes these chunks: plain bytes that were read, and the chunks that are missing or damaged.

        Those are forgotten. One chunk at a time is in memory. Raises DiskError, RoadError when bytes can't be reached;
        then nothing is forgotten.
        """
        places = self._catalog.chunks.places(digests)
        damaged = self._still([place for place in places.values() if not self._is_true(place)])
        self._forget(damaged)
        bad = {place.digest for place in damaged}
        size = sum(place.plain_size for place in places.values() if place.digest not in bad)
        return size, [digest for digest in dict.fromkeys(digests) if digest in bad or digest not in places]

    def _is_true(self, place: Place) -> bool:
        """Whether the bytes are what their digest says; `_is_sound` asks only whether they are what was written."""
        try:
            return digest_of(decode(place.codec, self._reader.read(place), place.plain_size)) == place.digest
        except DamageError:
            return False

    def missing(self, table: Table) -> list[int]:
        """Ordinals of the chunks that are not here, ascending; of equal chunks only the first."""
        lacking: list[int] = []
        seen: set[Digest] = set()
        for start in range(0, len(table.sizes), SLICE):
            first: dict[Digest, int] = {}
            for ordinal in range(start, min(start + SLICE, len(table.sizes))):
                first.setdefault(table.digest(ordinal), ordinal)
            absent = [digest for digest in self._catalog.chunks.missing(list(first)) if digest not in seen]
            seen.update(absent)
            lacking += sorted(first[digest] for digest in absent)
        return lacking

    def is_whole(self, ref: ManifestRef) -> bool:
        """Whether a manifest and all of its content are here. Raises BadInputError for a manifest that is not sound."""
        self.underway.enter([ref])
        if self.missing(PieceTable(ref)):
            return False
        self.underway.enter([ref])  # once more: only now can be known what is in it
        return not self.missing(self.table(ref, Part.CONTENT))

    def was_whole(self, ref: ManifestRef) -> bool:
        """As `is_whole`, and remembered until this process finds something damaged: for guesses, not for promises.

        Raises as `is_whole`.
        """
        with self._lock:
            if ref.digest in self._whole:
                return True
            losses = self._losses
        whole = self.is_whole(ref)
        with self._lock:
            if whole and losses == self._losses:
                self._whole.add(ref.digest)
        return whole

    def reserve(self, who: object, manifest: Digest, size: int) -> None:
        """Promises room for `size` more bytes of a push. Raises DiskFullError when they would not fit, DiskError."""
        with disk_errors(self._folder):
            free = shutil.disk_usage(self._folder).free
        others = self.promises.make(who, manifest, size, free - RESERVE)
        if others is not None:
            beside = f", {others} of them promised to other pushes" if others else ""
            raise DiskFullError(
                f"{size} bytes are to come, and the hub's disk has {free} free{beside}",
                safe="nothing was sent; releases that are here are untouched",
                hint=f"make room on the file system of {self._folder}",
            )

    def survey(self, ref: ManifestRef, part: Part) -> tuple[Table, Sequence[int]]:
        """What a push is to bring: the chunks of a part, and those of them that are missing. Raises as `table`."""
        self.underway.enter([ref])
        table = self.table(ref, part)
        return table, self.missing(table)

    # --- manifests ---

    def ref(self, manifest: Digest) -> ManifestRef:
        """Sizes and pieces of a manifest that was committed. Raises NotFoundError."""
        with self._lock:
            known = self._refs.get(manifest)
        if known is not None:
            return known
        ref = self._catalog.manifests.get(manifest)
        if ref is None:
            raise NotFoundError(f"there is no manifest {short(manifest)} at this hub")
        with self._lock:
            self._refs[manifest] = ref
            while len(self._refs) > REFS:
                self._refs.popitem(last=False)
        return ref

    def remembered(self, manifest: Digest) -> ManifestRef | None:
        """The same if it was asked for lately; never blocks."""
        with self._lock:
            return self._refs.get(manifest)

    def table(self, ref: ManifestRef, part: Part) -> Table:
        """The chunks of a manifest, or of its content once the manifest itself is here.

        Raises DamageError, BadInputError and its kind for a manifest that is not what its release says.
        """
        if part is Part.MANIFEST:
            return PieceTable(ref)
        table = self._tables.get(ref.digest)
        if table is None:
            table = self._load(ref)
            self._tables.put(ref.digest, table)
        return table

    def _load(self, ref: ManifestRef) -> ChunkTable:
        return ChunkTable(self.manifest(ref))

    def manifest(self, ref: ManifestRef) -> Manifest:
        """The manifest itself, read and parsed anew: large when it lists many tensors, so callers keep few.

        Raises as `table`.
        """
        pieces = PieceTable(ref)
        resting = self.read([pieces.digest(ordinal) for ordinal in range(len(pieces.sizes))])
        data = b"".join(decode(place.codec, payload, place.plain_size) for place, payload in resting)
        if digest_of(data) != ref.digest:
            raise BadInputError(f"the pieces of manifest {short(ref.digest)} do not make up a manifest of that name")
        manifest = decode_manifest(data)
        if (manifest.content_size, len(manifest.files)) != (ref.content_size, ref.files):
            raise BadInputError(f"the release and its manifest {short(ref.digest)} do not agree on what is in it")
        return manifest


def _damaged(digests: Sequence[Digest]) -> DamageError:
    return DamageError(
        f"{len(digests)} of the hub's chunks are damaged or gone, {short(digests[0])} among them",
        safe="no damaged byte was passed on, and every version in use is untouched",
        hint="push it again: only what is damaged travels",
    )

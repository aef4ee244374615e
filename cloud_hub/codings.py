"""The only place where codings are kept beside the packs: a chunk is coded against a base once, for all nodes.

A coding's name is a key over what it codes and against what, so whoever needs the same one finds it, here or in another
hub process. New ones gather in memory, are laid into a pack of their own kind, and get rows when that pack is sealed;
a crash before that loses a few codings and nothing else. Law: a coding is never trusted more than any bytes. Its
checksum is compared at each read, and one that is damaged, gone or can't be reached is made again. Nothing here raises
for a disk that is full or away: keeping is worth something only while it costs nothing.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cloud_hub.catalog import Catalog
from modelsyncd.codec.registry import Codec
from modelsyncd.daemon.log import Log
from modelsyncd.digest import Buffer, Digest
from modelsyncd.errors import DamageError, ModelsyncError
from modelsyncd.store.blobs import Blobs
from modelsyncd.store.durable import disk_errors
from modelsyncd.store.failpoints import Point, passing
from modelsyncd.store.packs import PackReader, PackWriter, Place, Record, pack_key

PACK_BYTES = 16 << 20  # bytes of a pack of codings: it goes as a whole, so smaller than one of chunks
GATHERED = 4 << 20  # bytes that are laid down together: a sync for each load would cost more than the encoding
OPEN_CODINGS = 8_192  # codings in a pack that is not sealed yet: their places are in memory
OPEN_SECONDS = 30.0  # after which a pack is sealed, so that other processes and a restart find what is in it
SPARE = 1 << 30  # bytes that stay free on the disk: codings must never be why a push does not fit


@dataclass(frozen=True, slots=True)
class Swept:
    """What `sweep` gave back: codings' packs and their bytes."""

    packs: int
    size: int


class Codings:
    """The codings that are kept, at most `room` bytes of them (0: none). Safe to use from any thread."""

    def __init__(
        self,
        catalog: Catalog,
        writer: PackWriter,
        reader: PackReader,
        blobs: Blobs,
        folder: Path,
        *,
        room: int,
        clock: Callable[[], float],
    ) -> None:
        """`folder` is on the file system that fills; `clock` says seconds since 1970 UTC."""
        self._rows = catalog.codings
        self._writer = writer
        self._reader = reader
        self._blobs = blobs
        self._folder = folder
        self._room = room
        self._clock = clock
        self._log = Log()
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._gathered: dict[Digest, Record] = {}
        self._open: dict[Digest, Place] = {}
        self._began = 0.0
        self._used: set[str] = set()

    # --- finding and keeping ---

    def find(self, keys: Collection[Digest]) -> dict[Digest, Record]:
        """Those of the codings that are kept, checked against rot. Never raises ModelsyncError."""
        found: dict[Digest, Record] = {}
        places: dict[Digest, Place] = {}
        if not self._room:
            return found
        with self._lock:
            for key in keys:
                if key in self._gathered:
                    found[key] = self._gathered[key]
                elif key in self._open:
                    places[key] = self._open[key]
        resting = self._places([key for key in keys if key not in found and key not in places])
        for place in (*places.values(), *resting.values()):
            payload = self._read(place)
            if payload is not None:
                found[place.digest] = Record(place.digest, place.codec, payload, place.plain_size)
        with self._lock:
            self._used.update(place.pack for place in resting.values() if place.digest in found)
        return found

    def sizes(self, keys: Collection[Digest]) -> dict[Digest, tuple[Codec, int]]:
        """Codec and encoded bytes of those of the codings that are kept, unread. Never raises ModelsyncError."""
        if not self._room:
            return {}
        with self._lock:
            gathered = [self._gathered[key] for key in keys if key in self._gathered]
            laid = [self._open[key] for key in keys if key in self._open]
        found = {record.digest: (record.codec, len(record.payload)) for record in gathered}
        found.update({place.digest: (place.codec, place.length) for place in laid})
        resting = self._places([key for key in keys if key not in found])
        return found | {place.digest: (place.codec, place.length) for place in resting.values()}

    def keep(self, codings: Sequence[Record]) -> None:
        """Keeps these, from now on for this process and soon for all. Never raises ModelsyncError."""
        if not self._room:
            return
        with self._lock:
            if not self._gathered and not self._open:
                self._began = self._clock()
            self._gathered.update((coding.digest, coding) for coding in codings)
            full = sum(len(each.payload) for each in self._gathered.values()) >= GATHERED
        if full:
            self._guarded(self._lay_down)

    def tidy(self) -> None:
        """To be called every few seconds: seals what has been open for a while, and notes what was of use."""
        with self._lock:
            due = bool(self._gathered or self._open) and self._clock() - self._began >= OPEN_SECONDS
            used, self._used = self._used, set()
        if due:
            self._guarded(self._seal)
        if used:
            self._guarded(lambda: self._rows.used(used, self._clock()))

    def close(self) -> None:
        """Seals what is open; call it last."""
        self._guarded(self._seal)

    def adopt(self, recovered: Sequence[Place]) -> None:
        """Makes codings known that a killed hub had written and not sealed. Raises DiskError, LockedError."""
        if recovered:
            self._rows.add(recovered, self._clock())

    # --- room ---

    def sweep(self, *, dry: bool = False) -> Swept:
        """Deletes packs that are too many, and what nothing refers to, or only says so. Raises DiskError, RoadError."""
        evicted = self._evict(dry=dry)
        known = self._rows.packs()
        there = {Path(blob.key).stem: blob for blob in self._blobs.list() if blob.key.endswith(".pack")}
        stray = [blob for name, blob in there.items() if name not in known]
        if not dry:
            self._rows.drop([name for name in known if name not in there])
            for blob in stray:
                self._blobs.delete(blob.key)
                passing(Point.STRAY_REMOVED)
        return Swept(evicted.packs + len(stray), evicted.size + sum(blob.size for blob in stray))

    def _evict(self, *, dry: bool = False) -> Swept:
        packs = self._rows.packs()
        going = self._too_many(packs)
        freed = sum(packs[name] for name in going)
        if going and not dry:
            self._rows.drop(going)  # the rows first: a crash leaves bytes without a row, which `sweep` finds
            passing(Point.CODINGS_EVICTED)
            for name in going:
                self._blobs.delete(pack_key(name))
            self._log.info("codings.evicted", packs=len(going), bytes=freed)
        return Swept(len(going), freed)

    def _too_many(self, packs: Mapping[str, int]) -> Sequence[str]:
        """Packs that have to go, by what they take, so that the others fit."""
        size = sum(packs.values())
        going: list[str] = []
        for name, pack_size in packs.items():
            if size <= self._room:
                break
            going.append(name)
            size -= pack_size
        return going

    # --- reading ---

    def _places(self, keys: Collection[Digest]) -> dict[Digest, Place]:
        try:
            return self._rows.places(keys) if keys else {}
        except ModelsyncError as error:
            self._log.failure("codings.unread", error)
            return {}

    def _read(self, place: Place) -> Buffer | None:
        try:
            return self._reader.read(place)
        except DamageError as error:
            self._log.warning("coding.damaged", pack=place.pack, why=error.message)
            self._guarded(lambda: self._forget(place))
        except ModelsyncError as error:
            self._log.failure("codings.unread", error)
        return None

    def _forget(self, place: Place) -> None:
        with self._lock:
            if self._open.get(place.digest) == place:
                del self._open[place.digest]
                return
        self._rows.forget([place])

    # --- writing ---

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except ModelsyncError as error:
            self._log.failure("codings.unkept", error)

    def _lay_down(self) -> None:
        with self._writing:
            with self._lock:
                batch = list(self._gathered.values())
            try:
                places = self._writer.append(batch) if batch and self._has_room() else []
            finally:
                # Whatever came of it: they are kept now, or there is no place for them.
                with self._lock:
                    for coding in batch:
                        self._gathered.pop(coding.digest, None)
            with self._lock:
                self._open.update((place.digest, place) for place in places)
                full = len(self._open) >= OPEN_CODINGS
                size = max((place.offset + place.length for place in places), default=0)
            if places:
                passing(Point.CODINGS_LAID)
                self._note_sealed(apart_from=places[0].pack)
            if full or size >= PACK_BYTES:
                self._seal_pack()

    def _seal(self) -> None:
        self._lay_down()
        with self._writing:
            self._seal_pack()

    def _seal_pack(self) -> None:
        self._writer.seal()
        passing(Point.CODINGS_SEALED)
        self._note_sealed()
        self._evict()

    def _note_sealed(self, apart_from: str = "") -> None:
        """Gives rows to the codings of packs that are sealed: all but the one that is open."""
        with self._lock:
            sealed = [place for place in self._open.values() if place.pack != apart_from]
        if sealed:
            self._rows.add(sealed, self._clock())
            passing(Point.CODINGS_KNOWN)
            with self._lock:
                for place in sealed:
                    self._open.pop(place.digest, None)

    def _has_room(self) -> bool:
        with disk_errors(self._folder):
            return shutil.disk_usage(self._folder).free >= SPARE

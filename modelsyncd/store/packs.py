"""The only place where chunks are laid into packs and read out of them: append-only files of about 64 MiB.

A pack grows in the spool folder and is adopted by the blob store when it is full; its name, and hence every place in
it, stays the same. Law: when `append` has returned, its records survive a power cut. Whoever keeps an index writes it
after that, so a crash leaves bytes that nobody refers to, and never a reference to bytes that are not there.
"""

from __future__ import annotations

import errno
import os
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path

from modelsyncd.digest import Buffer
from modelsyncd.errors import DamageError, DiskError, NewerFormatError, NotFoundError
from modelsyncd.store.blobs import Blobs
from modelsyncd.store.durable import disk_errors, make_folder, remove_file, sync_folder, write_at
from modelsyncd.store.failpoints import Point, passing
from modelsyncd.store.records import HEADER_SIZE, PACK_MARK, Found, Place, Record, header, scan, scan_pack

__all__ = ["PACK_BYTES", "PackReader", "PackWriter", "Place", "Record", "pack_key", "recover", "scan_blob", "scan_pack"]

PACK_BYTES = 64 << 20  # bytes after which a pack is full: large for object stores, small to rewrite when chunks go
RUN_BYTES = 4 << 20  # bytes read at once at most, unless one chunk is larger
GAP_BYTES = 64 << 10  # bytes between two chunks that are read along, being cheaper than a second read
_ENDING = ".pack"
_VECTORS = 512  # buffers in one pwritev; Linux takes 1,024


def pack_key(pack: str) -> str:
    """The pack's name in the blob store: in one of 256 folders, because file systems slow down on crowded ones."""
    return f"{pack[:2]}/{pack}{_ENDING}"


def _new_name() -> str:
    return uuid.uuid4().hex


class PackWriter:
    """Lays records into one pack at a time. Safe to use from any thread; every method blocks."""

    def __init__(
        self, spool: Path, blobs: Blobs, *, pack_bytes: int = PACK_BYTES, name: Callable[[], str] = _new_name
    ) -> None:
        """Takes an existing or new spool folder, which nobody else writes to. Raises DiskError."""
        make_folder(spool)
        self._spool = spool
        self._blobs = blobs
        self._full = pack_bytes
        self._name = name
        self._lock = threading.Lock()
        self._pack: _OpenPack | None = None

    def append(self, batch: Sequence[Record]) -> list[Place]:
        """Lays down the records and makes them durable with one sync; their places, in the same order.

        Raises DiskFullError, DiskError, or what the blob store raises when a full pack can't be adopted; then none of
        the batch counts, and the next call may do better.
        """
        if not batch:
            return []
        with self._lock:
            if self._pack is not None and self._pack.is_full(self._full):
                self._seal()
            if self._pack is None:
                self._pack = _OpenPack(self._spool, self._name(), self._full)
            return self._pack.append(batch)

    def seal(self) -> None:
        """Hands the open pack to the blob store, if there is one. Raises what the blob store raises."""
        with self._lock:
            if self._pack is not None:
                self._seal()

    def _seal(self) -> None:
        pack = self._pack
        if pack is not None:
            pack.close()
            passing(Point.PACK_CLOSED)
            if pack.end > len(PACK_MARK):
                self._blobs.adopt(pack_key(pack.name), pack.path)
            else:
                remove_file(pack.path)
            self._pack = None
            passing(Point.PACK_ADOPTED)

    def close(self) -> None:
        """Seals; call it last."""
        self.seal()


class _OpenPack:
    """A pack that grows; not for several threads."""

    def __init__(self, spool: Path, name: str, expected: int) -> None:
        self.name = name
        self.path = spool / f"{name}{_ENDING}"
        self._sound = True
        with disk_errors(self.path):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._descriptor = os.open(self.path, flags, 0o644)
            try:
                # A sync that does not also have to record a new size takes half the time (ext4). Without room, or where
                # a file system can't, the pack grows as it is written.
                with suppress(OSError):
                    os.posix_fallocate(self._descriptor, 0, expected)
                write_at(self._descriptor, PACK_MARK, 0)
                os.fsync(self._descriptor)
                passing(Point.PACK_BEGUN)
                sync_folder(spool)
            except (OSError, DiskError):  # each try would leave another one behind, with all the room it reserved
                os.close(self._descriptor)
                self.path.unlink()
                raise
        self.end = len(PACK_MARK)

    def is_full(self, most: int) -> bool:
        """Whether nothing more may be laid into it. A pack that failed to sync is never synced again.

        Linux reports a failed write-back once and then calls the pages clean; what was acknowledged before is on disk.
        """
        return self.end >= most or not self._sound or self._descriptor < 0

    def append(self, batch: Sequence[Record]) -> list[Place]:
        at = self.end
        headers: list[bytes] = []
        places: list[Place] = []
        for record in batch:
            head, payload_sum = header(record)
            headers.append(head)
            at += HEADER_SIZE
            length = len(record.payload)
            places.append(Place(record.digest, record.codec, record.plain_size, payload_sum, self.name, at, length))
            at += length
        with disk_errors(self.path):
            self._sound = False
            _write_all(
                self._descriptor, list(chain(*zip(headers, (each.payload for each in batch), strict=True))), self.end
            )
            passing(Point.RECORDS_WRITTEN)
            os.fdatasync(self._descriptor)
            self._sound = True
        self.end = at
        return places

    def close(self) -> None:
        """Gives back what was reserved and is not used; doing so again is harmless. Raises DiskError."""
        if self._descriptor < 0:
            return
        with disk_errors(self.path):
            # Needs no sync: bytes past the last record mean nothing, whether they are there after a crash or not.
            os.ftruncate(self._descriptor, self.end)
            descriptor, self._descriptor = self._descriptor, -1  # the number is free even when closing fails
            os.close(descriptor)


def _write_all(descriptor: int, buffers: Sequence[Buffer], offset: int) -> None:
    """Writes the buffers one after the other from `offset` on. Raises OSError."""
    for start in range(0, len(buffers), _VECTORS):
        vector = buffers[start : start + _VECTORS]
        wanted = sum(map(len, vector))
        written = os.pwritev(descriptor, vector, offset)
        if written < wanted:
            # Rare (a signal, a disk that is nearly full): the rest is joined, which either works or says why not.
            write_at(descriptor, memoryview(b"".join(vector))[written:], offset + written)
        offset += wanted


def recover(spool: Path, blobs: Blobs, acknowledged: Callable[[str], int] = lambda _: 0) -> list[Place]:
    """Hands packs that a killed process left in the spool to the blob store, without what was torn at their ends.

    The places of all whole records in them: those that were acknowledged, and perhaps some that nobody knows of yet.
    `acknowledged` says the byte after the last record of a pack that the index knows: nothing before it is cut off,
    whatever has become of a header there. Call it before a PackWriter works in the folder.

    Raises DiskError, NewerFormatError, or what the blob store raises.
    """
    make_folder(spool)
    with disk_errors(spool):
        left = sorted(spool.glob(f"*{_ENDING}"))
    return list(chain.from_iterable(_recover(path, blobs, acknowledged(path.stem)) for path in left))


def _recover(path: Path, blobs: Blobs, known: int) -> Sequence[Place]:
    try:
        found = scan_pack(path)
    except NewerFormatError:
        if not known:  # else it was this format that wrote it, and a bit of its mark has turned
            raise
        found = Found((), 0)
    if not found.places and not known:
        remove_file(path)
        return ()
    with disk_errors(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.ftruncate(descriptor, min(max(found.end, known), os.fstat(descriptor).st_size))
            # Records that were written and not yet synced are about to be believed: make them durable first.
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    passing(Point.PACK_TRIMMED)
    blobs.adopt(pack_key(path.stem), path)
    return found.places


def scan_blob(blobs: Blobs, pack: str) -> Found:
    """Scans a pack in the blob store. Raises NotFoundError, NewerFormatError, and what the blob store raises."""
    key = pack_key(pack)
    size = blobs.size(key)
    return scan(pack, lambda offset, length: blobs.read(key, offset, max(0, min(length, size - offset))))


class PackReader:
    """Reads encoded chunks wherever their pack is. Safe to use from any thread; every method blocks."""

    def __init__(self, spool: Path, blobs: Blobs) -> None:
        self._spool = spool
        self._blobs = blobs

    def read(self, place: Place) -> Buffer:
        """The encoded bytes of one chunk, checked. Raises DamageError, DiskError, or what the blob store raises."""
        return self.read_all([place])[0]

    def read_all(self, places: Sequence[Place]) -> list[Buffer]:
        """The encoded bytes of chunks, checked, in the order asked for; neighbours in a pack are read at once.

        All of them are in memory together: the caller bounds how many. Raises as `read`, for the first one that fails.
        """
        found: list[Buffer] = [b""] * len(places)
        order = sorted(range(len(places)), key=lambda index: (places[index].pack, places[index].offset))
        for run in _runs(places, order):
            start = max(0, places[run[0]].offset - HEADER_SIZE)
            end = max(places[index].offset + places[index].length for index in run)
            window = memoryview(self._read(places[run[0]], start, end - start))
            for index in run:
                place = places[index]
                begin = place.offset - start
                head = window[max(0, begin - HEADER_SIZE) : begin]
                found[index] = place.check(window[begin : begin + place.length], head)
        return found

    def _read(self, place: Place, offset: int, length: int) -> Buffer:
        """Bytes of a pack. What the disk refuses twice while it gives the pack's beginning is lost, and no more.

        Raises DamageError, DiskError, or what the blob store raises.
        """
        try:
            return self._fetch(place, offset, length)
        except DiskError as error:
            if not _is_bad_sector(error):
                raise
        try:
            return self._fetch(place, offset, length)
        except DiskError as error:
            if not _is_bad_sector(error):
                raise
            self._fetch(place, 0, len(PACK_MARK))  # a disk that gives nothing at all says nothing about these bytes
            raise DamageError(
                f"the disk does not give {length} bytes of pack {place.pack}",
                safe="the rest of the pack is not touched",
                hint="look at the disk; publish the versions that need them again: only what is missing travels",
            ) from error

    def _fetch(self, place: Place, offset: int, length: int) -> Buffer:
        spooled = self._spool / f"{place.pack}{_ENDING}"
        # The spool first: a pack may leave it for the blob store at any moment, and never comes back.
        with disk_errors(spooled):
            try:
                return _pread(spooled, offset, length)
            except FileNotFoundError:
                pass
        try:
            return self._blobs.read(pack_key(place.pack), offset, length)
        except NotFoundError as error:
            if not self._spool.is_dir():
                raise DiskError(
                    f"there is no folder {self._spool} any more",
                    safe="nothing was forgotten",
                    hint="mount the hub's data folder and restart the hub",
                ) from error
            raise DamageError(
                f"pack {place.pack} is gone",
                safe="other packs are not touched",
                hint="restore it, or publish the versions that need it again: only what is missing travels",
            ) from error


def _runs(places: Sequence[Place], order: Sequence[int]) -> Iterator[list[int]]:
    """Indexes of places that are read at once, in the order of their offsets."""
    run: list[int] = []
    for index in order:
        if run and not _joins(places[run[0]], places[run[-1]], places[index]):
            yield run
            run = []
        run.append(index)
    if run:
        yield run


def _joins(first: Place, last: Place, place: Place) -> bool:
    near = place.offset <= last.offset + last.length + GAP_BYTES
    return place.pack == first.pack and near and place.offset + place.length - first.offset <= RUN_BYTES


def _is_bad_sector(error: DiskError) -> bool:
    """Whether the medium refused to be read there, rather than that a file or a folder can't be reached."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EIO


def _pread(path: Path, offset: int, length: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, length, offset)
    finally:
        os.close(descriptor)

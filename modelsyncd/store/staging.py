"""The only place that assembles a version: each chunk is written once, at its final offset, in a folder that waits.

Law: a chunk counts when its bytes were verified and are durable. What a killed process wrote without recording it
counts too, because `missing` reads and hashes whatever has data; what is wrong there is simply missing. So there is
nothing to recover and nothing to throw away.

Nothing is preallocated: glibc does that by writing zeros where the file system can't, which wears flash out. Room is
checked up front instead, and running out of it later costs nothing but the wait.
"""

from __future__ import annotations

import errno
import os
from array import array
from bisect import bisect_right
from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from modelsyncd.digest import Buffer, digest_of
from modelsyncd.errors import DamageError, DiskError, DiskFullError
from modelsyncd.manifest import ChunkTable, File, Manifest
from modelsyncd.store.durable import disk_errors, erase, make_folder, rename, sync_folder, write_at
from modelsyncd.store.failpoints import Point, passing
from modelsyncd.store.folder import Folder, clear_strangers, data_runs, folders_of

ABSENT, RECORDED, VERIFIED = 0, 1, 2
"""What is known of a chunk: not here; a record says it is durable; this object itself hashed its bytes."""

SEALED = 0o444
SEALED_EXECUTABLE = 0o555


class Staging:
    """The files of one manifest on their way into a version. Call `prepare`, then `missing`, then the rest."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.path = folder
        self.manifest = manifest
        self.table = ChunkTable(manifest)
        self._files = Folder(folder, writable=True)
        self._known = bytearray(len(self.table))
        self._twins = twins_of(manifest)
        self._first = {twin: group[0] for group in self._twins.values() for twin in group}
        self._zeros: dict[int, bytes] = {}
        sizes = manifest.chunking
        self._round = {sizes.step, sizes.smallest, sizes.average, sizes.largest}

    def prepare(self) -> None:
        """Makes every file with its final size, after a look whether there is room for what they lack.

        Whatever else lies in the folder is removed. Raises DiskFullError, which says how much is missing, DiskError.
        """
        self._files.close()
        continued = self.path.is_dir() and not self.path.is_symlink()
        if not continued:
            erase(self.path)
        make_folder(self.path)
        paths = [file.path for file in self.manifest.files]
        clear_strangers(self.path, paths)
        self._check_room()
        folders = folders_of(paths)
        for folder in folders:
            make_folder(self.path / folder)
        touched = {self._make(file) for file in self.manifest.files}
        passing(Point.STAGING_MADE)
        # of an earlier try nobody knows whether it lived to sync the names that it made
        for below in ("", *folders) if continued else touched - {None}:
            sync_folder(self.path / str(below))

    def missing(self, recorded: Container[int] = ()) -> list[int]:
        """The ordinals to fetch, ascending; a digest that occurs several times is listed once, by its first ordinal.

        `recorded` are ordinals that were written and durable according to someone's notes: they are believed where the
        file has data, and hashed before `seal`. All other data is hashed now. Raises DiskError.
        """
        ordinal = 0
        for file in self.manifest.files:
            self._survey(file, ordinal, recorded)
            ordinal += len(file.chunk_sizes)
        for group in self._twins.values():
            self._spread(group)
        return [
            ordinal
            for ordinal, known in enumerate(self._known)
            if known == ABSENT and self._first.get(ordinal, ordinal) == ordinal
        ]

    def present(self) -> Iterator[int]:
        """The ordinals that `missing` and `write` found or made durable; of equal chunks the first."""
        for ordinal, known in enumerate(self._known):
            if known != ABSENT and self._first.get(ordinal, ordinal) == ordinal:
                yield ordinal

    def bytes_present(self) -> int:
        """Plain bytes of all places that are durable."""
        return sum(size for size, known in zip(self.table.sizes, self._known, strict=True) if known != ABSENT)

    def places(self, ordinal: int) -> Sequence[int]:
        """Every ordinal with the same digest, itself included, ascending."""
        return self._twins.get(self._first.get(ordinal, -1), (ordinal,))

    def fits(self, ordinal: int, plain: Buffer) -> bool:
        """Whether these are the chunk's bytes. An ordinal that the manifest does not have fits nothing."""
        if not 0 <= ordinal < len(self.table) or len(plain) != self.table.sizes[ordinal]:
            return False
        return digest_of(plain) == self.table.digest(ordinal)

    def write(self, items: Iterable[tuple[int, Buffer]]) -> None:
        """Writes chunks that `fits` approved to all of their places; returns when all of them are durable.

        Each is let go of before the next is asked for, so `items` may make them one at a time. Raises DiskFullError or
        DiskError, and what `items` raises; then none of them counts.
        """
        written: list[int] = []
        files: set[int] = set()
        for ordinal, plain in items:
            for place in self.places(ordinal):
                chunk = self.table.chunk(place)
                path = self.manifest.files[chunk.file].path
                with disk_errors(self.path / path):
                    write_at(self._files.descriptor(path), plain, chunk.offset)
                written.append(place)
                files.add(chunk.file)
        if written:
            passing(Point.CHUNKS_WRITTEN)
        for index in sorted(files):
            path = self.manifest.files[index].path
            with disk_errors(self.path / path):
                os.fdatasync(self._files.descriptor(path))
        for place in written:
            self._known[place] = VERIFIED

    def read(self, ordinal: int) -> bytes:
        """A chunk's plain bytes, verified. Raises DamageError when they are not here or not right, DiskError."""
        chunk = self.table.chunk(ordinal)
        plain = self._files.read(self.manifest.files[chunk.file].path, chunk.offset, chunk.size)
        if not self.fits(ordinal, plain):
            raise DamageError(f"chunk {ordinal} is not here as its digest says")
        return plain

    def recheck(self) -> list[int]:
        """Hashes what was only believed so far; returns the ordinals that are wrong, missing from now on.

        Raises DiskError.
        """
        wrong = []
        for ordinal in range(len(self._known)):
            if self._known[ordinal] == RECORDED:
                self._known[ordinal] = VERIFIED if self._is_right(ordinal) else ABSENT
                if self._known[ordinal] == ABSENT:
                    wrong.append(ordinal)
        return wrong

    def seal(self) -> None:
        """Makes the whole of it durable and read-only, once every byte of it has been hashed.

        Raises DamageError when a chunk is missing (it stays in staging, to be completed), DiskError.
        """
        self.recheck()
        absent = self._known.count(ABSENT)
        if absent:
            raise DamageError(
                f"{absent} of {len(self._known)} chunks are missing or not as their digests say",
                safe="all others stay where they are",
                hint="fetch again: only what is missing will travel",
            )
        paths = [file.path for file in self.manifest.files]
        clear_strangers(self.path, paths)
        for file in self.manifest.files:
            descriptor = self._files.descriptor(file.path)
            with disk_errors(self.path / file.path):
                if os.fstat(descriptor).st_size != file.size:
                    raise DamageError(f"{self.path / file.path} changed its size", hint="fetch again")
                os.fchmod(descriptor, SEALED_EXECUTABLE if file.executable else SEALED)
                os.fsync(descriptor)
            passing(Point.FILE_SEALED)
        for folder in reversed(folders_of(paths)):
            sync_folder(self.path / folder)
        sync_folder(self.path)
        self._files.close()
        passing(Point.STAGING_SEALED)

    def finish(self, destination: Path) -> None:
        """Seals the folder and gives it its final name, which must be free. Raises DamageError, DiskError."""
        self.seal()
        rename(self.path, destination)

    def close(self) -> None:
        """Closes files; nothing is lost, and the object may still be used."""
        self._files.close()

    def _check_room(self) -> None:
        with disk_errors(self.path):
            system = os.statvfs(self.path)
            block = system.f_frsize
            needed = sum(self._lacks(file, block) for file in self.manifest.files)
        free = system.f_bavail * block
        if needed > free:
            raise DiskFullError(
                f"{needed} bytes are needed below {self.path} and {free} are free",
                safe="nothing was written; what was stored before is untouched",
                hint=f"free {needed - free} bytes on that file system; the next try goes on by itself",
            )

    def _lacks(self, file: File, block: int) -> int:
        """Bytes on disk, in whole blocks, that a file will take beyond what it takes now."""
        whole = -(-file.size // block) * block
        path = self.path / file.path
        if not path.exists():
            return whole
        return max(0, whole - path.lstat().st_blocks * 512)

    def _make(self, file: File) -> str | None:
        """Makes or resizes one file if need be; returns its folder when a name was made there."""
        path = self.path / file.path
        with disk_errors(path):
            there = path.exists()
            if there and path.lstat().st_size == file.size:
                return None
            os.ftruncate(self._files.descriptor(file.path), file.size)
        return None if there else file.path.rpartition("/")[0]

    def _survey(self, file: File, ordinal: int, recorded: Container[int]) -> None:
        """Finds out what is known of one file's chunks, the first of which is `ordinal`."""
        if not file.chunk_sizes:
            return
        descriptor = self._files.descriptor(file.path)
        with disk_errors(self.path / file.path):
            starts, ends = array("Q"), array("Q")
            for start, end in data_runs(descriptor, file.size):
                starts.append(start)
                ends.append(end)
        offset = 0
        hashed = False
        for size in file.chunk_sizes:
            run = bisect_right(ends, offset)  # the first run that ends after the chunk begins
            end = offset + size
            whole = run < len(starts) and starts[run] <= offset and ends[run] >= end
            empty = run == len(starts) or starts[run] >= end
            before = self._known[ordinal]
            self._known[ordinal] = self._judge(ordinal, recorded, whole=whole, empty=empty)
            hashed |= self._known[ordinal] == VERIFIED != before
            ordinal += 1
            offset = end
        if hashed:  # found right, but perhaps only in memory yet: nobody may record it before it is durable
            with disk_errors(self.path / file.path):
                os.fdatasync(self._files.descriptor(file.path))

    def _judge(self, ordinal: int, recorded: Container[int], *, whole: bool, empty: bool) -> int:
        known = self._known[ordinal]
        believed = known != ABSENT or self._first.get(ordinal, ordinal) in recorded
        if whole and believed:
            return RECORDED  # also what this object hashed itself: that may be nights ago, and `seal` reads it back
        if empty and not (believed or self.table.sizes[ordinal] in self._round):
            return ABSENT  # a hole reads as zeros: only a chunk of zeros is right there, and those have round sizes
        if empty:
            return VERIFIED if self._is_zeros(ordinal) else ABSENT
        return VERIFIED if self._is_right(ordinal) else ABSENT

    def _is_right(self, ordinal: int) -> bool:
        try:
            self.read(ordinal)
        except DamageError:
            return False
        except DiskError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EIO:
                return False  # a bad sector: writing the chunk anew lets the disk put it elsewhere
            raise
        return True

    def _is_zeros(self, ordinal: int) -> bool:
        size = self.table.sizes[ordinal]
        if size not in self._zeros:
            self._zeros[size] = digest_of(bytes(size))
        return self._zeros[size] == self.table.digest(ordinal)

    def _spread(self, group: Sequence[int]) -> None:
        """Copies a chunk that is here at one of its places to those where it is not."""
        if all(self._known[place] != ABSENT for place in group):
            return
        for place in group:
            if self._known[place] == ABSENT:
                continue
            if self._is_right(place):
                self.write([(place, self.read(place))])
                return
            self._known[place] = ABSENT


def twins_of(manifest: Manifest) -> dict[int, array[int]]:
    """The groups of ordinals with equal digests, ascending, by their first; chunks that occur once are not in it.

    Looks at 8 bytes of each digest first, so that a chunk costs tens of bytes of memory, and only for a moment.
    """
    digests = b"".join(file.chunk_digests for file in manifest.files)
    heads = array("Q", digests)[::4]
    repeated = {first for first, second in pairwise(sorted(heads)) if first == second}
    groups: dict[bytes, array[int]] = {}
    for ordinal, head in enumerate(heads):
        if head in repeated:
            groups.setdefault(digests[ordinal * 32 : ordinal * 32 + 32], array("L")).append(ordinal)
    return {group[0]: group for group in groups.values() if len(group) > 1}

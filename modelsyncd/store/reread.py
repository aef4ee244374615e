"""The only place that reads back what rests a little at a time: how fast, how far it has come, and a version's bytes.

The kernel is asked to forget its copy of what is read, before and after: what rots is the disk, and nobody else should
have to read a model again because this did. Pages that a job has mapped stay, and are what is compared then.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from modelsyncd.digest import checksum
from modelsyncd.errors import DamageError, DiskError, NotFoundError
from modelsyncd.manifest import ChunkTable
from modelsyncd.store.durable import disk_errors, write_file
from modelsyncd.store.folder import Folder
from modelsyncd.store.tree import EdgeTree
from modelsyncd.store.version import Version, has_shape, is_right

ROUND = 7 * 86_400.0  # seconds from the beginning of one round to the beginning of the next
FLOOR = 1_000_000  # bytes a second: a small store is read in minutes, and no disk notices


def rate_for(asked: int | None, total: int) -> int:
    """Bytes a second for `total` bytes when nobody `asked` for a rate: a round ends within the time that it has."""
    return max(FLOOR, int(total / ROUND)) if asked is None else asked


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a round has come: it `began` so many seconds after 1970, and goes on at `at`; "" for its beginning."""

    began: float
    at: str = ""
    over: bool = False


def due(mark: Mark | None, now: float) -> tuple[Mark, float]:
    """The round to go on with, and in how many seconds. A mark from the future is of a clock that was wrong: none."""
    if mark is None or mark.began > now:
        return Mark(now), 0.0
    if not mark.over:
        return mark, 0.0
    wait = max(0.0, mark.began + ROUND - now)
    return Mark(now + wait), wait


class MarkFile:
    """A mark on the disk, so that a restart goes on where it stood. A broken one is none: the round begins anew."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Mark | None:
        """What was saved last. Raises DiskError."""
        with disk_errors(self._path):
            try:
                raw = self._path.read_bytes()
            except FileNotFoundError:
                return None
        with suppress(ValueError):
            head, began, over, at = raw.decode("ascii").rstrip("\n").split(" ", 3)
            if head == _sum(f"{began} {over} {at}"):
                return Mark(float(began), at, over == "over")
        return None

    def save(self, mark: Mark) -> None:
        """Durable when it returns. Raises DiskError."""
        words = f"{mark.began!r} {'over' if mark.over else 'on'} {mark.at}"
        write_file(self._path, f"{_sum(words)} {words}\n".encode("ascii"))


def _sum(words: str) -> str:
    return f"{checksum(words.encode('ascii', 'replace')):016x}"


class Reread:
    """One version that is read back, `step` by `step`. Not for several threads at once; `close` gives back files."""

    def __init__(self, tree: EdgeTree, version: Version) -> None:
        """Looks at the papers and at the files' sizes. Raises DamageError, NotFoundError, DiskError."""
        self._tree = tree
        self._version = version
        tree.signed(version)
        try:
            self._manifest = tree.manifest(version.manifest)
        except NotFoundError as error:
            raise DamageError(f"{version.model}:{version.number} has lost its manifest") from error
        if not has_shape(tree.layout.version(version), self._manifest):
            raise DamageError(f"{version.model}:{version.number} has files of other sizes than it should")
        self._table = ChunkTable(self._manifest)
        self._files = Folder(tree.layout.version(version))

    def __len__(self) -> int:
        return len(self._table)

    def step(self, first: int, size: int) -> tuple[int, int]:
        """Compares chunks from the ordinal `first` on, about `size` bytes of them; how many, and their bytes.

        Raises DamageError at the first that is wrong, DiskError when this process can't read.
        """
        count = read = 0
        while first + count < len(self._table) and (read < size or not count):
            chunk = self._table.chunk(first + count)
            path = self._manifest.files[chunk.file].path
            self._drop(path, chunk.offset, chunk.size)
            if not is_right(self._files, path, chunk.offset, chunk.size, chunk.digest):
                # once more, from files that are opened now: the version may have been mended a moment ago
                self._files.close()
                if not is_right(self._files, path, chunk.offset, chunk.size, chunk.digest):
                    raise DamageError(f"chunk {chunk.ordinal} of {path} is wrong")
            self._drop(path, chunk.offset, chunk.size)
            count += 1
            read += chunk.size
        return count, read

    def close(self) -> None:
        """Lets go of descriptors."""
        self._files.close()

    def _drop(self, path: str, offset: int, size: int) -> None:
        with suppress(OSError, DiskError):
            os.posix_fadvise(self._files.descriptor(path), offset, size, os.POSIX_FADV_DONTNEED)

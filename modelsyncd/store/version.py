"""The only place that says what a version at rest is, and whether its bytes are still what its manifest says."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from modelsyncd.digest import Digest, digest_of, short
from modelsyncd.errors import DiskError
from modelsyncd.manifest import ChunkTable, Manifest
from modelsyncd.names import ModelName
from modelsyncd.store import durable
from modelsyncd.store.failpoints import Point, passing
from modelsyncd.store.folder import Folder, folders_of
from modelsyncd.store.staging import Staging

_NOT_THE_FILE = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EACCES, errno.EPERM}
"""What keeps this process from reading, and says nothing about the bytes."""


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A version's identity on a node: the same content under another model or number is another version."""

    model: ModelName
    number: int
    manifest: Digest

    @property
    def folder_name(self) -> str:
        """Name of its folder, unique within the model."""
        return f"{self.number}-{short(self.manifest)}"


@dataclass(frozen=True, slots=True)
class Damage:
    """What of a version is missing or wrong. `file` is "" for its manifest; `ordinal` None when it is no chunk."""

    version: Version
    file: str
    ordinal: int | None


def has_shape(folder: Path, manifest: Manifest) -> bool:
    """Whether every file is there with its size: one look at each and no byte read. Raises DiskError."""
    return all(_has_size(folder / file.path, file.size) for file in manifest.files)


def damaged_files(
    folder: Path, manifest: Manifest, pause: Callable[[], object] = lambda: None
) -> Iterator[tuple[int, int | None]]:
    """Reads a version whole; yields (file index, ordinal) of each chunk that is wrong, missing or unreadable.

    A file that has a wrong length, or is missing though it is empty, comes once more with None. `pause` is called
    before each chunk, and may raise to end it. Raises DiskError when it is this process that can't read.
    """
    table = ChunkTable(manifest)
    files = Folder(folder)
    try:
        for index, file in enumerate(manifest.files):
            if not _has_size(folder / file.path, file.size):
                yield index, None
        for chunk in table:
            pause()
            if not is_right(files, manifest.files[chunk.file].path, chunk.offset, chunk.size, chunk.digest):
                yield chunk.file, chunk.ordinal
    finally:
        files.close()


def mend(folder: Path, staging: Staging) -> None:
    """Puts the files of a version that are wrong in place again from a sealed staging, one rename each.

    What else lies there stays: a job may have put it there. The staging folder is gone then. Raises DiskError.
    """
    paths = [file.path for file in staging.manifest.files]
    for below in folders_of(paths):
        if (folder / below).is_symlink() or not (folder / below).is_dir():
            durable.erase(folder / below)
            durable.make_folder(folder / below)
    for index in sorted({index for index, _ in damaged_files(folder, staging.manifest)}):
        target = folder / paths[index]
        if target.is_dir() and not target.is_symlink():
            durable.remove_tree(target)
        durable.rename(staging.path / paths[index], target)
        passing(Point.FILE_MENDED)
    passing(Point.VERSION_MENDED)
    durable.remove_tree(staging.path)


def _has_size(path: Path, size: int) -> bool:
    with durable.disk_errors(path):
        try:
            found = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
    return stat.S_ISREG(found.st_mode) and found.st_size == size


def is_right(files: Folder, path: str, offset: int, size: int, digest: Digest) -> bool:
    """Whether a file has these bytes there; missing and unreadable ones are wrong.

    Raises DiskError when it is this process that can't read.
    """
    try:
        return digest_of(files.read(path, offset, size)) == digest
    except DiskError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in _NOT_THE_FILE:
            raise
        return False

"""The only place that makes our own copy of what a job wants published, in the one pass that also names its chunks.

Where the file system can share blocks (FICLONE), a copy costs no bytes, and it is the copy that is read. Elsewhere what
is hashed is what was written: so the manifest fits the copy in either case, whatever became of the original meanwhile.
An original that changed while it was copied is refused: half of it may be older than the rest.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from modelsyncd.limits import LIMITS
from modelsyncd.manifest import Manifest
from modelsyncd.store.durable import disk_errors, make_folder, sync_folder, write_at
from modelsyncd.store.folder import folders_of
from modelsyncd.store.listing import Entry, Stamp, changed, entries, reading
from modelsyncd.store.source import USUAL, scan_entries
from modelsyncd.store.staging import SEALED, SEALED_EXECUTABLE

_FICLONE = 0x40049409  # ioctl_ficlone(2)
_CANT = {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM, errno.ETXTBSY}
_FROM = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_TO = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC

Reading = Callable[[int, int], None]
"""(bytes done, bytes in all); what it raises ends the copying."""


def listed(source: Path) -> Sequence[Entry]:
    """The files to copy. Raises NotFoundError, BadInputError and its kind, LimitError, SourceChangedError."""
    return entries(source, LIMITS)


def copy(source: Path, found: Sequence[Entry], folder: Path, reading: Reading) -> Manifest:
    """Copies what `listed` found into a folder that is made here, durably and read-only; says what it holds.

    Raises SourceChangedError, BadInputError and its kind, DiskFullError, DiskError.
    """
    make_folder(folder)
    folders = folders_of([entry.path for entry in found])
    for below in folders:
        make_folder(folder / below)
    if _cloned(found, folder):
        manifest = scan_entries(_copied(found, folder), USUAL, reading).manifest
    else:
        manifest = scan_entries(found, USUAL, reading, copy=partial(_writing, folder)).manifest
    for below in reversed(folders):
        sync_folder(folder / below)
    sync_folder(folder)
    if list(found) != entries(source, LIMITS):
        raise changed(str(source))
    return manifest


def _copied(found: Sequence[Entry], folder: Path) -> list[Entry]:
    """The same files, where they lie now."""
    with disk_errors(folder):
        places = [str(folder / entry.path) for entry in found]
        stamps = [Stamp.of(os.lstat(place)) for place in places]
    return [replace(entry, place=place, stamp=stamp) for entry, place, stamp in zip(found, places, stamps, strict=True)]


def _cloned(found: Sequence[Entry], folder: Path) -> bool:
    """Lets all files share their blocks with the originals, durably; False where that can't be: nothing is left then.

    Raises SourceChangedError, BadInputError, DiskError.
    """
    for index, entry in enumerate(found):
        if not _clone(entry, folder / entry.path):
            with disk_errors(folder):
                for made in found[: index + 1]:
                    (folder / made.path).unlink(missing_ok=True)
            return False
    return True


def _clone(entry: Entry, path: Path) -> bool:
    with reading(entry.place):
        origin = os.open(entry.place, _FROM)
    try:
        if Stamp.of(os.fstat(origin)) != entry.stamp:
            raise changed(entry.place)
        with _made(path, entry) as ours:
            try:
                fcntl.ioctl(ours, _FICLONE, origin)
            except OSError as error:
                if error.errno in _CANT:
                    return False
                raise
            return True
    finally:
        os.close(origin)


@contextmanager
def _writing(folder: Path, entry: Entry) -> Iterator[Callable[[memoryview], object]]:
    """As `store.source.Copy`; durable at the end."""
    path = folder / entry.path
    with _made(path, entry) as ours:
        yield _Appended(path, ours).take


@contextmanager
def _made(path: Path, entry: Entry) -> Iterator[int]:
    """A new file's descriptor; the file is durable and read-only at the end. Raises DiskFullError, DiskError."""
    with disk_errors(path):
        ours = os.open(path, _TO, 0o600)
        try:
            yield ours
            os.fchmod(ours, SEALED_EXECUTABLE if entry.executable else SEALED)
            os.fsync(ours)
        finally:
            os.close(ours)


class _Appended:
    """A file that grows piece by piece."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._size = 0

    def take(self, piece: memoryview) -> None:
        """Raises DiskFullError, DiskError."""
        with disk_errors(self._path):
            write_at(self._descriptor, piece, self._size)
        self._size += len(piece)

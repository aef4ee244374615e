"""The only place that opens the files of a version: below one folder, and never through a symlink.

A path is opened part by part from the folder's own descriptor, so nothing that is planted between a check and its use
can lead outside. A few descriptors stay open, because a version may have a million files and a process may not.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict
from collections.abc import Collection, Iterator
from pathlib import Path

from modelsyncd.errors import DiskError
from modelsyncd.store.durable import disk_errors, erase

OPEN_FILES = 16  # descriptors that one folder keeps open
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # O_NONBLOCK: a pipe must not hold us up; files ignore it


class Folder:
    """The regular files below `path`; writable ones are made when they are opened first."""

    def __init__(self, path: Path, *, writable: bool = False) -> None:
        self.path = path
        self._flags = _FILE | (os.O_RDWR | os.O_CREAT if writable else os.O_RDONLY)
        self._open: OrderedDict[str, int] = OrderedDict()

    def descriptor(self, relative: str) -> int:
        """An open descriptor of a file; it stays this object's, and good until the next call. Raises DiskError."""
        descriptor = self._open.get(relative)
        if descriptor is not None:
            self._open.move_to_end(relative)
            return descriptor
        if len(self._open) >= OPEN_FILES:
            os.close(self._open.popitem(last=False)[1])
        with disk_errors(self.path / relative):
            descriptor = self._open_below(relative)
        self._open[relative] = descriptor
        return descriptor

    def read(self, relative: str, offset: int, size: int) -> bytes:
        """Up to `size` bytes at `offset`; fewer when the file ends before. Raises DiskError."""
        descriptor = self.descriptor(relative)
        with disk_errors(self.path / relative):
            data = os.pread(descriptor, size, offset)
            while len(data) < size:
                more = os.pread(descriptor, size - len(data), offset + len(data))
                if not more:
                    break
                data += more
        return data

    def close(self) -> None:
        """Closes every descriptor; the next call opens anew."""
        while self._open:
            os.close(self._open.popitem()[1])

    def __del__(self) -> None:
        self.close()

    def _open_below(self, relative: str) -> int:
        *folders, name = relative.split("/")
        parent = os.open(self.path, _FOLDER)
        try:
            for part in folders:
                child = os.open(part, _FOLDER, dir_fd=parent)
                os.close(parent)
                parent = child
            descriptor = self._open_in(parent, name)
        finally:
            os.close(parent)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise DiskError(f"{self.path / relative} is no regular file")
        return descriptor

    def _open_in(self, parent: int, name: str) -> int:
        try:
            return os.open(name, self._flags, 0o644, dir_fd=parent)
        except PermissionError:
            if not self._flags & os.O_RDWR:
                raise
            # sealed by a finish that was killed before its rename: ours to write again
            sealed = os.open(name, _FILE | os.O_RDONLY, dir_fd=parent)
            try:
                os.fchmod(sealed, 0o644)
            finally:
                os.close(sealed)
            return os.open(name, self._flags, 0o644, dir_fd=parent)


def data_runs(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """Where a file of `size` bytes has data, as (first byte, byte after the last); the rest is holes. Raises OSError.

    A file system that does not know says that everything is data.
    """
    end = 0
    while end < size:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, min(end, size)


def folders_of(paths: Collection[str]) -> list[str]:
    """Every folder that these files lie in, outer before inner."""
    found: set[str] = set()
    for path in paths:
        folder = path
        while "/" in folder:
            folder = folder.rpartition("/")[0]
            if folder in found:
                break
            found.add(folder)
    return sorted(found)


def clear_strangers(root: Path, paths: Collection[str]) -> None:
    """Removes everything below a folder that is not one of these regular files or a folder of theirs.

    A file with a second name elsewhere is a stranger too: writing it would write there. Raises DiskError.
    """
    files = set(paths)
    folders = set(folders_of(paths))
    with disk_errors(root):
        for base, below, names in os.walk(root, onerror=_raise):
            prefix = "" if base == str(root) else os.path.relpath(base, root) + "/"
            for name in [*below, *names]:
                status = Path(base, name).lstat()
                if stat.S_ISDIR(status.st_mode) and prefix + name in folders:
                    continue
                if stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and prefix + name in files:
                    continue
                erase(Path(base, name))
                if name in below:
                    below.remove(name)


def _raise(error: OSError) -> None:
    raise error

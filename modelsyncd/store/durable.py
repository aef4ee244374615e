"""The only place that makes things durable, and the only one that renames: bytes, fsync, rename, fsync of the folder.

Law: when a function here returns, what it did survives a power cut; when it raises, what was there before is whole.
Temporary names are made from the final one (".NAME.new", ".NAME.gone"), never at random, so that the next try finds and
clears what a killed one left behind. Names that begin with a dot and end so belong to this file.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from modelsyncd.digest import Buffer
from modelsyncd.errors import DiskError, DiskFullError, LockedError
from modelsyncd.store.failpoints import Point, passing

_FULL = {errno.ENOSPC, errno.EDQUOT}
_HINTS = {
    errno.EACCES: "let this user read and write there, or run as the owner of the folder",
    errno.EPERM: "let this user read and write there, or run as the owner of the folder",
    errno.EROFS: "the file system is mounted read-only: mount it for writing, or check the disk if that is new",
    errno.EIO: "the disk could not read or write: look at the kernel's log and replace it if it fails",
    errno.EMFILE: "raise the limit of open files (LimitNOFILE= in the unit)",
    errno.EFBIG: "raise the limit of the size of a file (LimitFSIZE= in the unit)",
}
_SAFE = "what was stored before is untouched"


def disk_error(error: OSError, path: Path) -> DiskError:
    """The error of ours for one of the operating system's that concerns `path`."""
    if error.errno in _FULL:
        return DiskFullError(
            f"no room left on the file system of {path}",
            safe=_SAFE,
            hint="free some space there; the next try continues with what is missing",
        )
    reason = error.strerror or str(error)
    hint = _HINTS.get(error.errno or 0, "look at the disk and the kernel's log")
    return DiskError(f"{path}: {reason}", safe=_SAFE, hint=hint)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Lets no OSError out: raises DiskFullError when there is no room or quota left, DiskError for the rest."""
    try:
        yield
    except OSError as error:
        raise disk_error(error, path) from error


def write_at(descriptor: int, data: Buffer, offset: int) -> None:
    """Writes all of `data` at `offset` bytes; not durable before `os.fdatasync`. Raises OSError."""
    written = os.pwrite(descriptor, data, offset)
    if written == len(data):
        return
    view = memoryview(data)
    while written < len(view):
        written += os.pwrite(descriptor, view[written:], offset + written)


def sync_file(path: Path) -> None:
    """Makes a file's bytes and size durable. Raises DiskError."""
    _sync(path, os.O_RDONLY)


def sync_folder(path: Path) -> None:
    """Makes the names in a folder durable. Raises DiskError."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    with disk_errors(path):
        descriptor = os.open(path, flags | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def make_folder(path: Path, mode: int = 0o755) -> None:
    """Makes a folder and those above it, as far as they are not there. Raises DiskError."""
    with disk_errors(path):
        if path.is_dir():
            return
        if path.parent != path:
            make_folder(path.parent)
        with suppress(FileExistsError):
            path.mkdir(mode)
    passing(Point.FOLDER_MADE)
    sync_folder(path.parent)


def write_file(path: Path, data: Buffer, mode: int = 0o644) -> None:
    """Puts a whole file in place, or leaves the one that was there. Its folder must exist. Raises DiskError."""
    temporary = _beside(path, "new")
    with disk_errors(path):
        try:
            _write_new(temporary, data, mode)
            passing(Point.FILE_WRITTEN)
            temporary.rename(path)
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
    passing(Point.FILE_RENAMED)
    sync_folder(path.parent)


def _write_new(path: Path, data: Buffer, mode: int) -> None:
    path.unlink(missing_ok=True)
    # 0600 until the mode is set: a secret is never readable by others, not even for a moment
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, mode)
        write_at(descriptor, data, 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rename(source: Path, destination: Path) -> None:
    """Gives a file or folder, durable itself already, another name on the same file system. Raises DiskError."""
    passing(Point.NAME_WAITS)
    with disk_errors(destination):
        source.rename(destination)
    passing(Point.NAME_GIVEN)
    sync_folder(destination.parent)
    if source.parent != destination.parent:
        sync_folder(source.parent)


def put_link(source: Path, path: Path) -> None:
    """Gives a durable file a second name, at once in the place of what had it. Same file system; raises DiskError."""
    temporary = _beside(path, "new")
    with disk_errors(path):
        temporary.unlink(missing_ok=True)
        os.link(source, temporary, follow_symlinks=False)
        if os.path.lexists(path) and path.samefile(temporary):
            temporary.unlink()  # rename(2) does nothing between two names of one file
            return
    rename(temporary, path)


def put_copy(source: Path, path: Path) -> None:
    """Puts a copy of a file in place, with its mode and the time of its last change, or leaves what was there.

    Raises DiskError.
    """
    temporary = _beside(path, "new")
    with disk_errors(path):
        try:
            temporary.unlink(missing_ok=True)
            with source.open("rb") as origin, _new(temporary) as copy:
                shutil.copyfileobj(origin, copy, 1 << 20)
                copy.flush()
                status = os.fstat(origin.fileno())
                os.fchmod(copy.fileno(), status.st_mode & 0o777)
                os.utime(copy.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
                os.fsync(copy.fileno())
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
    rename(temporary, path)


def _new(path: Path) -> BinaryIO:
    """A file that nobody else made, readable by nobody else."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")


def switch_link(link: Path, target: str) -> None:
    """Makes a symlink lead to `target` (relative to the link's folder): at each moment it leads there or where it did.

    Raises DiskError.
    """
    temporary = _beside(link, "new")
    with disk_errors(link):
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target)
        passing(Point.LINK_MADE)
        temporary.rename(link)
    passing(Point.LINK_SWITCHED)
    sync_folder(link.parent)


def remove_file(path: Path) -> None:
    """Removes a file or a link, if it is there. Raises DiskError."""
    with disk_errors(path):
        if not os.path.lexists(path):
            return
        path.unlink()
    passing(Point.FILE_REMOVED)
    sync_folder(path.parent)


def remove_tree(path: Path) -> None:
    """Removes a folder, if it is there: it is whole under its name, or gone from it. Raises DiskError.

    A crash may leave ".NAME.gone" behind, which `clear_leftovers` removes, as does the next try here.
    """
    doomed = _beside(path, "gone")
    with disk_errors(path):
        _remove(doomed)
        if not os.path.lexists(path):
            return
        path.rename(doomed)
    sync_folder(path.parent)  # first: a power cut must not bring the name back with half of what it named
    passing(Point.TREE_DOOMED)
    erase(doomed)


def erase(path: Path) -> None:
    """Removes a file or folder that nobody reads, if it is there; a crash may leave a part of it. Raises DiskError."""
    with disk_errors(path):
        _remove(path)


def clear_leftovers(folder: Path) -> None:
    """Removes what a killed process left half-made or half-removed right below a folder. Raises DiskError."""
    with disk_errors(folder):
        for path in list(folder.iterdir()):
            if is_leftover(path.name):
                _remove(path)


def is_leftover(name: str) -> bool:
    """Whether this is one of the temporary names that only this file makes."""
    return name.startswith(".") and name.endswith((".new", ".gone"))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(f".{path.name}.{ending}")


class Lock:
    """A folder that is ours until `release`, or until this process ends in whatever way."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """Lets another process in. The file stays: removing it would let two in at once."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Lock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def lock_folder(folder: Path, name: str) -> Lock:
    """Takes a folder (made if need be) for this process, by a lock on the file `name` in it.

    Raises LockedError, which names the process that has it, and DiskError.
    """
    make_folder(folder)
    sync_folder(folder)  # names that a killed process made, and did not live to sync: from now on we rely on them
    path = folder / name
    with disk_errors(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            write_at(descriptor, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise LockedError(
                f"{folder} is in use by process {holder}",
                safe="nothing was touched",
                hint=f"stop process {holder} first, or use another folder",
            ) from error
        except OSError:
            os.close(descriptor)
            raise
    return Lock(descriptor)

"""The only place that decides which files of a folder become a version, before a byte of them is read.

Law: what can't be kept whole on every node is refused with its name, never left out in silence: links that lead outside
or to a folder, devices, sockets, pipes, names that clash. Folders without files are not part of a version.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from modelsyncd.errors import BadInputError, HostilePathError, LimitError, NotFoundError, SourceChangedError
from modelsyncd.limits import Limits
from modelsyncd.names import check_paths
from modelsyncd.store.durable import disk_error

_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
    stat.S_IFDIR: "a folder",
}


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells that a file is another, or was written to: `size` in bytes, `changed` in ns since 1970."""

    device: int
    inode: int
    size: int
    changed: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        """The stamp of a file that was just looked at."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the version: its `path` in it, and the absolute `place` on disk, which is no link."""

    path: str
    place: str
    stamp: Stamp
    executable: bool


@contextmanager
def reading(place: str) -> Iterator[None]:
    """Lets no OSError out for a file of the source. Raises SourceChangedError, BadInputError, DiskError."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise changed(place) from error
    except PermissionError as error:
        raise BadInputError(f"{place} can't be read: permission denied", hint="let this user read it") from error
    except OSError as error:
        raise disk_error(error, Path(place)) from error


def changed(place: str) -> SourceChangedError:
    """The error for a source that is not what it was."""
    return SourceChangedError(
        f"{place} changed while it was read",
        safe="nothing of it became visible anywhere",
        hint="try again when nothing writes to it; what was sent already is not sent again",
    )


def entries(source: Path, limits: Limits) -> list[Entry]:
    """The files of a folder, or the one file, ascending by path.

    `source` may itself be a link: whoever named it meant what it leads to. Raises NotFoundError, HostilePathError for
    names and for links that lead outside, BadInputError for what is no file and for a folder without any, LimitError.
    """
    root = _resolved(source)
    with reading(root):
        status = os.stat(root)  # noqa: PTH116 - strings throughout: a Path for each of a million files costs seconds
    if stat.S_ISDIR(status.st_mode):
        found = sorted(_walk(root, limits), key=lambda entry: entry.path)
    else:
        found = [_entry(source.absolute().name, root, status)]
    if not found:
        raise BadInputError(f"{source} has no files", hint="a version needs one file at least")
    check_paths([entry.path for entry in found])
    size = sum(entry.stamp.size for entry in found)
    if size > limits.content_bytes:
        raise LimitError(f"a version may have {limits.content_bytes} bytes, and {source} has {size}")
    return found


def _resolved(source: Path) -> str:
    try:
        return str(source.resolve(strict=True))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(f"there is no file or folder {source}") from error
    except RuntimeError as error:  # Python before 3.13 says so of links that lead to themselves
        raise BadInputError(f"{source} is a link that leads to itself") from error
    except OSError as error:
        raise disk_error(error, source) from error


def _walk(root: str, limits: Limits) -> Iterator[Entry]:
    folders = [root]
    count = 0
    while folders:
        folder = folders.pop()
        with reading(folder), os.scandir(folder) as children:
            for child in children:
                if child.is_dir(follow_symlinks=False):
                    folders.append(child.path)
                    continue
                count += 1
                if count > limits.files:
                    raise LimitError(f"a version may have {limits.files} files, and {root} has more")
                yield _child(root, child)


def _child(root: str, child: os.DirEntry[str]) -> Entry:
    path = child.path[len(root.rstrip("/")) + 1 :]
    if not child.is_symlink():
        return _entry(path, child.path, child.stat(follow_symlinks=False))
    try:
        target = os.path.realpath(child.path, strict=True)
    except OSError as error:
        raise BadInputError(
            f"{path!r} is a link that leads to nothing", hint="remove it, or put the file in its place"
        ) from error
    if not target.startswith(root.rstrip("/") + "/"):
        raise HostilePathError(
            f"{path!r} is a link that leads out of the folder", hint="put the file itself in its place (cp -rL)"
        )
    return _entry(path, target, os.lstat(target))


def _entry(path: str, place: str, status: os.stat_result) -> Entry:
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "no regular file")
        raise BadInputError(f"{path!r} is {kind}; a version is made of regular files", hint="remove it from the folder")
    return Entry(path, place, Stamp.of(status), bool(status.st_mode & stat.S_IXUSR))

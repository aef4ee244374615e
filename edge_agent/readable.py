"""The only place that judges whether a local user may read what it wants published: the agent reads it, and may more.

The user must be able to search every folder on the way and to read every folder and file, by owner, group and mode. A
look gives what it saw; a second look that sees the same proves that nothing was put in place of it meanwhile: a rename
changes the time of change (ctime) of what was renamed, and nobody but root can set that back. What has an access
control list counts as readable for its owner only, because lists may also take away.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_agent.callers import Caller
from modelsyncd.errors import LimitError, NotFoundError, RefusedError, SourceChangedError
from modelsyncd.limits import LIMITS
from modelsyncd.store.durable import disk_errors

_ACL = "system.posix_acl_access"
_READ, _SEARCH = 4, 1


@dataclass(frozen=True, slots=True)
class Seen:
    """A file or folder at one moment: a later one is equal if nothing was put in its place or changed."""

    place: str
    device: int
    inode: int
    changed: int


def look(path: Path, caller: Caller) -> tuple[Seen, ...]:
    """All that has to be read to publish a path, each of it readable for the caller.

    Blocks. Raises RefusedError naming what is not readable, NotFoundError, LimitError, DiskError.
    """
    try:
        real = path.resolve(strict=True)
    except (FileNotFoundError, NotADirectoryError, RuntimeError) as error:
        raise NotFoundError(f"there is no file or folder {path}") from error
    with disk_errors(path):
        return tuple(_walk(real, caller))


def demand_same(path: Path, caller: Caller, before: tuple[Seen, ...]) -> None:
    """Looks once more. Raises SourceChangedError when something is not what was seen, and as `look`."""
    if look(path, caller) != before:
        raise SourceChangedError(
            f"{path} changed while it was read",
            safe="nothing of it was kept",
            hint="publish again when nothing writes to it, or to the folders that it is in",
        )


def _walk(real: Path, caller: Caller) -> Iterator[Seen]:
    for folder in reversed(real.parents):
        status = os.lstat(folder)
        _demand(folder, status, caller, _SEARCH)
        # Of the way there only what somebody else could rename: others come and go in a folder like /tmp.
        above = os.lstat(folder.parent)
        settled = caller.owner or (above.st_uid == 0 and not above.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
        yield _seen(folder, status, 0 if settled else status.st_ctime_ns)
    yield from _below(real, caller)


def _below(real: Path, caller: Caller) -> Iterator[Seen]:
    waiting, count = [real], 0
    while waiting:
        place = waiting.pop()
        status = os.lstat(place)
        count += 1
        if count > 2 * LIMITS.files:
            raise LimitError(f"{real} has too many files and folders")
        if stat.S_ISDIR(status.st_mode):
            _demand(place, status, caller, _READ | _SEARCH)
            waiting += sorted(place.iterdir())
        elif not stat.S_ISLNK(status.st_mode):  # a link is followed only to what lies in the same folder
            _demand(place, status, caller, _READ)
        yield _seen(place, status, status.st_ctime_ns)


def _seen(place: Path, status: os.stat_result, changed: int) -> Seen:
    return Seen(str(place), status.st_dev, status.st_ino, changed)


def _demand(place: Path, status: os.stat_result, caller: Caller, wanted: int) -> None:
    if _allows(place, status, caller) & wanted == wanted:
        return
    what = "search" if wanted == _SEARCH else "read"
    raise RefusedError(
        f"{caller.name} may not {what} {place}",
        safe="nothing was published",
        hint=f"publish what {caller.name} can read: see namei -l {place}",
    )


def _allows(place: Path, status: os.stat_result, caller: Caller) -> int:
    """What the mode gives the caller, as its last three bits."""
    if caller.owner:
        return _READ | _SEARCH
    if caller.uid is not None and caller.uid == status.st_uid:
        return status.st_mode >> 6 & 7
    if _has_list(place):
        return 0
    if status.st_gid in caller.groups:
        return status.st_mode >> 3 & 7
    return status.st_mode & 7


def _has_list(place: Path) -> bool:
    try:
        return bool(os.getxattr(place, _ACL, follow_symlinks=False))
    except OSError:  # no list, or a file system that knows none
        return False

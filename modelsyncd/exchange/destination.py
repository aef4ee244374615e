"""The folder that a pull fills: the only place that compares it with a manifest and puts files into it.

Law: a file is under its name whole and verified, or as it was before. Nothing is followed: a link or a folder where a
file should be, or a link where a folder should be, is told and never written through.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from modelsyncd.errors import BadInputError, ConflictError, DiskError, ModelsyncError
from modelsyncd.exchange.thread import Check
from modelsyncd.manifest import File, Manifest
from modelsyncd.store.durable import disk_errors, make_folder, rename, sync_folder
from modelsyncd.store.folder import folders_of
from modelsyncd.store.source import Source, scan

_SHOWN = 5  # paths named in an error


class State(Enum):
    """What lies where a manifest's file belongs."""

    SAME = "same"
    ABSENT = "absent"
    DIFFERENT = "different"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class Look:
    """A manifest's file and what lies in its place; `found` is that file, scanned, if it is one."""

    file: File
    state: State
    found: Source | None = None


def look(folder: Path, manifest: Manifest, check: Check) -> Iterator[Look]:
    """Compares a folder with a manifest, file by file, by hashing what is there. Raises DiskError, BadInputError."""
    if os.path.lexists(folder) and not folder.is_dir():
        raise BadInputError(f"{folder} is no folder", hint="name a folder, or one that is not there yet")
    for file in manifest.files:
        yield _look(folder, manifest, file, check)


def _look(folder: Path, manifest: Manifest, file: File, check: Check) -> Look:
    path = folder / file.path
    if _blocked(folder, file.path):
        return Look(file, State.BLOCKED)
    if not os.path.lexists(path):
        return Look(file, State.ABSENT)
    try:
        found = scan(path, manifest.chunking, lambda _done, _total: check())
    except ModelsyncError:
        return Look(
            file, State.DIFFERENT
        )  # unreadable, or changing under our hands: not what it should be, and no seed
    there = found.manifest.files[0]
    same = (there.sha256, there.size, there.executable) == (file.sha256, file.size, file.executable)
    return Look(file, State.SAME if same else State.DIFFERENT, found)


def _blocked(folder: Path, relative: str) -> bool:
    """Whether something that is no folder stands on the way, or something that is no file at its end."""
    *parents, name = relative.split("/")
    place = folder
    for part in parents:
        place /= part
        if os.path.lexists(place) and not stat.S_ISDIR(place.lstat().st_mode):
            return True
    place /= name
    return os.path.lexists(place) and not stat.S_ISREG(place.lstat().st_mode)


def refuse_losses(folder: Path, looks: Sequence[Look], *, force: bool) -> None:
    """Raises ConflictError when a pull would replace what a person has there, and may not; or can't."""
    blocked = [one.file.path for one in looks if one.state is State.BLOCKED]
    if blocked:
        raise ConflictError(
            f"{folder} has links or folders where files belong: {_some(blocked)}",
            safe="nothing there was changed",
            hint="move them away, or pull into another folder",
        )
    different = [one.file.path for one in looks if one.state is State.DIFFERENT]
    if different and not force:
        raise ConflictError(
            f"{folder} has other files under the same names: {_some(different)}",
            safe="nothing there was changed",
            hint="--force replaces them (and uses what is in them), or pull into another folder",
        )


def place(staged: Path, folder: Path, files: Sequence[File]) -> None:
    """Gives complete, durable files their names in the folder; each replaces what was there in one step.

    Raises DiskError; then some of them may be in place, each whole, and the same call goes on with the rest.
    """
    if not os.path.lexists(folder):
        rename(staged, folder)  # all at once
        return
    for file in files:
        target = folder / file.path
        make_folder(target.parent)
        rename(staged / file.path, target)


def settle(folder: Path, looks: Sequence[Look]) -> None:
    """Makes the names of files that are in place durable before anything relies on them. Raises DiskError.

    An earlier pull may have put them there and been killed before it synced them.
    """
    there = [one.file.path for one in looks if one.state is State.SAME]
    if not there:
        return
    with suppress(DiskError):  # whose folder is not ours to read was not made by a pull of ours
        sync_folder(folder.parent)
    for below in ("", *folders_of(there)):
        sync_folder(folder / below)


def soften(staged: Path, files: Sequence[File]) -> None:
    """Makes sealed files a person's own again: writable by their owner. Raises DiskError."""
    for file in files:
        with disk_errors(staged / file.path):
            (staged / file.path).chmod(0o755 if file.executable else 0o644)


def _some(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(paths[:_SHOWN]) + more

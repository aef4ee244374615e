"""The only place that lays versions down in a model server's folder, and takes them away again.

    NAME/<number>/…              a version's files, whole; `.modelsyncd` in it says of which version and files
    NAME/.<number>.new/          one that is being put together

Law: a folder has its number only when all in it is there and durable. What has no `.modelsyncd` in it is not ours, and
is never touched. Files that were mended since are replaced one by one: a server that looks meanwhile sees old or new.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_agent.layouts.settings import Way
from modelsyncd.digest import Digest
from modelsyncd.errors import ConflictError
from modelsyncd.store import durable
from modelsyncd.store.durable import disk_errors

MARK = ".modelsyncd"
FORMAT = "modelsyncd layout 1"
MARK_BYTES = 1 << 26  # a version with a million files has that
_NO_SECOND_NAMES = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP}


@dataclass(frozen=True, slots=True)
class Laid:
    """A version folder of ours: the version's manifest, and what its files were when they were laid, by path."""

    number: int
    manifest: Digest
    sources: Mapping[str, str]


class Shelf:
    """The folder of one model. Synchronous; one thread at a time."""

    def __init__(self, path: Path, way: Way) -> None:
        self.path = path
        self._way = way

    def prepare(self) -> None:
        """Makes the folder, and removes what a killed process left half-made. Raises DiskError."""
        durable.make_folder(self.path)
        durable.clear_leftovers(self.path)
        durable.sync_folder(self.path)  # what was named and not synced looks durable to us, and is not

    def laid(self) -> dict[int, Laid]:
        """The version folders of ours, by number. Raises DiskError."""
        with disk_errors(self.path):
            found = [path for path in self.path.iterdir() if is_number(path.name)] if self.path.is_dir() else []
        marks = (_mark_of(path) for path in found)
        return {mark.number: mark for mark in marks if mark is not None}

    def lay(self, number: int, manifest: Digest, source: Path, paths: Collection[str]) -> bool:
        """Shows these files of a version's folder under its number; whether anything had to be done for it.

        Raises DiskError, and ConflictError when something that is not ours has the number.
        """
        target = self.path / str(number)
        mark = Laid(number, manifest, {path: _state(source / path) for path in paths})
        there = _mark_of(target)
        if there == mark:
            return False
        if there is None and os.path.lexists(target):
            raise ConflictError(
                f"{target} is in the way: it was not put there by modelsyncd",
                safe="it was not touched, and the server has what it had",
                hint="move it away",
            )
        if there is not None and there.manifest == manifest and there.sources.keys() == mark.sources.keys():
            self._mend(target, source, there, mark)
            return True
        self._assemble(target, source, mark)
        return True

    def remove(self, number: int) -> None:
        """Takes a version folder of ours away: at once from its number, then its files. Raises DiskError."""
        durable.remove_tree(self.path / str(number))

    def write(self, name: str, data: bytes) -> bool:
        """Puts a small file beside the versions; whether it was another before. Raises DiskError."""
        path = self.path / name
        if _read(path) == data:
            return False
        durable.write_file(path, data)
        return True

    def lead(self, name: str, number: int) -> bool:
        """Makes a symlink beside the versions lead to one of them; whether it led elsewhere. Raises DiskError."""
        link = self.path / name
        with disk_errors(link):
            if link.is_symlink() and str(link.readlink()) == str(number):
                return False
        durable.switch_link(link, str(number))
        return True

    def _assemble(self, target: Path, source: Path, mark: Laid) -> None:
        hidden = target.with_name(f".{target.name}.new")
        durable.erase(hidden)
        folders = _folders(hidden, mark.sources)
        with disk_errors(hidden):
            for folder in folders:
                folder.mkdir()
            for path in mark.sources:
                self._put(source / path, hidden / path)
        durable.write_file(hidden / MARK, _encoded(mark))
        for folder in reversed(folders):
            durable.sync_folder(folder)
        durable.remove_tree(target)  # another version of the same number
        durable.rename(hidden, target)

    def _mend(self, target: Path, source: Path, there: Laid, mark: Laid) -> None:
        for path, state in mark.sources.items():
            if there.sources[path] != state:
                file = target / path
                fresh = file.with_name(f".{file.name}.new")
                durable.erase(fresh)
                with disk_errors(fresh):
                    self._put(source / path, fresh)
                durable.rename(fresh, file)
                durable.erase(fresh)  # rename(2) does nothing between two names of one file
        durable.write_file(target / MARK, _encoded(mark))

    def _put(self, source: Path, path: Path) -> None:
        """Raises OSError, DiskError."""
        if self._way is Way.SYMLINK:
            path.symlink_to(source)
            return
        if self._way is not Way.COPY:
            try:
                os.link(source, path, follow_symlinks=False)
                return
            except OSError as error:
                if error.errno not in _NO_SECOND_NAMES or self._way is Way.HARD_LINK:
                    raise
        durable.put_copy(source, path)


def is_number(name: str) -> bool:
    """Whether a server takes a folder of this name for a version."""
    return name.isascii() and name.isdecimal() and not name.startswith("0")


def _folders(root: Path, paths: Iterable[str]) -> list[Path]:
    """All folders that these files need, each after the one it is in."""
    below = {parent for path in paths for parent in Path(path).parents}
    return [root / one for one in sorted(below | {Path()}, key=lambda one: len(one.parts))]


def _state(path: Path) -> str:
    with disk_errors(path):
        seen = path.stat()
    return f"{seen.st_dev}:{seen.st_ino}:{seen.st_size}:{seen.st_mtime_ns}"


def _encoded(mark: Laid) -> bytes:
    lines = [FORMAT, str(mark.number), mark.manifest.hex()]
    return "\n".join([*lines, *(f"{state} {path}" for path, state in mark.sources.items()), ""]).encode()


def _mark_of(folder: Path) -> Laid | None:
    """What a folder says of itself; None for one that is not ours, or not there. Raises DiskError."""
    data = _read(folder / MARK)
    try:
        head, number, manifest, *lines = (data or b"").decode().removesuffix("\n").split("\n")
        if head != FORMAT or number != folder.name:
            return None
        sources = {path: state for state, _, path in (line.partition(" ") for line in lines)}
        return Laid(int(number), Digest(bytes.fromhex(manifest)), sources)
    except ValueError:
        return None


def _read(path: Path) -> bytes | None:
    with disk_errors(path):
        try:
            with path.open("rb") as file:
                return file.read(MARK_BYTES)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

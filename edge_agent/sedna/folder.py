"""The only place that writes what a job of Sedna reads: a version's file, the name that never changes, and the word.

Law: the file before the name, and both before the word in `model_config.json`; each is durable before the next, and
put in place at once. So whatever a worker reads leads to something whole, whenever this process is killed, and a
backend that loads by the name that never changes finds the new model once it has read the new word.

A job that sees the machine's own paths gets links into the version. One that sees only this folder gets the file under
a second name, or a copy where the folder is on another file system.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

from edge_agent.sedna import names
from edge_agent.sedna.jobs import Place
from modelsyncd.errors import DiskError
from modelsyncd.store import durable
from modelsyncd.store.durable import disk_errors

CANDIDATE = "candidate"
_NO_SECOND_NAMES = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP}
_CLOCK = 2.0  # seconds: some file systems keep the time of a change no finer
_SHARED = 0o1777  # as /tmp: everybody may write there, and remove only what is his own
_TEMPORARY = re.compile(r"tmp[a-z0-9_]{8}")  # as Python's tempfile names them


class Folder:
    """One folder of a job; `data` is the agent's own, links below which are relative."""

    def __init__(self, place: Place, data: Path, *, shared: bool = False) -> None:
        self._place = place
        self._data = data
        self._shared = shared
        self._copies = False  # where second names can't be had

    def prepare(self) -> None:
        """Makes the folder, and removes what a killed process left half-made. Raises DiskError."""
        folder = self._place.folder
        durable.make_folder(folder / CANDIDATE)  # before others may write beside it
        with disk_errors(folder):
            if self._shared and folder.stat().st_mode & 0o7777 != _SHARED:
                folder.chmod(_SHARED)
        for each in (folder, folder / CANDIDATE):
            durable.clear_leftovers(each)
            durable.sync_folder(each)  # what was named and not synced looks durable to us, and is not

    def word(self) -> str:
        """The word that workers read now, "" for none. Raises DiskError."""
        return names.word_in(self._read(self._place.folder / names.CONFIG))

    def show(self, file: Path, word: str) -> None:
        """Workers find this file from now on, under this word. Raises DiskError."""
        self._put(self._place.folder, file, word)
        config = names.config(self._place.as_seen(names.versioned(word)), word)
        path = self._place.folder / names.CONFIG
        if self._read(path) != config:
            durable.write_file(path, config)

    def show_candidate(self, file: Path, word: str) -> None:
        """Whoever evaluates finds this file as the new model. Raises DiskError."""
        self._put(self._place.folder / CANDIDATE, file, word)

    def pair(self, new: tuple[Path, str], old: tuple[Path, str]) -> None:
        """Names the two models to be evaluated, each by its file and word: neither changes. Raises DiskError."""
        urls = [
            self._place.as_seen(name) if self._place.mounted else str(file)
            for (file, _), name in (
                (new, f"{CANDIDATE}/{names.versioned(new[1])}"),
                (old, names.versioned(old[1])),
            )
        ]
        text = names.environment(*urls)
        path = self._place.folder / CANDIDATE / names.ENVIRONMENT  # where nobody else can write: it will be sourced
        if self._read(path) != text:
            durable.write_file(path, text)

    def versions(self) -> Iterator[Path]:
        """The files of versions that are there, of both channels. Raises DiskError."""
        for folder in (self._place.folder, self._place.folder / CANDIDATE):
            with disk_errors(folder):
                found = sorted(folder.iterdir())
            yield from (path for path in found if names.is_versioned(path.name))

    def remove(self, paths: Collection[Path]) -> None:
        """Removes files of versions. Raises DiskError."""
        for path in paths:
            durable.remove_file(path)

    def sweep(self, older_than: float) -> None:
        """Removes the copies of `model_config.json` that workers leave behind with the folder as their TMPDIR: one at
        each look. `older_than` is in seconds since 1970 UTC. Raises DiskError.
        """
        folder = self._place.folder
        with disk_errors(folder):
            found = [entry for entry in os.scandir(folder) if _TEMPORARY.fullmatch(entry.name)]
            for entry in found:
                if _is_old(entry, older_than) and names.word_in(self._read(Path(entry.path))):
                    durable.erase(Path(entry.path))

    def _put(self, folder: Path, file: Path, word: str) -> None:
        versioned, stable = folder / names.versioned(word), folder / names.stable(file.name)
        _make_way(stable)
        if not self._place.mounted:
            target = self._target(file, folder)
            for link in (versioned, stable):
                if not _leads(link, target):
                    durable.switch_link(link, target)
            return
        if not self._is_there(versioned, file):
            self._name(file, versioned)
        self._name(versioned, stable)

    def _name(self, file: Path, path: Path) -> None:
        if not self._copies and _device(file) == _device(path.parent):
            try:
                durable.put_link(file, path)
                return
            except DiskError as error:
                if not isinstance(error.__cause__, OSError) or error.__cause__.errno not in _NO_SECOND_NAMES:
                    raise
                self._copies = True
        durable.put_copy(file, path)

    def _target(self, file: Path, folder: Path) -> str:
        """What a link in the folder says: relative where both move together, as in a container's mount."""
        if folder.is_relative_to(self._data) and file.is_relative_to(self._data):
            return os.path.relpath(file, folder)
        return str(file)

    def _is_there(self, versioned: Path, file: Path) -> bool:
        """Whether this is the file, or our copy of it: no link, nobody else's, as old as what it was copied from."""
        with disk_errors(versioned):
            try:
                found = versioned.lstat()
            except FileNotFoundError:
                return False
            origin = file.stat()
            if not self._copies and found.st_dev == origin.st_dev:
                return found.st_ino == origin.st_ino  # one that was mended since is another file
            ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
            apart = abs(found.st_mtime - origin.st_mtime)
            return ours and found.st_size == origin.st_size and apart < _CLOCK

    def _read(self, path: Path) -> bytes:
        """A small file, or nothing: others may write here, so no link is followed and no more read than ours have."""
        with disk_errors(path):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ELOOP):
                    return b""
                raise
            try:
                return os.read(descriptor, names.SMALL + 1)
            finally:
                os.close(descriptor)


def _is_old(entry: os.DirEntry[str], older_than: float) -> bool:
    status = entry.stat(follow_symlinks=False)
    return entry.is_file(follow_symlinks=False) and status.st_mtime < older_than and status.st_size <= names.SMALL


def _leads(link: Path, target: str) -> bool:
    with disk_errors(link):
        return link.is_symlink() and str(link.readlink()) == target


def _make_way(path: Path) -> None:
    """A worker that starts before there is a model makes an empty folder of that name. Raises DiskError."""
    with disk_errors(path):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()


def _device(path: Path) -> int:
    with disk_errors(path):
        return path.stat().st_dev

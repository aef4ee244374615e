"""The folder of versions that a job in the cloud keeps: the only place that says which are whole there, and which go.

    models/<namespace>/<name>/versions/<number>-<digest12>/           a version, whole; read-only files
    models/<namespace>/<name>/versions/<number>-<digest12>.manifest   its manifest, byte for byte
    models/<namespace>/<name>/<channel>                               symlink to versions/…, what was fetched last
    leases/<namespace>/<name>/<number>-<digest12>                     locked by whoever holds the version

Law: a version counts as whole only once its manifest is beside it, which is written after the last file has its name.
What is held, or what a channel leads to, is never removed. Several processes may share a rack.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from modelsyncd.digest import digest_of
from modelsyncd.errors import LockedError, ModelsyncError
from modelsyncd.exchange.local_base import LocalBase
from modelsyncd.exchange.remains import LOCK, WORK
from modelsyncd.manifest import Manifest
from modelsyncd.names import ModelName, ModelRef
from modelsyncd.store.durable import (
    Lock,
    disk_errors,
    lock_folder,
    make_folder,
    remove_file,
    remove_tree,
    switch_link,
    write_file,
)
from modelsyncd.store.layout import Layout, target_of
from modelsyncd.store.leases import hold, seize
from modelsyncd.store.source import Source
from modelsyncd.store.version import Version, has_shape
from modelsyncd.wire.nouns import decode_manifest

_FOLDER = re.compile(r"([1-9][0-9]{0,17})-[0-9a-f]{12}")
_LONG_AGO = 7 * 24 * 3600.0  # seconds after which nobody goes on with a fetch that was cut off
_BASES = 2  # versions that one that comes may be coded against: more cost reading and seldom help


@dataclass(frozen=True, slots=True)
class Racked:
    """A version that is whole in a rack."""

    version: Version
    manifest: Manifest
    folder: Path

    @property
    def path(self) -> Path:
        """What a job loads: the folder, or the file when the model is a single file."""
        return job_path(self.folder, self.manifest)


def job_path(folder: Path, manifest: Manifest) -> Path:
    """The folder, or the file in it when it is the only one and lies at the top."""
    paths = [file.path for file in manifest.files]
    return folder / paths[0] if len(paths) == 1 and "/" not in paths[0] else folder


class Rack:
    """Versions below `root`. All methods block."""

    def __init__(self, root: Path, keep: int) -> None:
        """`keep` versions of each model stay, besides those that are held or that a channel leads to."""
        self.root = root
        self._keep = keep
        self._layout = Layout(root)

    def folder(self, version: Version) -> Path:
        """Where a version lies, or will."""
        return self._layout.version(version)

    def find(self, version: Version) -> Racked | None:
        """The version, if it is whole. Raises DiskError."""
        found = self._read(version.model, self.folder(version), version.number)
        return found if found is not None and found.version == version else None

    def versions(self, model: ModelName) -> list[Racked]:
        """The whole versions of a model, newest first. Raises DiskError."""
        folder = self._layout.model(model) / "versions"
        found = [self._read(model, path, number) for number, path in _folders(folder)]
        return sorted((one for one in found if one is not None), key=lambda one: one.version.number, reverse=True)

    def bases(self, model: ModelName) -> list[LocalBase]:
        """What another version of the model may be coded against. Raises DiskError."""
        return [base_of(one) for one in self.versions(model)[:_BASES]]

    def hold(self, version: Version) -> Lock:
        """Keeps a version from being removed until the lock is released. Raises DiskError."""
        return hold(self._lease(version))

    def enter(self, version: Version, manifest: bytes) -> Racked:
        """Counts a version as whole, whose files were all verified and have their names. Raises DiskError."""
        folder, parsed = self.folder(version), decode_manifest(manifest)
        for file in parsed.files:
            with disk_errors(folder):
                (folder / file.path).chmod(0o555 if file.executable else 0o444)
        write_file(_manifest(folder), manifest)
        return Racked(version, parsed, folder)

    def switch(self, ref: ModelRef, version: Version) -> Path:
        """Makes a channel's link lead to a version; returns the link. Raises DiskError."""
        link = self._layout.channel(ref)
        target = target_of(version)
        if not (link.is_symlink() and os.readlink(link) == target):  # noqa: PTH115 -- Path.readlink tidies the text
            switch_link(link, target)
        return link

    def led_to(self, ref: ModelRef) -> str:
        """The name of the folder that a channel's link leads to; "" for none."""
        link = self._layout.channel(ref)
        return link.readlink().name if link.is_symlink() else ""

    def use(self, one: Racked) -> None:
        """Counts a version as used now: those that were used last are kept. Raises DiskError."""
        with disk_errors(one.folder):
            os.utime(_manifest(one.folder))

    def tidy(self, model: ModelName, now: float) -> None:
        """Removes versions beyond those used last, and what fetches left half-done long ago, as far as nobody has them.

        `now` is seconds since 1970. Raises DiskError.
        """
        folder = self._layout.model(model) / "versions"
        if not folder.is_dir():
            return
        led = self._led(model)
        for path in sorted((path for _, path in _folders(folder)), key=_used, reverse=True)[self._keep :]:
            if path.name not in led:
                self._remove(model, path)
        for path in sorted(folder.glob(f"{WORK}*")):
            if now - path.stat().st_mtime > _LONG_AGO:
                _clear(path)

    def _remove(self, model: ModelName, path: Path) -> None:
        lease = self._leases(model) / path.name
        lock = seize(lease)
        if lock is None:
            return
        with lock:
            remove_file(_manifest(path))  # first: without it the folder counts for nothing
            remove_tree(path)
            remove_file(lease)

    def _read(self, model: ModelName, folder: Path, number: int) -> Racked | None:
        path = _manifest(folder)
        try:
            with disk_errors(path):
                if not path.is_file():
                    return None
                data = path.read_bytes()
            manifest = decode_manifest(data)
            if not has_shape(folder, manifest):
                return None
        except ModelsyncError:
            return None  # then it is fetched again, and mended by that
        return Racked(Version(model, number, digest_of(data)), manifest, folder)

    def _led(self, model: ModelName) -> set[str]:
        folder = self._layout.model(model)
        with disk_errors(folder):
            return {link.readlink().name for link in folder.iterdir() if link.is_symlink()}

    def _leases(self, model: ModelName) -> Path:
        return self.root / "leases" / model.namespace / model.name

    def _lease(self, version: Version) -> Path:
        return self._leases(version.model) / version.folder_name


def base_of(one: Racked) -> LocalBase:
    """A version as something to code against; nothing is read before it is needed."""
    places = [str(one.folder / file.path) for file in one.manifest.files]
    return LocalBase(one.folder, Source(one.manifest, places), one.version.manifest)


def open_rack(root: Path, keep: int) -> Rack:
    """A rack in a folder, made if need be. Raises DiskError."""
    make_folder(root)
    return Rack(root.absolute(), keep)


def _manifest(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.manifest")


def _folders(folder: Path) -> Iterator[tuple[int, Path]]:
    if not folder.is_dir():
        return
    with disk_errors(folder):
        found = sorted(folder.iterdir())
    for path in found:
        match = _FOLDER.fullmatch(path.name)
        if match is not None and path.is_dir() and not path.is_symlink():
            yield int(match[1]), path


def _used(folder: Path) -> float:
    """When a version was used last, seconds since 1970; 0 for one that is not whole."""
    path = _manifest(folder)
    return path.stat().st_mtime if path.is_file() else 0.0


def _clear(path: Path) -> None:
    try:
        lock = lock_folder(path, LOCK)
    except LockedError:
        return  # somebody is at it
    with lock:
        remove_tree(path)

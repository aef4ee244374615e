"""What earlier pulls into the same folder left half-done: chunks for this one, and gone once this one is whole.

Such a pull was of another release, or began when the folder was not there yet. Law: nothing of it is believed, each
chunk is compared with its digest; and nothing of a pull that still runs is touched.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from modelsyncd.digest import Digest, digest_of
from modelsyncd.errors import DiskError, LockedError, ModelsyncError
from modelsyncd.manifest import ChunkTable, Manifest
from modelsyncd.store.durable import Lock, disk_errors, lock_folder, remove_tree
from modelsyncd.store.folder import Folder
from modelsyncd.wire.nouns import decode_manifest

WORK = ".modelsyncd-"
LOCK, MANIFEST, FILES = "lock", "manifest", "files"
_DIGEST = "[0-9a-f]{12}"


class Remains:
    """Hidden folders of other pulls into `folder`, locked until `close`; `work` is our own."""

    def __init__(self, folder: Path, work: Path) -> None:
        """Raises DiskError."""
        self._locks: dict[Path, Lock] = {}
        for path in _hidden(folder):
            with suppress(LockedError, DiskError):  # somebody else's: chunks of it would have been nice to have
                if path != work:
                    self._locks[path] = lock_folder(path, LOCK)

    def chunks(self, wanted: Collection[Digest]) -> Iterator[tuple[Digest, bytes]]:
        """Those of the wanted chunks that are there and right; `wanted` may shrink meanwhile."""
        for path in self._locks:
            manifest = _manifest(path / MANIFEST)
            if manifest is None:
                continue
            files = Folder(path / FILES)
            try:
                for chunk in ChunkTable(manifest):
                    if chunk.digest in wanted:
                        plain = _read(files, manifest.files[chunk.file].path, chunk.offset, chunk.size)
                        if digest_of(plain) == chunk.digest:
                            yield chunk.digest, plain
            finally:
                files.close()

    def clear(self) -> None:
        """Removes them all, as far as the disk lets us: the pull is whole without that."""
        for path in self._locks:
            with suppress(DiskError):
                remove_tree(path)

    def close(self) -> None:
        """Lets go of them."""
        for lock in self._locks.values():
            lock.release()
        self._locks.clear()


def _hidden(folder: Path) -> Iterator[Path]:
    """Where a pull into the folder may have worked: beside it before it was there, in it afterwards."""
    beside = re.compile(re.escape(f"{WORK}{folder.name}-") + _DIGEST)
    inside = re.compile(re.escape(WORK) + _DIGEST)
    for parent, pattern in ((folder.parent, beside), (folder, inside)):
        with disk_errors(parent):
            found = sorted(parent.iterdir()) if parent.is_dir() else []
        yield from (path for path in found if pattern.fullmatch(path.name) and path.is_dir() and not path.is_symlink())


def _manifest(path: Path) -> Manifest | None:
    """A manifest that came whole; None for any other."""
    try:
        with disk_errors(path):
            return decode_manifest(path.read_bytes())
    except ModelsyncError:
        return None


def _read(files: Folder, path: str, offset: int, size: int) -> bytes:
    try:
        return files.read(path, offset, size)
    except ModelsyncError:
        return b""  # that file was in its place already, and was not staged

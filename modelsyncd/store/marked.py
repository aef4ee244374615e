"""The only place that tells a blob store that lost a blob from one that is not there: by a mark that lies in it.

A folder that is not mounted, or a bucket of another name, looks like a store that lost everything. Law: without the
mark nothing counts as lost and nothing is put in; so bytes that only could not be reached are never forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from modelsyncd.digest import Buffer
from modelsyncd.errors import DiskError, NotFoundError
from modelsyncd.store.blobs import Blob, Blobs
from modelsyncd.store.durable import make_folder, write_file
from modelsyncd.store.failpoints import Point, passing

MARK = "packs.mark"
BESIDE = "codings/"  # a place of its own below this one; what is in it says nothing about this one
_WORDS = b"A modelsync-hub keeps its packs here. Without this file it believes that the place is not mounted.\n"


class MarkedBlobs:
    """Blobs in a store that has its mark; `where` is what people call the store."""

    def __init__(self, blobs: Blobs, where: str) -> None:
        self._blobs = blobs
        self._where = where

    def claim(self, spool: Path, *, expected: bool) -> None:
        """Marks a store that is new. `expected` says that blobs should be in it already.

        Raises DiskError for a store that is empty and should not be, and what the store raises.
        """
        if self._is_marked():
            return
        if expected and next(self.list(), None) is None:
            raise self._away("there is nothing")
        make_folder(spool)
        write_file(spool / MARK, _WORDS)
        passing(Point.STORE_CLAIMED)
        self._blobs.adopt(MARK, spool / MARK)

    def adopt(self, key: str, path: Path) -> None:
        """See `Blobs`. Raises DiskError when the store is not there; then the file stays where it is."""
        self._check(f"{key} can't be put there")
        self._blobs.adopt(key, path)

    def read(self, key: str, offset: int, length: int) -> Buffer:
        """See `Blobs`. Raises DiskError when the store is not there."""
        try:
            return self._blobs.read(key, offset, length)
        except NotFoundError:
            self._check(f"{key} can't be read")
            raise

    def size(self, key: str) -> int:
        """See `Blobs`. Raises DiskError when the store is not there."""
        try:
            return self._blobs.size(key)
        except NotFoundError:
            self._check(f"{key} can't be found")
            raise

    def delete(self, key: str) -> None:
        """See `Blobs`."""
        self._blobs.delete(key)

    def list(self, prefix: str = "") -> Iterator[Blob]:
        """See `Blobs`; the mark is none, and what lies beside is not listed."""
        listed = self._blobs.list(prefix)
        return (blob for blob in listed if blob.key != MARK and not blob.key.startswith(BESIDE))

    def close(self) -> None:
        """See `Blobs`."""
        self._blobs.close()

    def _is_marked(self) -> bool:
        try:
            self._blobs.size(MARK)
        except NotFoundError:
            return False
        return True

    def _check(self, what: str) -> None:
        if not self._is_marked():
            raise self._away(what)

    def _away(self, what: str) -> DiskError:
        return DiskError(
            f"the hub's packs are not at {self._where}: {what}, and {MARK} is missing",
            safe="nothing was forgotten or overwritten",
            hint=f"mount it, or correct `blobs`; if the packs are lost for good, put an empty file {MARK} there",
        )

"""The only place that reads the bytes which chunks are coded against: files of versions that are here whole.

Law: such bytes are never believed. They are what the file holds now, and whoever makes a chunk of them verifies the
chunk; so a base that was changed, damaged or removed costs a chunk that travels again, and nothing else.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

from modelsyncd.bases import check, gather
from modelsyncd.digest import Buffer, Digest, short
from modelsyncd.errors import NotFoundError
from modelsyncd.session.frames import Base

OPEN = 4  # bases whose files are known at once: a giver uses one or two


class Files(Protocol):
    """The files of one manifest. `store.source.Source` is one."""

    @property
    def sizes(self) -> Sequence[int]:
        """Bytes of each file."""

    def range(self, file: int, offset: int, size: int) -> Buffer:
        """Exactly `size` bytes of a file as they are now. Raises ModelsyncError."""

    def close(self) -> None:
        """Lets go of descriptors; a later `range` opens what it needs."""


class Held:
    """The bases that were named to the giver of one transfer, and nothing else. One thread at a time."""

    def __init__(self, find: Callable[[Digest], Files]) -> None:
        """`find` opens a base. Raises ModelsyncError when it is not here any more."""
        self.names: tuple[Digest, ...] = ()
        """Those that the giver was told of, the likeliest first."""
        self._find = find
        self._files: OrderedDict[Digest, Files] = OrderedDict()

    def gather(self, base: Base, size: int) -> bytes:
        """The `size` bytes that a chunk was coded against.

        Raises NotFoundError for a base that was not named, DamageError for runs that can't be, and what reading raises.
        """
        files = self._known(base.manifest)
        check(base.runs, files.sizes, size)
        return gather(base.runs, files.range)

    def rest(self) -> None:
        """Lets go of descriptors; nothing is forgotten."""
        for files in self._files.values():
            files.close()

    def close(self) -> None:
        """Lets go of everything but the names."""
        self.rest()
        self._files.clear()

    def _known(self, manifest: Digest) -> Files:
        if manifest not in self.names:
            raise NotFoundError(f"{short(manifest)} was never named as a base")
        files = self._files.get(manifest)
        if files is None:
            files = self._files[manifest] = self._find(manifest)
        self._files.move_to_end(manifest)
        while len(self._files) > OPEN:
            self._files.popitem(last=False)[1].close()
        return files

"""The only place where the hub finds which digest and size stand behind an ordinal, for a manifest's pieces or content.

Manifests never change, so what was read once may be kept: the tables of the manifests in use, least recently used
first out, bounded by how many chunks they list.
"""

from __future__ import annotations

import threading
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Protocol

from modelsyncd.digest import DIGEST_SIZE, Digest
from modelsyncd.errors import BadInputError
from modelsyncd.manifest import ChunkTable, piece_sizes
from modelsyncd.release import ManifestRef

CACHED_CHUNKS = 2_000_000  # chunks of all kept tables together: about 90 MB, or 500 GB of content


class Table(Protocol):
    """Digest and plain size of each chunk, by ordinal."""

    @property
    def sizes(self) -> Sequence[int]:
        """Plain bytes of each chunk."""

    def digest(self, ordinal: int) -> Digest:
        """Name of the chunk."""


class PieceTable:
    """The manifest's own chunks."""

    def __init__(self, ref: ManifestRef) -> None:
        self.sizes: Sequence[int] = array("I", piece_sizes(ref.size))
        """Plain bytes of each piece, by ordinal."""
        self._digests = ref.chunk_digests

    def digest(self, ordinal: int) -> Digest:
        """Name of the piece."""
        start = ordinal * DIGEST_SIZE
        return Digest(self._digests[start : start + DIGEST_SIZE])


class TableCache:
    """Content tables by manifest. Safe to use from any thread."""

    def __init__(self, chunks: int = CACHED_CHUNKS) -> None:
        self._room = chunks
        self._tables: OrderedDict[Digest, ChunkTable] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, manifest: Digest) -> ChunkTable | None:
        """The table if it is kept."""
        with self._lock:
            table = self._tables.get(manifest)
            if table is not None:
                self._tables.move_to_end(manifest)
            return table

    def put(self, manifest: Digest, table: ChunkTable) -> None:
        """Keeps the table; the least recently used ones make room, but never this one."""
        with self._lock:
            self._tables[manifest] = table
            self._tables.move_to_end(manifest)
            while len(self._tables) > 1 and sum(map(len, self._tables.values())) > self._room:
                self._tables.popitem(last=False)


def check_ordinals(table: Table, ordinals: Iterable[int]) -> None:
    """Raises BadInputError for an ordinal that is not in the table."""
    for ordinal in ordinals:
        if not 0 <= ordinal < len(table.sizes):
            raise BadInputError(f"there is no chunk {ordinal}: the list has {len(table.sizes)}")

"""Records to lay into packs, and a blob store that counts and can refuse."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from modelsyncd.codec.registry import Codec
from modelsyncd.digest import Buffer, digest_of
from modelsyncd.errors import RoadError
from modelsyncd.store.blobs import Blob, Blobs
from modelsyncd.store.packs import Record


def record(seed: int, size: int = 100) -> Record:
    """A stored chunk with bytes that follow from the seed."""
    plain = random.Random(seed).randbytes(size)
    return Record(digest_of(plain), Codec.STORED, plain, size)


class WatchedBlobs:
    """Another store's promises, with each read written down; `away` makes it unreachable."""

    def __init__(self, inner: Blobs) -> None:
        self._inner = inner
        self.reads: list[tuple[str, int, int]] = []
        self.away = False

    def adopt(self, key: str, path: Path) -> None:
        if self.away:
            raise RoadError("the store is away")
        self._inner.adopt(key, path)

    def read(self, key: str, offset: int, length: int) -> Buffer:
        self.reads.append((key, offset, length))
        return self._inner.read(key, offset, length)

    def size(self, key: str) -> int:
        return self._inner.size(key)

    def delete(self, key: str) -> None:
        self._inner.delete(key)

    def list(self, prefix: str = "") -> Iterator[Blob]:
        return self._inner.list(prefix)

    def close(self) -> None:
        self._inner.close()

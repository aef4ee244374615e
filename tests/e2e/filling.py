"""A process that fills its disk up under SQLite, and makes room again: python -m tests.e2e.filling KIND FOLDER.

It runs where the small disk is mounted: SQLite makes paths real, and from outside that leads to another disk.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cloud_hub.catalog import Catalog
from modelsyncd.codec.registry import Codec
from modelsyncd.digest import digest_of
from modelsyncd.errors import DiskFullError
from modelsyncd.manifest import Chunk
from modelsyncd.store.cache import Cache
from modelsyncd.store.packs import Place

MANIFEST = digest_of(b"manifest")
BATCH = 100
LEFT = 256 << 10  # bytes


def main(kind: str, folder: Path) -> None:
    """Raises AssertionError when anything is lost, or not said as a full disk."""
    if kind == "cache":
        _cache(folder)
    else:
        _catalog(folder)


def _cache(folder: Path) -> None:
    cache = Cache(folder / "cache.db")

    def write(batch: int) -> None:
        cache.record(MANIFEST, [Chunk(one, digest_of(b"%d" % one), 1, 0, one) for one in _numbers(batch)])

    done = _until_full(folder, write)
    assert cache.recorded(MANIFEST) == set(range(BATCH * done))
    (folder / "filler").unlink()
    write(done)
    cache.close()
    again = Cache(folder / "cache.db")
    assert again.recorded(MANIFEST) == set(range(BATCH * (done + 1)))


def _catalog(folder: Path) -> None:
    url = f"sqlite:///{folder}/catalog.db"

    def write(batch: int) -> None:
        places = [Place(digest_of(b"%d" % one), Codec.STORED, 1, one, "pack", one, 1) for one in _numbers(batch)]
        catalog.chunks.add(places)

    with Catalog.open(url) as catalog:
        done = _until_full(folder, write)
        assert catalog.chunks.count() == BATCH * done
        (folder / "filler").unlink()
        write(done)
    with Catalog.open(url) as catalog:
        assert catalog.chunks.count() == BATCH * (done + 1)


def _numbers(batch: int) -> range:
    return range(BATCH * batch, BATCH * (batch + 1))


def _until_full(folder: Path, write: Callable[[int], None]) -> int:
    """How many batches were taken before the refusal."""
    write(0)
    with (folder / "filler").open("ab", buffering=0) as file, suppress(OSError):
        while (room := os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize - LEFT) > 0:
            file.write(bytes(min(room, 1 << 16)))
    for batch in range(1, 1_000):
        try:
            write(batch)
        except DiskFullError as error:
            _check_words(error)
            return batch
    raise AssertionError("the disk never was full")


def _check_words(error: DiskFullError) -> None:
    assert error.safe
    assert error.hint


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

"""The only place that copies chunks that are on this node already: from versions, and from what else is on its way.

Law: a seed is never believed. Its bytes are hashed before they are used; a row of the cache that led to wrong bytes is
dropped, and the chunk comes from the next seed or from the hub.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from modelsyncd.digest import Digest
from modelsyncd.errors import ConflictError, DamageError, DiskError, NotFoundError
from modelsyncd.manifest import Chunk, ChunkTable
from modelsyncd.store.cache import Cache, Place
from modelsyncd.store.failpoints import Point, passing
from modelsyncd.store.folder import Folder
from modelsyncd.store.staging import Staging
from modelsyncd.store.tree import EdgeTree

BATCH_BYTES = 8 << 20  # plain bytes that are copied between two fsyncs
OPEN_FOLDERS = 16  # versions that one copy keeps open


class Seeds:
    """Everything on the node that a new version may be made of."""

    def __init__(self, tree: EdgeTree, cache: Cache) -> None:
        self._tree = tree
        self._cache = cache
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Lets a copy under way end early with ConflictError: what it copied so far counts."""
        self._stopping.set()

    def align(self) -> None:
        """Makes the cache speak of what the tree holds, all of it and nothing else. Raises DiskError."""
        rows = self._cache.sources()
        shown = self._tree.observed()
        held = {version.manifest for version in shown.held | shown.damaged}
        for manifest in sorted(held):
            if not rows.get(manifest):
                with suppress(NotFoundError, DamageError):  # then it is fetched again, and its rows come with it
                    self._cache.settle(manifest, ChunkTable(self._tree.manifest(manifest)))
        for manifest in rows.keys() - held - shown.staged:
            self._cache.drop(manifest)
        self._cache.aligned = True

    def fill(self, manifest: Digest, staging: Staging, missing: Sequence[int]) -> list[int]:
        """Copies what it can into the staging of a manifest; returns what is still missing, ascending.

        Raises DiskFullError, DiskError; ConflictError after `stop`.
        """
        if not self._cache.sources().keys() - {manifest} and not self._tree.folders(manifest):
            return list(missing)
        left: list[int] = []
        readers = _Readers(self._tree, staging)
        try:
            for batch in _batches(missing, staging.table.sizes):
                if self._stopping.is_set():
                    raise ConflictError("the agent is stopping", safe="what was copied so far counts")
                found = self._find(manifest, staging, batch, readers)
                if found:
                    staging.write(list(found.items()))
                    passing(Point.SEEDS_COPIED)
                    self._cache.record(manifest, map(staging.table.chunk, found))
                left += (ordinal for ordinal in batch if ordinal not in found)
        finally:
            readers.close()
        return left

    def _find(self, manifest: Digest, staging: Staging, batch: Sequence[int], readers: _Readers) -> dict[int, bytes]:
        places = self._cache.places([staging.table.digest(ordinal) for ordinal in batch])
        found = {}
        for ordinal in batch:
            chunk = staging.table.chunk(ordinal)
            # the same content under another name, or damaged, lies at the same place, whatever the cache knows
            twin = Place(manifest, chunk.file, chunk.offset)
            for place in (twin, *places.get(chunk.digest, ())):
                plain, was_read = readers.first(place, chunk, staging)
                if plain is not None:
                    found[ordinal] = plain
                    break
                if was_read and place is not twin:
                    self._cache.misplaced(chunk.digest, place.manifest)
        return found


class _Readers:
    """The folders that seeds are read from, opened as they are needed; never the one that is being filled."""

    def __init__(self, tree: EdgeTree, target: Staging) -> None:
        self._tree = tree
        self._target = target.path
        self._folders: dict[Digest, list[Folder]] = {}
        self._files: dict[Digest, Sequence[tuple[str, int]]] = {}

    def first(self, place: Place, chunk: Chunk, staging: Staging) -> tuple[bytes | None, bool]:
        """The chunk's bytes from the first folder where they are right; and whether there was anything to read."""
        was_read = False
        for folder in self._folders_of(place.manifest):
            path = self._path(place, chunk.size)
            if path is None:
                return None, True
            with suppress(DiskError):
                plain = folder.read(path, place.offset, chunk.size)
                was_read = True
                if staging.fits(chunk.ordinal, plain):
                    return plain, True
        return None, was_read

    def _path(self, place: Place, size: int) -> str | None:
        """The file that a row of the cache speaks of, if that can be: a row may have rotted."""
        files = self._files[place.manifest]
        if not 0 <= place.file < len(files):
            return None
        path, end = files[place.file]
        return path if 0 <= place.offset <= end - size else None

    def close(self) -> None:
        while self._folders:
            for folder in self._folders.popitem()[1]:
                folder.close()

    def _folders_of(self, manifest: Digest) -> list[Folder]:
        found = self._folders.get(manifest)
        if found is None:
            if len(self._folders) >= OPEN_FOLDERS:
                self.close()
            found = self._folders[manifest] = [Folder(path) for path in self._existing(manifest)]
        return found

    def _existing(self, manifest: Digest) -> list[Path]:
        if manifest not in self._files:
            self._files[manifest] = ()
            with suppress(NotFoundError, DamageError, DiskError):
                self._files[manifest] = [(file.path, file.size) for file in self._tree.manifest(manifest).files]
        if not self._files[manifest]:
            return []
        folders = [*self._tree.folders(manifest), self._tree.layout.staged(manifest)]
        return [folder for folder in folders if folder != self._target and folder.is_dir()]


def _batches(ordinals: Sequence[int], sizes: Sequence[int]) -> Iterator[list[int]]:
    """Runs of ordinals with at most BATCH_BYTES of plain bytes, or one."""
    batch: list[int] = []
    held = 0
    for ordinal in ordinals:
        if batch and held + sizes[ordinal] > BATCH_BYTES:
            yield batch
            batch, held = [], 0
        batch.append(ordinal)
        held += sizes[ordinal]
    if batch:
        yield batch

"""The only place that carries plans out on the disk: links are switched, versions pruned, and what lies there is told.

It holds nothing but what it has read of versions that never change, so that looking around costs no more than a few
links: a big model's manifest is read once, not at each look.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edge_agent.stock import Stock
from edge_agent.watchers import Active
from modelsyncd.daemon.log import Log
from modelsyncd.digest import Digest
from modelsyncd.errors import DamageError, ModelsyncError
from modelsyncd.names import ModelRef
from modelsyncd.store.cache import Cache
from modelsyncd.store.durable import disk_errors
from modelsyncd.store.tree import EdgeTree
from modelsyncd.store.version import Version


@dataclass(frozen=True, slots=True)
class Papers:
    """What a version's release and manifest say: `size` in plain bytes, `only` the path of its only file or ""."""

    release: Digest
    labels: dict[str, str]
    size: int
    only: str


class TreeStore:
    """edge_agent.stock.Store over a node's folder. One thread at a time."""

    def __init__(self, tree: EdgeTree, cache: Cache) -> None:
        self._tree = tree
        self._cache = cache
        self._papers: dict[Version, Papers] = {}
        self._used = 0

    def observe(self) -> Stock:
        """What is there now. A version with unreadable papers counts as not held, so that it is fetched again.

        Raises DiskError.
        """
        shown = self._tree.observed()
        papers = {version: self._papers_of(version) for version in shown.held | shown.damaged}
        self._papers = {version: found for version, found in papers.items() if found is not None}
        held = frozenset(version for version in shown.held if version in self._papers)
        active = {ref: self._active(ref, one) for ref, one in shown.active.items() if one in self._papers}
        self._used = sum(found.size for found in self._papers.values()) + _bytes_below(self._tree.layout.staging)
        return Stock(held, active, shown.previous, shown.staged)

    def activate(self, ref: ModelRef, version: Version) -> Active:
        """Switches the channel's link; durable when it returns. Raises DiskError, NotFoundError, DamageError."""
        if version not in self._papers:
            raise DamageError(f"{version.model}:{version.number} has lost its papers", safe="it is fetched again")
        self._tree.activate(ref, version)
        return self._active(ref, version)

    def unlink(self, ref: ModelRef) -> None:
        """Removes the channel's link. Raises DiskError."""
        self._tree.unlink(ref)

    def prune(self, version: Version) -> None:
        """Deletes a version, and all notes about its chunks unless another one has the same.

        Raises DiskError, ConflictError when a channel leads to it.
        """
        self._tree.remove(version)
        if not self._tree.folders(version.manifest) and version.manifest not in self._tree.staged():
            self._cache.drop(version.manifest)

    def discard(self, manifest: Digest) -> None:
        """Deletes what is staged of a manifest. Raises DiskError."""
        self._tree.discard(manifest)
        if not self._tree.folders(manifest):
            self._cache.drop(manifest)

    def disk(self) -> tuple[int, int]:
        """Bytes free for us on the file system, and bytes that versions and staging took at the last look."""
        root = self._tree.layout.root
        with disk_errors(root):
            system = os.statvfs(root)
        return system.f_bavail * system.f_frsize, self._used

    def _papers_of(self, version: Version) -> Papers | None:
        known = self._papers.get(version)
        if known is not None and known.release == self._tree.release_digest(version):
            return known
        try:
            release = self._tree.release(version)
            size = release.variant(version.manifest).manifest.content_size
            only = self._tree.content(version)
        except ModelsyncError as error:
            Log().failure("papers.unreadable", error, model=str(version.model), version=version.number)
            return None
        return Papers(self._tree.release_digest(version), dict(release.labels), size, only)

    def _active(self, ref: ModelRef, version: Version) -> Active:
        layout, papers = self._tree.layout, self._papers[version]
        return Active(
            ref=ref,
            number=version.number,
            manifest=version.manifest,
            release=papers.release,
            path=layout.version(version) / papers.only,
            channel_path=layout.channel(ref) / papers.only,
            since=self._tree.active_since(ref),
            labels=papers.labels,
        )


def _bytes_below(folder: Path) -> int:
    """Bytes that files below a folder take on the disk; what goes away meanwhile takes none."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += (Path(path) / name).lstat().st_blocks * 512
    return total

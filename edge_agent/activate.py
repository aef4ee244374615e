"""The only place that carries plans out on the disk: links are switched, versions pruned, and what lies there is told.

It holds nothing but what it has read of versions that never change, so that looking around costs no more than a few
links: a big model's manifest is read once, not at each look.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edge_agent.stock import Stock
from edge_agent.watchers import Active
from modelsyncd.daemon.log import Log
from modelsyncd.digest import Digest
from modelsyncd.errors import BadInputError, ConflictError, DamageError, DiskError, ModelsyncError, NotFoundError
from modelsyncd.names import ModelRef
from modelsyncd.store.cache import Cache
from modelsyncd.store.durable import disk_errors
from modelsyncd.store.tree import EdgeTree
from modelsyncd.store.version import Version, has_shape


@dataclass(frozen=True, slots=True)
class Papers:
    """What a version's release and manifest say: `size` in plain bytes, `only` the path of its only file or ""."""

    release: Digest
    labels: dict[str, str]
    size: int
    only: str


class TreeStore:
    """edge_agent.stock.Store over a node's folder. One thread at a time; `prove` and `disk` go beside all else."""

    def __init__(self, tree: EdgeTree, cache: Cache, forget: Callable[[Digest], None] = lambda _: None) -> None:
        self._tree = tree
        self._forget = forget  # told before what is staged of a manifest is deleted
        self._cache = cache
        self._papers: dict[Version, Papers] = {}
        self._damaged: frozenset[Version] = frozenset()
        self._used = 0
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Lets reading under way end early, with ConflictError."""
        self._stopping.set()

    def observe(self) -> Stock:
        """What is there now. A version that is seen first is damaged if its papers or its files' sizes are wrong.

        Raises DiskError.
        """
        shown = self._tree.observed()
        known = shown.held | shown.damaged
        papers = {version: self._papers_of(version) for version in known}
        self._papers = {version: found for version, found in papers.items() if found is not None}
        held = frozenset(version for version in known if self._tree.holds(version) and version in self._papers)
        self._note_damage(known - held)
        active = {ref: self._active(ref, one) for ref, one in shown.active.items() if one in self._papers}
        self._used = sum(found.size for found in self._papers.values()) + _bytes_below(self._tree.layout.staging)
        return Stock(held, known - held, active, shown.previous, shown.staged)

    def inspect(self) -> Stock:
        """As `observe`, with every version seen as if for the first time. Raises DiskError."""
        self._papers = {}
        return self.observe()

    def proven(self, version: Version) -> bool:
        """Whether all of its bytes were found right a moment ago. Touches no disk."""
        return self._tree.hashed.lately(version)

    def prove(self, version: Version) -> None:
        """Reads a version back unless that was done a moment ago, and marks it when a byte is wrong.

        Raises DamageError, NotFoundError when it was removed meanwhile, DiskError; ConflictError after `stop`.
        """
        if self.proven(version):
            return
        began = time.monotonic()
        wrong = sum(1 for _ in self._tree.verify(version, self._pause))
        took = time.monotonic() - began
        Log().info("version.read", model=str(version.model), version=version.number, damaged=wrong, took_s=took)
        if wrong:
            self._tree.quarantine(version)
            raise DamageError(
                f"{version.model}:{version.number} is damaged on this node's disk in {wrong} places",
                safe="the channel leads where it led",
                hint="what is damaged is fetched again; look at the disk if it happens again",
            )
        self._tree.hashed.note(version)

    def activate(self, ref: ModelRef, version: Version) -> Active:
        """Switches the channel's link; durable when it returns. A version that is not proven is proved first.

        Raises as `prove`.
        """
        if version not in self._papers:
            raise DamageError(f"{version.model}:{version.number} has lost its papers", safe="it is fetched again")
        self.prove(version)
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
        self._forget(manifest)
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
            manifest = self._tree.manifest(version.manifest)
            if self._tree.holds(version) and not has_shape(self._tree.layout.version(version), manifest):
                self._tree.quarantine(version)
        except ModelsyncError as error:
            Log().failure("papers.unreadable", error, model=str(version.model), version=version.number)
            if isinstance(error, DamageError | NotFoundError | BadInputError):
                with suppress(DiskError):  # no room for a mark: without papers it is not held in any case
                    self._tree.quarantine(version)
            return None
        only = manifest.files[0].path if len(manifest.files) == 1 else ""
        return Papers(self._tree.release_digest(version), dict(release.labels), size, only)

    def _note_damage(self, damaged: frozenset[Version]) -> None:
        """Says once of each version that it is damaged now, whoever found out."""
        for version in sorted(damaged - self._damaged):
            Log().warning("version.damaged", model=str(version.model), version=version.number, digest=version.manifest)
        self._damaged = damaged

    def _pause(self) -> None:
        if self._stopping.is_set():
            raise ConflictError("the agent is stopping", safe="nothing was switched")

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

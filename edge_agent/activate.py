"""The only place that carries plans out on the disk: links are switched, versions pruned, and what lies there is told.

It holds nothing but what it has read of versions that never change, so that looking around costs no more than a few
links: a big model's manifest is read once, not at each look.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from edge_agent.leases import Leases
from edge_agent.quota import Room, reserve
from edge_agent.stock import Stock
from edge_agent.watchers import Active
from modelsyncd.daemon.log import Log
from modelsyncd.digest import Digest
from modelsyncd.errors import BadInputError, ConflictError, DamageError, DiskError, ModelsyncError, NotFoundError
from modelsyncd.names import ModelRef
from modelsyncd.store.cache import Cache
from modelsyncd.store.durable import disk_errors
from modelsyncd.store.failpoints import Point, passing
from modelsyncd.store.layout import target_of
from modelsyncd.store.tree import EdgeTree, Shown
from modelsyncd.store.usage import last_used, note_use, taken
from modelsyncd.store.version import Version, has_shape

_OVERLOADED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}


@dataclass(frozen=True, slots=True)
class Papers:
    """What a version's release and manifest say: `only` is the path of its only file or ""; `taken` bytes of disk.

    `variant` is its name, and `forms` how many the release has.
    """

    release: Digest
    labels: dict[str, str]
    only: str
    taken: int
    variant: str
    forms: int


class TreeStore:
    """edge_agent.stock.Store over a node's folder.

    Looking and tidying take one thread at a time, and switching another; `prove` and `disk` go beside all else.
    """

    def __init__(
        self,
        tree: EdgeTree,
        cache: Cache,
        forget: Callable[[Digest], None] = lambda _: None,
        *,
        quota: int = 0,
        pins: frozenset[ModelRef] = frozenset(),
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.tree = tree
        self._forget = forget  # told before what is staged of a manifest is deleted
        self._cache = cache
        self._quota = quota
        self._pins = pins
        self._wall = wall
        self._papers: dict[Version, Papers] = {}
        self._damaged: frozenset[Version] = frozenset()
        self._used = 0
        self.besides: Callable[[], int] = lambda: 0
        """Bytes that this node keeps beside models on the disk: what waits to be published."""
        self.leases = Leases(self.used)
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Lets reading under way end early, with ConflictError."""
        self._stopping.set()

    def observe(self) -> Stock:
        """What is there now. A version that is seen first is damaged if its papers or its files' sizes are wrong.

        Raises DiskError.
        """
        return self._observed(self._papers)

    def _observed(self, before: Mapping[Version, Papers]) -> Stock:
        shown = self.tree.observed()
        known = shown.held | shown.damaged
        mended = self._damaged & shown.held  # other files lie there now
        papers = {one: self._papers_of(one, None if one in mended else before.get(one)) for one in known}
        self._papers = {version: found for version, found in papers.items() if found is not None}
        held = frozenset(version for version in known if self.tree.holds(version) and version in self._papers)
        self._note_damage(known - held)
        active = {ref: self._active(ref, one) for ref, one in shown.active.items() if one in self._papers}
        room = self._room(shown, held)
        self._used = room.used
        return Stock(held, known - held, active, shown.previous, shown.staged, room)

    def inspect(self) -> Stock:
        """As `observe`, with every version seen as if for the first time. Raises DiskError."""
        return self._observed({})

    def proven(self, version: Version) -> bool:
        """Whether all of its bytes were found right a moment ago. Touches no disk."""
        return self.tree.hashed.lately(version)

    def prove(self, version: Version) -> None:
        """Reads a version back unless that was done a moment ago, and marks it when a byte is wrong.

        Raises DamageError, NotFoundError when it was removed meanwhile, DiskError; ConflictError after `stop`.
        """
        if self.proven(version):
            return
        began = time.monotonic()
        wrong = sum(1 for _ in self.tree.verify(version, self._pause))
        took = time.monotonic() - began
        Log().info("version.read", model=str(version.model), version=version.number, damaged=wrong, took_s=took)
        if wrong:
            self.tree.quarantine(version)
            raise DamageError(
                f"{version.model}:{version.number} is damaged on this node's disk in {wrong} places",
                safe="the channel leads where it led",
                hint="what is damaged is fetched again; look at the disk if it happens again",
            )
        self.tree.hashed.note(version)

    def activate(self, ref: ModelRef, version: Version) -> Active:
        """Switches the channel's link; durable when it returns. A version that is not proven is proved first.

        Raises as `prove`.
        """
        left = self._ready(ref, version)
        self.tree.activate(ref, version)
        return self._switched(ref, version, left)

    def try_out(self, ref: ModelRef, version: Version, back: Version | None) -> Active:
        """As `activate`, for a version that has to prove itself: what counts as the one before is `back`."""
        left = self._ready(ref, version)
        self.tree.lead(ref, version, target_of(back) if back is not None else None)
        return self._switched(ref, version, left)

    def go_back(self, ref: ModelRef, version: Version) -> Active:
        """Leads the channel back to what proved itself, at once: by one rename, and without reading it.

        Raises DiskError, NotFoundError, DamageError.
        """
        self._demand_papers(version)
        self.tree.lead(ref, version, target_of(version))
        passing(Point.CHANNEL_LED_BACK)
        self.used(version)
        return self._active(ref, version)

    def _ready(self, ref: ModelRef, version: Version) -> Version | None:
        """Looks whether nobody is harmed by a switch to it; what the channel leads to. Raises as `prove`."""
        self._demand_papers(version)
        self.prove(version)
        return self.tree.active(ref)

    def _demand_papers(self, version: Version) -> None:
        if version not in self._papers:
            raise DamageError(
                f"{version.model}:{version.number} has lost its papers",
                safe="the channel leads where it led",
                hint="they are fetched again with the next try; look at the disk if it happens again",
            )

    def _switched(self, ref: ModelRef, version: Version, left: Version | None) -> Active:
        passing(Point.CHANNEL_SWITCHED)
        for one in {version, left} - {None}:
            self.used(one)
        return self._active(ref, version)

    def used(self, version: Version | None) -> None:
        """Notes that somebody uses a version, or did until now. Never raises."""
        if version is not None:
            note_use(self.tree.layout.version(version), self._wall())

    def unlink(self, ref: ModelRef) -> None:
        """Removes the channel's link. Raises DiskError."""
        self.used(self.tree.active(ref))
        self.tree.unlink(ref)

    def prune(self, version: Version) -> None:
        """Deletes a version, and all notes about its chunks unless another one has the same.

        Raises DiskError, ConflictError when a channel leads to it, or somebody holds it since it was decided that it
        goes. Who holds one looks afterwards whether it is there, so one of the two sees the other.
        """
        if version in self.leases.held():
            raise ConflictError(f"{version.model}:{version.number} is in use", safe="it stays")
        self.tree.remove(version)
        passing(Point.VERSION_PRUNED)
        if not self.tree.folders(version.manifest) and version.manifest not in self.tree.staged():
            self._cache.drop(version.manifest)

    def discard(self, manifest: Digest) -> None:
        """Deletes what is staged of a manifest. Raises DiskError."""
        self._forget(manifest)
        self.tree.discard(manifest)
        passing(Point.STAGING_DISCARDED)
        if not self.tree.folders(manifest):
            self._cache.drop(manifest)

    def disk(self) -> tuple[int, int]:
        """Bytes free for us on the file system, and bytes that versions and staging took at the last look."""
        return self._disk()[0], self._used

    def left(self) -> int:
        """Bytes that may still be written: what the disk has free now, and the node's own quota. Raises DiskError."""
        free, total = self._disk()
        left = free - reserve(total)
        return min(left, self._quota - self._used) if self._quota else left

    def _papers_of(self, version: Version, known: Papers | None) -> Papers | None:
        if known is not None and known.release == self.tree.release_digest(version):
            return known
        try:
            release = self.tree.release(version)
            manifest = self.tree.manifest(version.manifest)
            if self.tree.holds(version) and not has_shape(self.tree.layout.version(version), manifest):
                self.tree.quarantine(version)
        except ModelsyncError as error:
            Log().failure("papers.unreadable", error, model=str(version.model), version=version.number)
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in _OVERLOADED:
                raise  # it says nothing about this version, which is to be seen as it is at the next look
            if isinstance(error, DamageError | NotFoundError | BadInputError):
                with suppress(DiskError):  # no room for a mark: without papers it is not held in any case
                    self.tree.quarantine(version)
            return None
        only = manifest.files[0].path if len(manifest.files) == 1 else ""
        size = taken(self.tree.layout.version(version))
        variant = release.variant(version.manifest).name
        digest, labels = self.tree.release_digest(version), dict(release.labels)
        return Papers(digest, labels, only, size, variant, len(release.variants))

    def _room(self, shown: Shown, held: frozenset[Version]) -> Room:
        """Raises DiskError."""
        layout = self.tree.layout
        free, total = self._disk()
        versions = {version: papers.taken for version, papers in self._papers.items()}
        for version in (shown.held | shown.damaged) - versions.keys():
            versions[version] = taken(layout.version(version))
        staged = {one: taken(layout.staged(one)) + taken(layout.staged_manifest(one)) for one in shown.staged}
        papers = taken(layout.manifests) + taken(layout.releases)
        return Room(
            free=free - reserve(total),
            used=sum(versions.values()) + sum(staged.values()) + papers + self.besides(),
            quota=self._quota,
            pins=self._pins,
            versions=versions,
            staged=staged,
            last_used={version: last_used(layout.version(version)) for version in held},
        )

    def _disk(self) -> tuple[int, int]:
        """Bytes free for us, and bytes of the file system. Raises DiskError."""
        root = self.tree.layout.root
        with disk_errors(root):
            system = os.statvfs(root)
        return system.f_bavail * system.f_frsize, system.f_blocks * system.f_frsize

    def _note_damage(self, damaged: frozenset[Version]) -> None:
        """Says once of each version that it is damaged now, whoever found out."""
        for version in sorted(damaged - self._damaged):
            Log().warning("version.damaged", model=str(version.model), version=version.number, digest=version.manifest)
        self._damaged = damaged

    def _pause(self) -> None:
        if self._stopping.is_set():
            raise ConflictError("the agent is stopping", safe="nothing was switched")

    def _active(self, ref: ModelRef, version: Version) -> Active:
        layout, papers = self.tree.layout, self._papers[version]
        return Active(
            ref=ref,
            number=version.number,
            manifest=version.manifest,
            release=papers.release,
            path=layout.version(version) / papers.only,
            channel_path=layout.channel(ref) / papers.only,
            since=self.tree.active_since(ref),
            labels=papers.labels,
            variant=papers.variant,
            forms=papers.forms,
        )

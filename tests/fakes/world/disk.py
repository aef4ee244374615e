"""What lies on a node's disk, and what becomes of it when the node is killed or its power fails.

Chunks are durable when `keep` has returned. Of those that were being written when it died, some lie there, some are
torn: a survey hashes them, as the real one does, and what is wrong is missing.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from edge_agent.orders import Orders
from edge_agent.stock import Stock
from edge_agent.watchers import Active
from modelsyncd.digest import Digest, digest_of
from modelsyncd.errors import ConflictError, DamageError, NotFoundError
from modelsyncd.manifest import pieces
from modelsyncd.names import ModelRef
from modelsyncd.session.frames import Desired, Part
from modelsyncd.store.durable import disk_error
from modelsyncd.store.version import Version
from modelsyncd.wire import nouns
from tests.fakes.versions import Published

Chunks = dict[int, bytes]


_CUT: dict[tuple[Digest, Part], list[bytes]] = {}


def chunks_of(what: Published, part: Part) -> list[bytes]:
    """The plain bytes of each chunk of one part; they are cut once."""
    key = (what.version.manifest, part)
    if key not in _CUT:
        content = part is Part.CONTENT
        _CUT[key] = what.chunks if content else [bytes(piece) for piece in pieces(what.manifest_bytes)]
    return _CUT[key]


def forget_chunks() -> None:
    """Another world has other releases."""
    _CUT.clear()


class HalfSeenError(AssertionError):
    """Promise 2 is broken: a version can be seen that is not whole, or not right."""


@dataclass
class Disk:
    """A node's disk; it outlives the node's process. `library` is every release that there is, by manifest."""

    library: Mapping[Digest, Published]
    rng: Random
    versions: dict[Version, Chunks] = field(default_factory=dict)
    staging: dict[tuple[Digest, Part], Chunks] = field(default_factory=dict)
    links: dict[ModelRef, Version] = field(default_factory=dict)
    before: dict[ModelRef, Version] = field(default_factory=dict)
    desired: bytes | None = None
    full: bool = False
    """Whether there is no room for more."""
    writing: dict[tuple[Digest, Part], Chunks] = field(default_factory=dict)
    lost: int = 0
    """Plain bytes that were written and not durable when it died."""

    def die(self) -> None:
        """The process or the power is gone; what was being written is there in part."""
        for key, chunks in self.writing.items():
            for ordinal, plain in chunks.items():
                self.lost += len(plain)
                if self.rng.random() < 0.5:
                    torn = self.rng.random() < 0.5
                    self.staging.setdefault(key, {})[ordinal] = plain[: len(plain) // 2] if torn else plain
        self.writing.clear()

    def check_room(self) -> None:
        """Raises DiskFullError."""
        if self.full:
            raise disk_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), Path("disk"))

    def chunks(self, manifest: Digest, part: Part) -> list[bytes]:
        """As they were published."""
        return chunks_of(self.library[manifest], part)

    def durable(self, manifest: Digest, part: Part) -> Chunks:
        """What is staged and right."""
        there = self.staging.get((manifest, part), {})
        wanted = self.chunks(manifest, part)
        return {n: plain for n, plain in there.items() if plain == wanted[n]}

    def install(self, version: Version) -> None:
        """Makes a version of what is staged. Raises DamageError when something is missing."""
        wanted = self.chunks(version.manifest, Part.CONTENT)
        there = self.durable(version.manifest, Part.CONTENT)
        if len(there) < len(wanted):
            raise DamageError("something is missing")
        self.versions[version] = there
        for part in Part:
            self.staging.pop((version.manifest, part), None)

    def judge(self) -> None:
        """The oracle: each version that a channel leads to is byte-exact. Raises HalfSeenError."""
        for ref, version in self.links.items():
            wanted = self.chunks(version.manifest, Part.CONTENT)
            held = self.versions.get(version)
            if held is None or [held.get(n) for n in range(len(wanted))] != wanted:
                raise HalfSeenError(f"{ref} leads to {version.number}, which is not whole")


class DiskStore:
    """The steward's Store. It goes with its process: a dead one changes nothing any more."""

    def __init__(self, disk: Disk, forgot: Callable[[Digest], None]) -> None:
        self._disk = disk
        self._forgot = forgot
        self.alive = True

    def observe(self) -> Stock:
        disk = self._disk
        return Stock(
            held=frozenset(disk.versions),
            active={ref: self._active(ref, version) for ref, version in disk.links.items()},
            previous=dict(disk.before),
            staged=frozenset(manifest for manifest, _ in disk.staging),
        )

    def inspect(self) -> Stock:
        return self.observe()

    def proven(self, version: Version) -> bool:
        return True

    def prove(self, version: Version) -> None:
        return

    def activate(self, ref: ModelRef, version: Version) -> Active:
        if version not in self._disk.versions:
            raise NotFoundError("no such version")
        if self.alive:
            self._disk.check_room()
            before = self._disk.links.get(ref)
            self._disk.links[ref] = version
            if before is not None and before != version:
                self._disk.before[ref] = before
            self._disk.judge()
        return self._active(ref, version)

    def try_out(self, ref: ModelRef, version: Version, back: Version | None) -> Active:
        before = self._disk.before.get(ref)
        active = self.activate(ref, version)
        noted = back or before
        if self.alive and noted is not None:
            self._disk.before[ref] = noted
        return active

    def go_back(self, ref: ModelRef, version: Version) -> Active:
        return self.try_out(ref, version, version)

    def unlink(self, ref: ModelRef) -> None:
        if self.alive:
            self._disk.links.pop(ref, None)
            self._disk.before.pop(ref, None)

    def prune(self, version: Version) -> None:
        if version in self._disk.links.values():  # as the real one: it was switched to while this waited for its thread
            raise ConflictError(f"{version.model}:{version.number} is active", safe="it stays")
        if self.alive:
            self._disk.versions.pop(version, None)
            self._disk.judge()
            self._forgot(version.manifest)

    def discard(self, manifest: Digest) -> None:
        if self.alive:
            for part in Part:
                self._disk.staging.pop((manifest, part), None)
            self._forgot(manifest)

    def disk(self) -> tuple[int, int]:
        return (0 if self._disk.full else 1 << 40), 0

    def _active(self, ref: ModelRef, version: Version) -> Active:
        release = digest_of(self._disk.library[version.manifest].offer.release.release)
        return Active(ref, version.number, version.manifest, release, Path("disk"), Path("disk"))


class DiskOrders(Orders):
    """The hub's last word, on that disk."""

    def __init__(self, disk: Disk, store: DiskStore) -> None:
        self._disk = disk
        self._store = store

    def load(self) -> Desired | None:
        return None if self._disk.desired is None else nouns.decode_desired(self._disk.desired)

    def save(self, desired: Desired) -> None:
        self._disk.check_room()
        if self._store.alive:
            self._disk.desired = nouns.encode_desired(desired)

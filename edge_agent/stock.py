"""The only place that says what lies on a node, as one value: what is held, what is active, what is half-fetched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from edge_agent.quota import Room
from edge_agent.watchers import Active
from modelsyncd.digest import Digest
from modelsyncd.names import ModelRef
from modelsyncd.store.version import Version


@dataclass(frozen=True, slots=True)
class Stock:
    """The versions that are whole, those that are damaged, what each channel leads to and led to before, and manifests
    staged in part. `room` is None where nobody counts it.
    """

    held: frozenset[Version] = frozenset()
    damaged: frozenset[Version] = frozenset()
    active: Mapping[ModelRef, Active] = field(default_factory=dict)
    previous: Mapping[ModelRef, Version] = field(default_factory=dict)
    staged: frozenset[Digest] = frozenset()
    room: Room | None = None

    def serving(self, ref: ModelRef) -> Active | None:
        """What the channel leads to; None while there is nothing, or while it is known to be damaged."""
        active = self.active.get(ref)
        return active if active is not None and active.version in self.held else None

    def mended(self, before: Stock) -> Iterator[Active]:
        """What is handed out now, and could not be `before` though the channel led to it or to another."""
        for ref in self.active:
            active, was = self.serving(ref), before.active.get(ref)
            if active is not None and was is not None and was.version not in before.held:
                yield active


class Store(Protocol):
    """What carrying out a plan asks of the disk. Synchronous: the caller hops to a thread, once for each call.

    What switches a channel may be called while another thread looks or tidies.
    """

    def observe(self) -> Stock:
        """What is there now. Raises DiskError."""

    def inspect(self) -> Stock:
        """As `observe`, and believes nothing that was seen before: somebody may have laid hands on it."""

    def proven(self, version: Version) -> bool:
        """Whether all of its bytes were found right a moment ago. Touches no disk."""

    def prove(self, version: Version) -> None:
        """Reads a version back; a damaged one is not held from then on. May take minutes, beside all other calls.

        Raises DamageError, NotFoundError, DiskError; ConflictError when it was stopped.
        """

    def activate(self, ref: ModelRef, version: Version) -> Active:
        """Switches the channel's link to a version that is proven; durable when it returns.

        Raises DiskError, NotFoundError, DamageError.
        """

    def try_out(self, ref: ModelRef, version: Version, back: Version | None) -> Active:
        """As `activate`, for a version that has to prove itself: what counts as the one before is `back`."""

    def go_back(self, ref: ModelRef, version: Version) -> Active:
        """Leads the channel back to what proved itself, at once: by one rename, and without reading it.

        Raises DiskError, NotFoundError, DamageError.
        """

    def unlink(self, ref: ModelRef) -> None:
        """Removes the channel's link. Raises DiskError."""

    def prune(self, version: Version) -> None:
        """Deletes a version. Raises DiskError."""

    def discard(self, manifest: Digest) -> None:
        """Deletes what is staged of a manifest. Raises DiskError."""

    def disk(self) -> tuple[int, int]:
        """Bytes free for us on the file system, and bytes that versions and staging take. Raises DiskError."""

"""The only place that says how much room a node has for models: what the disk has free, and what it may take.

All sizes are bytes as the file system counts blocks (`store/usage`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from modelsyncd.digest import Digest
from modelsyncd.names import ModelRef
from modelsyncd.store.version import Version

RESERVE = 16 << 20  # bytes that no transfer may take: the cache, its log, papers and orders are written meanwhile
SMALL = 16  # a disk of less than SMALL * RESERVE keeps back a share of its size instead: 3 MiB of 48 MiB
BLOCK = 4_096  # bytes: what the last block of a file takes beyond its size, at most, on the file systems of nodes
PAPERS = 64 << 10  # bytes for folders, a release and other small things around one version


@dataclass(frozen=True, slots=True)
class Room:
    """What there is at one look. `quota` and `pins` are the node's own settings; a quota of 0 is none."""

    free: int
    """Without what is kept in reserve; below zero when the disk is fuller than that."""
    used: int
    """By versions, by what is on its way, and by papers."""
    quota: int = 0
    pins: frozenset[ModelRef] = frozenset()
    versions: Mapping[Version, int] = field(default_factory=dict)
    staged: Mapping[Digest, int] = field(default_factory=dict)
    last_used: Mapping[Version, float] = field(default_factory=dict)
    """Seconds since 1970 UTC."""

    def left(self, quota: int = 0) -> int:
        """Bytes that may still be written, below zero when it is too much already. `quota` is the hub's word."""
        limits = [limit for limit in (self.quota, quota) if limit]
        return min([self.free, *(limit - self.used for limit in limits)])


def reserve(disk: int) -> int:
    """What stays free of a disk with so many bytes."""
    return min(RESERVE, disk // SMALL)


def needed(size: int, files: int, manifest: int) -> int:
    """Room that a version takes at most while it is fetched; `manifest` are the bytes of its manifest.

    The manifest counts twice: its pieces are on the disk until it is put together.
    """
    return size + files * BLOCK + 2 * manifest + PAPERS

"""The only place that says what a job in the cloud gets to know of a release: frozen values, no connection behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A release that another came from, and how: "fine-tuned-from", "aggregated-from", …"""

    name: str
    """namespace/name."""
    number: int
    role: str

    @property
    def ref(self) -> str:
        """namespace/name:number."""
        return f"{self.name}:{self.number}"


@dataclass(frozen=True, slots=True)
class Release:
    """What a hub says of a release, without its content: `get` and `acquire` fetch that."""

    name: str
    """namespace/name."""
    number: int
    """Release number: 1, 2, 3, …"""
    manifest: str
    """Digest of the version's manifest, "b3:" and hex; empty for a bundle without content of its own."""
    release: str
    """Digest of the release, "b3:" and hex."""
    size: int
    """Plain bytes of the content."""
    labels: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    parents: tuple[Ancestor, ...] = ()
    producer: str = ""
    """Who published it: "admin/NAME" or "node/NAME"; the hub has checked that."""
    note: str = ""
    committed_at: float = 0.0
    """Seconds since 1970 UTC, by the hub's clock."""
    channels: tuple[str, ...] = ()
    """Channels that named it when this was told."""

    @property
    def ref(self) -> str:
        """namespace/name:number."""
        return f"{self.name}:{self.number}"


@dataclass(frozen=True, slots=True)
class Node:
    """A node, as the hub sees it; `last_seen` is seconds since 1970 UTC, 0 for never."""

    name: str
    online: bool
    labels: Mapping[str, str] = field(default_factory=dict)
    last_seen: float = 0.0

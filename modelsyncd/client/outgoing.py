"""The only place that says what a job gets to know of what it publishes: frozen values, no connection behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Step:
    """How far a publication is, in plain bytes; `wire` are the payload bytes that travelled."""

    stage: str
    """"reading", then "stored" once, then "sending"."""
    done: int
    total: int
    wire: int = 0
    waits: str = ""
    """Why nothing moves, in a sentence; empty while something does."""


Watcher = Callable[[Step], object]
"""Told of each step; it must not block."""


@dataclass(frozen=True, slots=True)
class Published:
    """What came of a publication. `number` is 0 while the hub does not have it: then it waits in the outbox as `id`."""

    model: str
    """namespace/name."""
    id: str
    manifest: str
    """Digest of the version's manifest, "b3:" and hex."""
    size: int
    """Plain bytes."""
    known: bool = False
    """Whether the same content waited in the outbox already."""
    number: int = 0
    release: str = ""
    """Digest of the release, "b3:" and hex; empty while the hub does not have it."""
    created: bool = False
    """Whether this made the release; False when the hub had the same content already."""
    wire: int = 0
    """Payload bytes that travelled."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Something in the outbox; `stored_at` is seconds since 1970 UTC, bytes are plain but `wire`."""

    id: str
    model: str
    channel: str
    manifest: str
    done: int
    total: int
    wire: int
    stored_at: float
    waits: str
    """Why it does not move, in a sentence; empty while it does."""
    refused: bool
    """Whether the hub refused it: it stays until it is withdrawn, or sent again after somebody acted."""
    user: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outbox:
    """What is not on the hub yet: publications in the order in which they are sent, and how many numbers."""

    items: tuple[Waiting, ...]
    records: int

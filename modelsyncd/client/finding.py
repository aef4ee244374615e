"""The only place that says what a search comes to: frozen values, no connection behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

Values = tuple[str | float, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A release that was found."""

    name: str
    """namespace/name."""
    number: int
    """Release number."""
    channels: tuple[str, ...] = ()
    """Channels that name it now."""
    fields: Mapping[str, Values] = field(default_factory=dict)
    """All different values of the fields that were asked for, by their full names, as in "metrics.precision"."""
    committed_at: float = 0.0
    """Seconds since 1970 UTC, by the hub's clock."""
    producer: str = ""
    """Who published it: "admin/NAME" or "node/NAME"."""

    @property
    def ref(self) -> str:
        """namespace/name:number."""
        return f"{self.name}:{self.number}"


@dataclass(frozen=True, slots=True)
class Findings:
    """Some releases, as sorted; `total` is how many there are. To be iterated."""

    releases: tuple[Found, ...]
    total: int
    heard_at: float
    """When this machine's agent heard the hub last, seconds since 1970 UTC; 0 for never."""

    def __iter__(self) -> Iterator[Found]:
        return iter(self.releases)

    def __len__(self) -> int:
        return len(self.releases)

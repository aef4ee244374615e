"""The only place that says what the catalogue answers with: frozen values, times in seconds since 1970 UTC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cloud_hub.catalog.bounds import Bounds
from modelsyncd.digest import Digest
from modelsyncd.names import ModelName
from modelsyncd.release import SignedRelease, Variant
from modelsyncd.session.frames import Facts


@dataclass(frozen=True, slots=True)
class ReleaseRow:
    """A committed release: its bytes exactly as published, and the channels that name it now, by name."""

    model: ModelName
    number: int
    digest: Digest
    signed: SignedRelease
    variants: tuple[Variant, ...]
    channels: tuple[str, ...]
    committed_at: float
    who: str


@dataclass(frozen=True, slots=True)
class ChannelRow:
    """A channel and the number that it names; `moved_at` is when it was last moved."""

    name: str
    number: int
    moved_at: float


@dataclass(frozen=True, slots=True)
class MoveRow:
    """A move of a channel: `kind` is "push", "promote", "rollback" or "rule"; numbers are equal when nothing moved.

    `from_number` is 0 when the channel named nothing before.
    """

    model: ModelName
    channel: str
    from_number: int
    to_number: int
    who: str
    at: float
    kind: str
    note: str = ""

    @property
    def why(self) -> str:
        """The kind, and the note if there is one."""
        return f"{self.kind}: {self.note}" if self.note else self.kind

    @property
    def moved(self) -> bool:
        """Whether the channel names another release than before."""
        return self.from_number != self.to_number


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A model with its newest release, how many it has, and its channels by name."""

    model: ModelName
    newest: ReleaseRow
    releases: int
    channels: tuple[ChannelRow, ...]


@dataclass(frozen=True, slots=True)
class HistoryPlace:
    """Where a model's past is gone on with: with releases of smaller numbers, and moves of smaller ids."""

    number: int
    move: int


@dataclass(frozen=True, slots=True)
class HistoryRows:
    """A model's past, newest first; `move_ids` are those of the moves."""

    releases: tuple[ReleaseRow, ...]
    moves: tuple[MoveRow, ...]
    move_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A node: `enrolled_at` is 0 while it is invited only, `last_seen` and `reported_at` are 0 for never.

    `report` is the last Report as the node's bytes, empty for none. `facts` are what it said of itself.
    """

    name: str
    labels: Mapping[str, str]
    enrolled_at: float
    last_seen: float
    software: str
    report: bytes
    reported_at: float
    facts: Facts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AssignmentRow:
    """Who follows a channel: the node called `node`, or (when that is None) every node with all of these labels."""

    model: ModelName
    channel: str
    node: str | None
    selector: Mapping[str, str]
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Followed:
    """A channel that a node follows, with the highest priority asked for; `release` is None while it names none."""

    model: ModelName
    channel: str
    priority: int
    release: ReleaseRow | None


@dataclass(frozen=True, slots=True)
class DesiredRows:
    """All that a node's Desired is made of, as it was at this revision."""

    revision: int
    labels: Mapping[str, str]
    followed: Sequence[Followed]
    bounds: Bounds
    facts: Facts = field(default_factory=dict)

"""The only list of the words in which jobs and outbox talk: frozen values, and what an outbox does with them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from modelsyncd.digest import Digest
from modelsyncd.names import ModelName, ModelRef
from modelsyncd.session.frames import Fault

FINE_TUNED = "fine-tuned-from"


@dataclass(frozen=True, slots=True)
class Origin:
    """A release that a published one came from: by channel or by number, resolved when it is stored."""

    ref: ModelRef
    role: str = FINE_TUNED


@dataclass(frozen=True, slots=True)
class Publication:
    """What somebody wants published; `path` is a folder or file of this machine, `channel` is moved to it, "" for none.

    `user` is the local user's name, for people.
    """

    path: Path
    model: ModelName
    channel: str = ""
    parents: tuple[Origin, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    user: str = ""


@dataclass(frozen=True, slots=True)
class Stored:
    """It is durable here; `known` when the same waited already, whose `id` this is then. `size` is plain bytes."""

    id: str
    manifest: Digest
    size: int
    known: bool = False


@dataclass(frozen=True, slots=True)
class Sending:
    """How far it is, in plain bytes but `wire`; `waits` says why nothing moves, "" while something does."""

    done: int
    total: int
    wire: int
    waits: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """The hub has it under this number; `created` is False when it had the same content already."""

    model: ModelName
    number: int
    release: Digest
    created: bool
    wire: int


@dataclass(frozen=True, slots=True)
class Item:
    """Something in the outbox; `refused` says that it stays until somebody acts. Seconds are since 1970 UTC."""

    id: str
    publication: Publication
    manifest: Digest
    sending: Sending
    stored_at: float
    fault: Fault | None = None
    next_try: float = 0.0
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Measured:
    """A number about a release; `at` is seconds since 1970 UTC. `key` (16 bytes) names it where it may be handed in
    more than once and is to count once; without it each time counts.
    """

    model: ModelName
    number: int
    name: str
    value: float
    dataset: str = ""
    stage: str = ""
    at: float = 0.0
    key: bytes = b""
    variant: str = ""
    """Which form of the release was measured; "" for the release as a whole."""


class Outbox(Protocol):
    """What jobs ask of an outbox. Its methods belong to the loop's thread."""

    async def store(
        self,
        wanted: Publication,
        reading: Callable[[int, int], None] = lambda _done, _total: None,
        check: Callable[[], None] = lambda: None,
    ) -> Stored:
        """Keeps a copy; durable when it returns, whatever becomes of `wanted.path`. `reading` is
        told bytes (done, total), by any thread. `check` is called in a thread when all of the path was read, and before
        any of it counts or travels: what it raises ends the storing, and nothing is kept.

        Raises NotFoundError, BadInputError and its kind, SourceChangedError, DiskFullError, DiskError.
        """

    def follow(self, id: str) -> AsyncIterator[Sending | Done]:  # noqa: A002
        """How it goes on, until it is done. Raises NotFoundError, and whatever the hub refused it with."""

    def items(self) -> Sequence[Item]:
        """What is not on the hub yet, in the order in which it is sent."""

    def withdraw(self, id: str) -> bool:  # noqa: A002
        """Takes something out. Whether it was being sent: then the hub may have published it in the same moment.

        Raises NotFoundError, ConflictError when the hub is known to have it.
        """

    def hasten(self) -> None:
        """Tries at once what waits, also what was refused: somebody acted."""

    async def record(self, numbers: Sequence[Measured]) -> None:
        """Keeps numbers until the hub has them, once each; durable when it returns. Raises DiskError, DiskFullError."""

    @property
    def records(self) -> int:
        """How many numbers are not on the hub yet."""

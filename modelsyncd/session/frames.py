"""What can be said in a session: one frozen value for each word of protos/modelsyncd/wire/v1/sync.proto."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from modelsyncd.bases import Run
from modelsyncd.codec.registry import Codec
from modelsyncd.digest import Digest
from modelsyncd.names import ModelName
from modelsyncd.release import SignedRelease

PROTOCOL = 1


class Part(Enum):
    """Which list an ordinal counts in."""

    MANIFEST = 1
    CONTENT = 2


class Phase(Enum):
    """What a node does about an assignment right now; docs/glossary.md says what each means."""

    WANTED = 1
    FETCHING = 2
    STAGED = 3
    VERIFIED = 4
    ACTIVATING = 5
    CONFIRMING = 6
    ACTIVE = 7
    REFUSED = 8
    FAILED = 9
    ROLLED_BACK = 10


@dataclass(frozen=True, slots=True)
class Fault:
    """An error as it travels: `code` for programs, the sentences for people."""

    code: str
    message: str
    safe: str = ""
    hint: str = ""
    retryable: bool = False


@dataclass(frozen=True, slots=True)
class Hello:
    """Who speaks and what it understands; first frame of each side."""

    protocol: int
    software: str
    codecs: frozenset[Codec]
    holds: tuple[Digest, ...] = ()


@dataclass(frozen=True, slots=True)
class Offer:
    """I have this release whole and will serve its `manifest`. `channel` is moved to it when a push is committed."""

    release: SignedRelease
    manifest: Digest
    channel: str = ""


@dataclass(frozen=True, slots=True)
class Assignment:
    """A model's channel that a node follows; `offer` is None while the channel names no release."""

    model: ModelName
    channel: str
    offer: Offer | None
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Desired:
    """All that a node should hold, in full; `keep` versions of each model stay on the node."""

    generation: int
    assignments: tuple[Assignment, ...]
    keep: int = 2


@dataclass(frozen=True, slots=True)
class Want:
    """A request and a credit for the chunks in `ranges` (ordinals), in Gives of `frame_bytes` payload at most.

    `missing_bytes` (plain, of this part) tells the giver how far the taker has come.
    """

    manifest: Digest
    part: Part
    ranges: tuple[range, ...]
    bases: tuple[Digest, ...] = ()
    frame_bytes: int = 0
    missing_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Base:
    """What a chunk was coded against: runs of plain bytes of a manifest that the taker holds whole, end to end."""

    manifest: Digest
    runs: tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class Give:
    """A chunk, or the part of an encoded chunk that starts at `offset` of its `encoded_size` bytes.

    `cpu` is what encoding the whole chunk cost the giver, in microseconds; said with the last part.
    """

    manifest: Digest
    part: Part
    ordinal: int
    codec: Codec
    encoded_size: int
    offset: int
    payload: bytes | memoryview
    base: Base | None = None
    cpu: int = 0


@dataclass(frozen=True, slots=True)
class Settle:
    """Every chunk is verified and durable at the taker; `created` is False when identical content was there already.

    `coded` plain bytes came coded against a base; the taker spent `cpu` microseconds on decoding and checking.
    """

    manifest: Digest
    number: int
    created: bool
    release_digest: Digest
    coded: int = 0
    cpu: int = 0


@dataclass(frozen=True, slots=True)
class Refuse:
    """This can't be done, and why. Without a manifest it ends the session."""

    fault: Fault
    manifest: Digest | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one assignment stands on a node; numbers are 0 for none, bytes are plain but `bytes_wire`.

    `bytes_coded` of the plain bytes came coded against a base; `giver_cpu` and `taker_cpu` are seconds.
    """

    model: ModelName
    channel: str
    phase: Phase
    desired: int = 0
    staged: int = 0
    active: int = 0
    bytes_total: int = 0
    bytes_done: int = 0
    bytes_had: int = 0
    bytes_wire: int = 0
    fault: Fault | None = None
    next_try: float = 0.0
    bytes_coded: int = 0
    giver_cpu: float = 0.0
    taker_cpu: float = 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """Where a node stands, in full; disk in bytes."""

    generation: int
    standings: tuple[Standing, ...]
    disk_free: int = 0
    disk_used: int = 0


@dataclass(frozen=True, slots=True)
class Unknown:
    """A frame that this version has no word for; `field` is its protobuf field number, 0 when there was none."""

    field: int


Frame = Hello | Desired | Offer | Want | Give | Settle | Report | Refuse | Unknown

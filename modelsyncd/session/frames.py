"""What can be said in a session: one frozen value for each word of protos/modelsyncd/wire/v1/sync.proto."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from modelsyncd.bases import Run
from modelsyncd.codec.registry import Codec
from modelsyncd.digest import Digest
from modelsyncd.manners import FREE, Manners
from modelsyncd.names import ModelName, ModelRef
from modelsyncd.plan import Forecast, Priced
from modelsyncd.release import SignedRelease
from modelsyncd.session.fault import Fault as Fault  # noqa: PLC0414 - said here with all other words

PROTOCOL = 1

Facts = Mapping[str, tuple[str, ...]]
"""What a node found out about itself: values by name (see `fitting.py`)."""


class Part(Enum):
    """Which list an ordinal counts in."""

    MANIFEST = 1
    CONTENT = 2


class Feature(Enum):
    """A word that came after the first version, and is said only to those who said that they answer it."""

    QUOTES = 1
    ECHO = 2
    TERSE = 3
    TIDINGS = 4


FEATURES = frozenset({Feature.ECHO, Feature.TERSE})
"""What every session of this version answers; who can say what chunks will take, answers QUOTES, too.

A node that keeps an extract of the catalogue also heeds TIDINGS.
"""


class Hold(Enum):
    """What holds an assignment up though nothing went wrong."""

    NONE = 0
    PAUSED = 1
    WINDOW = 2
    BUDGET = 3
    PRIORITY = 4
    OFFLINE = 5
    QUOTE = 6


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
class Hello:
    """Who speaks and what it understands; first frame of each side. `facts` are what a node says of itself."""

    protocol: int
    software: str
    codecs: frozenset[Codec]
    holds: tuple[Digest, ...] = ()
    features: frozenset[Feature] = FEATURES
    facts: Facts = field(default_factory=dict)


OFFER_ID_BYTES = 16  # too many for two wishes of one peer to share them


@dataclass(frozen=True, slots=True)
class Offer:
    """I have this release whole and will serve its `manifest`. `channel` is moved to it when a push is committed.

    `id` (16 bytes, or none) names the wish behind a push over all its tries: what was carried out is not done again.
    """

    release: SignedRelease
    manifest: Digest
    channel: str = ""
    id: bytes = b""


@dataclass(frozen=True, slots=True)
class Unfit:
    """A release of which no variant fits a node; `why` says of each what keeps it from there."""

    number: int
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Assignment:
    """A model's channel that a node follows; `offer` is None while the channel names no release, or one that is unfit.

    `consent` is the manifest for which somebody let the month's bytes be exceeded. `retry` grows when somebody says
    that what failed on this node is to be tried again.
    """

    model: ModelName
    channel: str
    offer: Offer | None
    priority: int = 0
    manners: Manners = FREE
    consent: Digest | None = None
    retry: int = 0
    unfit: Unfit | None = None


@dataclass(frozen=True, slots=True)
class Desired:
    """All that a node should hold, in full; `keep` versions of each model stay on the node.

    `manners` hold for all assignments together; `pins` stay while they are there; `quota` is bytes of disk, 0 for what
    the node's own settings say. `labels` are the node's, by which variants were chosen; None where none were.
    """

    generation: int
    assignments: tuple[Assignment, ...]
    keep: int = 2
    manners: Manners = FREE
    pins: tuple[ModelRef, ...] = ()
    quota: int = 0
    labels: Mapping[str, str] | None = None


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
class Ask:
    """What would the chunks in `ranges` (ordinals of the content) take to send? `bases` as in Want."""

    manifest: Digest
    ranges: tuple[range, ...]
    bases: tuple[Digest, ...] = ()


@dataclass(frozen=True, slots=True)
class Quote:
    """What the chunks of an Ask take, as far as it is known: each Quote counts from the beginning of its Ask."""

    manifest: Digest
    priced: Priced


@dataclass(frozen=True, slots=True)
class Echo:
    """Asks for an answer with the same `token` (0 to 2**64 - 1), or is that answer."""

    token: int
    answer: bool = False


@dataclass(frozen=True, slots=True)
class Tidings:
    """The catalogue changed about models that the node follows."""


PART_OF_IT = 0
"""The number in a Settle for one variant of a release that is not committed yet: others are not at the hub whole."""


@dataclass(frozen=True, slots=True)
class Settle:
    """Every chunk is verified and durable at the taker; `created` is False when identical content was there already.

    `number` is `PART_OF_IT` while other variants of the release are missing.
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
    forecast: Forecast | None = None
    """What the transfer is expected to take; None before it is known."""
    hold: Hold = Hold.NONE
    hold_until: float = 0.0
    """When the hold ends by itself, seconds since 1970; 0 for unknown."""
    since: float = 0.0
    """Since when phase and hold are as they are, seconds since 1970."""
    bytes_resent: int = 0
    rate: float = 0.0
    """Payload bytes a second that come now."""
    tries: int = 0
    """How often it was tried and failed in a row."""
    variant: str = ""
    """What the desired one is called among those of its release; "" when it has no other."""
    active_variant: str = ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A release that waits on a node to be published; bytes are plain but `bytes_wire`, times seconds since 1970."""

    model: ModelName
    manifest: Digest
    bytes_total: int = 0
    bytes_done: int = 0
    bytes_wire: int = 0
    stored_at: float = 0.0
    fault: Fault | None = None
    next_try: float = 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """Where a node stands, in full; disk in bytes.

    `month_wire` payload bytes came in `month` ("2026-11", the node's own time, which is `utc_offset` from UTC).
    `outbox` is the first of what waits to be published, `outbox_length` releases and `outbox_bytes` are all of it.
    `facts` are what the node says of itself now; None while that is what its `Hello` said.
    """

    generation: int
    standings: tuple[Standing, ...]
    disk_free: int = 0
    disk_used: int = 0
    month_wire: int = 0
    month: str = ""
    utc_offset: str = ""
    quota: int = 0
    outbox: tuple[Waiting, ...] = ()
    outbox_length: int = 0
    outbox_bytes: int = 0
    facts: Facts | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """A frame that this version has no word for; `field` is its protobuf field number, 0 when there was none."""

    field: int


Frame = Hello | Desired | Offer | Want | Give | Settle | Report | Refuse | Ask | Quote | Echo | Tidings | Unknown

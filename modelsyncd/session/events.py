"""What the shell tells the session: one frozen value for each thing that can happen to it.

An answer repeats the `serial` of the effect that it answers: the transfer may have been dropped and begun again since,
and an answer to the first must not be taken for one to the second.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from modelsyncd.codec.registry import Codec
from modelsyncd.digest import Digest
from modelsyncd.plan import Priced
from modelsyncd.session.frames import Base, Fault, Frame, Offer, Part


@dataclass(frozen=True, slots=True)
class Received:
    """The peer said this."""

    frame: Frame


@dataclass(frozen=True, slots=True)
class Say:
    """Send this frame of ours (Desired, Report, Offer, Tidings)."""

    frame: Frame


@dataclass(frozen=True, slots=True)
class Take:
    """Fetch what this offer names; a higher priority gets all the credit first.

    A `gated` one asks what its content will take, and waits for Go before any of it travels.
    """

    offer: Offer
    priority: int = 0
    gated: bool = False


@dataclass(frozen=True, slots=True)
class Go:
    """Lets the content of a gated transfer travel: `allowance` payload bytes of it, None for any number.

    What would take more is asked about anew, and waits again.
    """

    manifest: Digest
    allowance: int | None = None


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast to ask from now on: payload bytes a second, for all transfers together and for some by themselves.

    What is in `yielding` waits while the way takes longer than it needs to. 0 limits nothing.
    """

    rate: int = 0
    rates: Mapping[Digest, int] = field(default_factory=dict)
    yielding: frozenset[Digest] = frozenset()


@dataclass(frozen=True, slots=True)
class Drop:
    """Stop fetching these manifests; what is durable stays.

    All that are to go are named at once: what one leaves free is not given to another that goes, too.
    """

    manifests: Collection[Digest]


@dataclass(frozen=True, slots=True)
class Considered:
    """Answer to Consider: take it up, or `settled` says that identical content is here already as that number."""

    manifest: Digest
    serial: int
    settled: Settled | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """A release is durable here under this number; `created` is False when it was here already."""

    number: int
    created: bool
    release_digest: Digest


@dataclass(frozen=True, slots=True)
class Surveyed:
    """Answer to Survey: plain sizes of all chunks of the part by ordinal, and the ordinals to fetch, ascending.

    `bases` are manifests that are here whole, against which chunks may be coded, the likeliest first.
    """

    manifest: Digest
    serial: int
    part: Part
    sizes: Sequence[int]
    missing: Sequence[int]
    bases: Sequence[Digest] = ()


@dataclass(frozen=True, slots=True)
class Kept:
    """These chunks are verified and durable here; decoding and checking them cost `cpu` seconds."""

    manifest: Digest
    serial: int
    part: Part
    ordinals: Sequence[int]
    cpu: float = 0.0


@dataclass(frozen=True, slots=True)
class Spoiled:
    """These chunks arrived, but not as their digest says; nothing of them was kept."""

    manifest: Digest
    serial: int
    part: Part
    ordinals: Sequence[int]


@dataclass(frozen=True, slots=True)
class Completed:
    """Answer to Complete: the whole transfer is committed here."""

    manifest: Digest
    serial: int
    settled: Settled


@dataclass(frozen=True, slots=True)
class Failed:
    """An effect of this transfer could not be carried out here."""

    manifest: Digest
    serial: int
    fault: Fault


@dataclass(frozen=True, slots=True)
class Encoded:
    """A chunk as it travels; `cpu` is what encoding it cost, in seconds."""

    ordinal: int
    codec: Codec
    payload: bytes | memoryview
    base: Base | None = None
    cpu: float = 0.0


@dataclass(frozen=True, slots=True)
class Loaded:
    """Answer to Load: these chunks, encoded. One answer may cover only the first of the ordinals asked for."""

    manifest: Digest
    serial: int
    part: Part
    chunks: Sequence[Encoded]


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """A Load of this manifest could not be carried out here."""

    manifest: Digest
    serial: int
    fault: Fault


@dataclass(frozen=True, slots=True)
class Worked:
    """Answer to Price, as far as it has come; one with nothing left is the last."""

    manifest: Digest
    serial: int
    priced: Priced


@dataclass(frozen=True, slots=True)
class Close:
    """End the session; a fault is told to the peer first."""

    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Woke:
    """The time asked for with WakeAt has come."""


Event = (
    Received
    | Say
    | Take
    | Go
    | Pace
    | Drop
    | Considered
    | Surveyed
    | Kept
    | Spoiled
    | Completed
    | Failed
    | Loaded
    | LoadFailed
    | Worked
    | Close
    | Woke
)

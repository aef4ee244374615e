"""What the session asks of the shell: one frozen value for each. `link/pump.py` is their only interpreter.

`serial` tells one transfer of a manifest from the next one of the same manifest; the answer repeats it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from modelsyncd.codec.registry import Codec
from modelsyncd.digest import Digest
from modelsyncd.plan import Priced
from modelsyncd.session.events import Settled
from modelsyncd.session.frames import Base, Fault, Frame, Offer, Part
from modelsyncd.session.progress import Progress


@dataclass(frozen=True, slots=True)
class Send:
    """Put this frame on the wire, in order."""

    frame: Frame


@dataclass(frozen=True, slots=True)
class Deliver:
    """The peer said this, and it is for the shell: Hello, Desired, Report."""

    frame: Frame


@dataclass(frozen=True, slots=True)
class Consider:
    """The peer offers a release to us: answer Considered, or Failed with the reason to refuse."""

    offer: Offer
    serial: int


@dataclass(frozen=True, slots=True)
class Survey:
    """What of this part is missing here? Answer Surveyed, or Failed."""

    offer: Offer
    part: Part
    serial: int


@dataclass(frozen=True, slots=True)
class Keep:
    """Decode this chunk, verify it, make it durable; answer Kept or Spoiled, or Failed when the disk will not."""

    offer: Offer
    part: Part
    ordinal: int
    codec: Codec
    payload: bytes | memoryview
    base: Base | None
    serial: int = 0


@dataclass(frozen=True, slots=True)
class Complete:
    """Every chunk is durable here: commit the version. Answer Completed, or Failed."""

    offer: Offer
    serial: int


@dataclass(frozen=True, slots=True)
class Load:
    """Read and encode these chunks for the peer; answer Loaded (perhaps in several), or Failed.

    `codecs` is what the peer can decode; `bases` are the manifests that it holds whole.
    """

    manifest: Digest
    part: Part
    ordinals: Sequence[int]
    codecs: frozenset[Codec]
    bases: tuple[Digest, ...]
    serial: int


@dataclass(frozen=True, slots=True)
class Price:
    """What would these chunks of the content take to send? Answer Worked, again and again, or LoadFailed."""

    manifest: Digest
    ordinals: Collection[int]
    codecs: frozenset[Codec]
    bases: tuple[Digest, ...]
    serial: int


@dataclass(frozen=True, slots=True)
class Quoted:
    """The content of a gated transfer will take this, as far as is known: it waits for Go.

    `progress` is what is there now. A peer that answers no questions leaves all of it to guess. `final` says that no
    better word will come.
    """

    manifest: Digest
    priced: Priced
    progress: Progress
    final: bool = False


@dataclass(frozen=True, slots=True)
class Finished:
    """A transfer that we take or give has ended: `settled` when all is durable at the taker, else the fault."""

    manifest: Digest
    settled: Settled | None
    fault: Fault | None
    progress: Progress


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Answer Woke at this time (seconds on the clock that `now` is read from); replaces an earlier one."""

    when: float


@dataclass(frozen=True, slots=True)
class HangUp:
    """End the stream once what was sent before is on the wire."""

    fault: Fault | None


Effect = Send | Deliver | Consider | Survey | Keep | Complete | Load | Price | Quoted | Finished | WakeAt | HangUp

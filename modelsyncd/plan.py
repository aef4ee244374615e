"""The only place that says what a transfer will cost: before the first byte travels, plain or as it will travel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# What the protocol adds, measured on real transfers: words of a Give (names, sizes, gRPC's prefix), the words about a
# base and each of its runs, and the heads of the HTTP/2 frames and TLS records that 16 KiB are cut into.
_GIVE = 72
_BASE, _RUN = 40, 12
_FRAME, _HEADS = 16 << 10, 9 + 22


@dataclass(frozen=True, slots=True)
class Plan:
    """`total`, `have` and `fetch` in plain bytes; on the wire, `fetch` is the most that it can take."""

    total: int
    have: int
    fetch: int
    chunks_total: int
    chunks_fetch: int

    def __str__(self) -> str:
        return f"{self.fetch} of {self.total} bytes in {self.chunks_fetch} of {self.chunks_total} chunks"


def make(sizes: Sequence[int], missing: Sequence[int]) -> Plan:
    """The plan for chunks of these plain sizes in bytes, by ordinal, of which those in `missing` must travel.

    A chunk that occurs several times is missing once; its other places count as had. Raises IndexError for an ordinal
    that has no size.
    """
    total = sum(sizes)
    fetch = sum(sizes[ordinal] for ordinal in missing)
    return Plan(total, total - fetch, fetch, len(sizes), len(missing))


@dataclass(frozen=True, slots=True)
class Share:
    """Chunks that travel in one way: how many, their `plain` bytes, what these take on the `wire`; `runs` of bases."""

    chunks: int = 0
    plain: int = 0
    wire: int = 0
    runs: int = 0

    def __add__(self, other: Share) -> Share:
        return Share(
            self.chunks + other.chunks, self.plain + other.plain, self.wire + other.wire, self.runs + other.runs
        )


@dataclass(frozen=True, slots=True)
class Costs:
    """A plan with what it takes on the wire, exactly: `coded` against a base, `alone` without one, and the manifest.

    Law: once everything is counted, the plain bytes of `coded` and `alone` are `plan.fetch`.
    """

    plan: Plan
    coded: Share = Share()
    alone: Share = Share()
    manifest: Share = Share()

    @property
    def counted(self) -> int:
        """Plain bytes of the content whose way is known."""
        return self.coded.plain + self.alone.plain

    @property
    def wire(self) -> int:
        """Payload bytes in all."""
        return self.coded.wire + self.alone.wire + self.manifest.wire

    @property
    def framing(self) -> int:
        """Bytes that the protocol adds, up to and without TCP's: an estimate."""
        chunks = self.coded.chunks + self.alone.chunks + self.manifest.chunks
        heads = _HEADS * (self.wire // _FRAME + chunks)
        return _GIVE * chunks + _BASE * self.coded.chunks + _RUN * self.coded.runs + heads

    def seconds(self, rate: float) -> float:
        """How long payload and framing take on a link of `rate` bytes a second; 0 when the rate is not known (0)."""
        return (self.wire + self.framing) / rate if rate > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Priced:
    """What some chunks take, as far as it is known: plain bytes by way, their payload bytes, and what is `left`."""

    coded: int = 0
    coded_wire: int = 0
    alone: int = 0
    alone_wire: int = 0
    left: int = 0
    """Plain bytes that are not worked out yet."""

    @property
    def wire(self) -> int:
        """Payload bytes in all; of what is left, as much as of what is known, and all of it while nothing is."""
        known = self.coded + self.alone
        spent = self.coded_wire + self.alone_wire
        return spent + (round(self.left * spent / known) if known else self.left)

    @property
    def plain(self) -> int:
        """Plain bytes in all."""
        return self.coded + self.alone + self.left

    @property
    def exact(self) -> bool:
        """Whether nothing is left to guess."""
        return not self.left


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a node expects a transfer to take, said before its first byte and said again when it would take more.

    `had` plain bytes are there; `spent` payload bytes had come when it was made, the `revision`-th time, at `made_at`
    (seconds since 1970). `disk` is bytes on top of what is taken; `rate` is the link's bytes a second, 0 for unknown.
    """

    had: int
    priced: Priced
    spent: int = 0
    disk: int = 0
    rate: float = 0.0
    revision: int = 1
    made_at: float = 0.0

    @property
    def wire(self) -> int:
        """Payload bytes of the release in all, those that came before included."""
        return self.spent + self.priced.wire

    @property
    def seconds(self) -> float:
        """How long the rest takes at that rate; 0 when the rate is not known."""
        return self.priced.wire / self.rate if self.rate > 0 else 0.0

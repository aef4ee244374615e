"""One transfer from the side that lacks bytes: survey, want, keep, and settle. Its store is its only memory.

The life of a transfer (Consider only when the peer offered it unasked):

    considering ─► surveying manifest ─► fetching manifest ─► surveying content ─► fetching content ─► completing
                        └──── nothing missing ─────────────────────▲    └──── nothing missing ─────────────▲

Law: a chunk counts once it is durable (Kept), never when it arrived. What was wanted and is not durable is the credit
that is out; `session.py` shares one window among all transfers.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from enum import Enum, auto

from modelsyncd.digest import Digest
from modelsyncd.errors import DamageError, ProtocolError
from modelsyncd.limits import LIMITS, Limits
from modelsyncd.plan import make
from modelsyncd.session.effects import Complete, Consider, Effect, Keep, Survey
from modelsyncd.session.events import Surveyed
from modelsyncd.session.frames import Give, Offer, Part, Want
from modelsyncd.session.progress import Progress
from modelsyncd.session.window import CAP

ENCODED_SLACK = 1_024  # bytes that an encoded chunk may be longer than its plain bytes

FALSE_STARTS = 4  # chunks that a base may spoil before it is not counted on any more: it is damaged here

STRAY_BYTES = 2 * CAP  # payload bytes that may come late in one transfer: what two windows held


class Stage(Enum):
    """Where a taking stands."""

    CONSIDERING = auto()
    SURVEYING = auto()
    FETCHING = auto()
    COMPLETING = auto()


class Taker:
    """The taking of one manifest. Methods return the effects that follow; errors end this transfer only."""

    def __init__(self, offer: Offer, priority: int = 0, *, serial: int = 0, limits: Limits = LIMITS) -> None:
        self.offer = offer
        self.serial = serial
        """Tells this transfer from an earlier one of the same manifest."""
        self.priority = priority
        self.stage = Stage.CONSIDERING
        self.part = Part.MANIFEST
        self.in_flight = 0
        """Plain bytes wanted and not durable yet."""
        self._limits = limits
        self._sizes: Sequence[int] = ()
        self._queue: deque[int] = deque()
        self._queued = 0
        self._wanted: set[int] = set()
        self._keeping: set[int] = set()
        self._partial: tuple[Give, bytearray] | None = None
        self._faults: Counter[int] = Counter()
        self._bases: tuple[Digest, ...] = ()
        self._named: frozenset[Digest] = frozenset()
        self._based: dict[int, Digest] = {}
        self._plain_only: set[int] = set()
        self._misled: Counter[Digest] = Counter()
        self._progress = Progress()
        self._wire = 0
        self._coded = 0
        self._giver_cpu = 0
        self._taker_cpu = 0.0
        self._stray_bytes = 0
        self._resent = 0

    @property
    def manifest(self) -> Digest:
        """Which transfer this is."""
        return self.offer.manifest

    @property
    def awaits(self) -> bool:
        """Whether the peer owes us chunks."""
        return bool(self._wanted)

    @property
    def hungry(self) -> bool:
        """Whether more could be asked for."""
        return self.stage is Stage.FETCHING and bool(self._queue)

    @property
    def progress(self) -> Progress:
        """How far the content has come."""
        seen = self._progress
        missing = self._queued + self.in_flight if self.part is Part.CONTENT else seen.total - seen.done
        return Progress(
            seen.total,
            seen.had,
            seen.total - missing,
            self._wire,
            self._resent,
            self._coded,
            self._giver_cpu / 1e6,
            self._taker_cpu,
        )

    def consider(self) -> list[Effect]:
        """Begins with what a peer offered unasked."""
        return [Consider(self.offer, self.serial)]

    def survey(self) -> list[Effect]:
        """Begins, or goes on with the next part: what is missing here?"""
        self.stage = Stage.SURVEYING
        return [Survey(self.offer, self.part, self.serial)]

    def surveyed(self, answer: Surveyed) -> list[Effect]:
        """Takes the store's answer; with nothing missing the part is over. An answer to nothing is ignored."""
        if self.stage is not Stage.SURVEYING or answer.part is not self.part:
            return []
        plan = make(answer.sizes, answer.missing)
        self._sizes = answer.sizes
        self._queue = deque(answer.missing)
        self._queued = plan.fetch
        self._bases = tuple(answer.bases)[: self._limits.bases]
        self._named = frozenset(self._bases)
        if self.part is Part.CONTENT:
            self._progress = Progress(plan.total, plan.have, plan.have)
        self.stage = Stage.FETCHING
        return [] if self._queue else self._next()

    def owed(self, give: Give) -> bool:
        """Whether the peer owes us this chunk."""
        return give.part is self.part and give.ordinal in self._wanted

    def want(self, credit: int, frame_bytes: int) -> Want | None:
        """Asks for as many chunks as the credit (plain bytes) allows; for one, however large, when nothing is out.

        Chunks that a base has spoiled are asked for apart from the others, and without bases.
        """
        plain_only = bool(self._queue) and self._queue[0] in self._plain_only
        chosen: list[int] = []
        spent = 0
        room = self._limits.want_chunks - len(self._wanted) - len(self._keeping)
        while self._queue and len(chosen) < room and (self._queue[0] in self._plain_only) is plain_only:
            size = self._sizes[self._queue[0]]
            if spent + size > credit and (chosen or self.in_flight):
                break
            chosen.append(self._queue.popleft())
            spent += size
        if not chosen:
            return None
        missing = self._queued + self.in_flight
        self._queued -= spent
        self.in_flight += spent
        self._wanted.update(chosen)
        bases = () if plain_only else self._bases
        return Want(self.manifest, self.part, tuple(_runs(chosen)), bases, frame_bytes, missing)

    def give(self, give: Give) -> list[Effect]:
        """Takes a chunk or the next part of one. Raises ProtocolError for a part that does not follow."""
        if not self.owed(give):
            return self._stray(give)
        if give.encoded_size > self._sizes[give.ordinal] + ENCODED_SLACK:
            raise ProtocolError(f"chunk {give.ordinal} is said to be {give.encoded_size} bytes long, encoded")
        if give.base is not None and give.base.manifest not in self._named:
            raise ProtocolError(f"chunk {give.ordinal} was coded against a base that nobody named")
        self._wire += len(give.payload)
        payload = self._assemble(give)
        if payload is None:
            return []
        self._giver_cpu += give.cpu
        if give.base is not None:
            self._based[give.ordinal] = give.base.manifest
        self._wanted.discard(give.ordinal)
        self._keeping.add(give.ordinal)
        return [Keep(self.offer, give.part, give.ordinal, give.codec, payload, give.base, self.serial)]

    def kept(self, ordinals: Sequence[int], cpu: float = 0.0) -> list[Effect]:
        """These are durable, after `cpu` seconds: their credit is free again."""
        self._taker_cpu += cpu
        for ordinal in ordinals:
            self._keeping.remove(ordinal)
            if self._based.pop(ordinal, None) is not None:
                self._coded += self._sizes[ordinal]
            self.in_flight -= self._sizes[ordinal]
        return self._next() if self._all_durable() else []

    def spoiled(self, ordinals: Sequence[int]) -> list[Effect]:
        """These arrived damaged: ask again, but not for ever. Raises DamageError."""
        for ordinal in ordinals:
            self._faults[ordinal] += 1
            self._doubt(ordinal)
            if self._faults[ordinal] >= self._limits.faults_per_chunk:
                raise DamageError(
                    f"chunk {ordinal} arrived {self._faults[ordinal]} times and never as its digest says",
                    safe="nothing of it was kept, and the version in use is untouched",
                    hint="run `modelsyncctl verify` to have the hub re-hash what it holds",
                )
            size = self._sizes[ordinal]
            self._keeping.remove(ordinal)
            self.in_flight -= size
            self._queue.appendleft(ordinal)
            self._queued += size
            self._resent += size
        return []

    def _doubt(self, ordinal: int) -> None:
        """A base may be to blame: this chunk comes without one from now on, and soon so do all that would need it."""
        base = self._based.pop(ordinal, None)
        if base is None:
            return
        self._plain_only.add(ordinal)
        self._misled[base] += 1
        if self._misled[base] >= FALSE_STARTS:
            self._bases = tuple(one for one in self._bases if one != base)

    def _stray(self, give: Give) -> list[Effect]:
        """Asked for before a Drop, and late: harmless, unless it never ends."""
        self._stray_bytes += len(give.payload)
        if self._stray_bytes > STRAY_BYTES:
            raise ProtocolError(f"{self._stray_bytes} bytes came that nobody asked for")
        return []

    def _assemble(self, give: Give) -> bytes | memoryview | None:
        if self._partial is None:
            if give.offset != 0:
                self._stray(give)
                return None
            if len(give.payload) == give.encoded_size:
                return give.payload
            self._partial = (give, bytearray())
        first, held = self._partial
        if (give.ordinal, give.codec, give.encoded_size, give.base, give.offset) != (
            first.ordinal,
            first.codec,
            first.encoded_size,
            first.base,
            len(held),
        ):
            raise ProtocolError(f"a part of chunk {give.ordinal} does not follow the part before it")
        held += give.payload
        if len(held) > give.encoded_size or not give.payload:
            raise ProtocolError(f"a part of chunk {give.ordinal} does not fit into its {give.encoded_size} bytes")
        if len(held) < give.encoded_size:
            return None
        self._partial = None
        return memoryview(held)

    def _all_durable(self) -> bool:
        return not (self._queue or self._wanted or self._keeping)

    def _next(self) -> list[Effect]:
        if self.part is Part.MANIFEST:
            self.part = Part.CONTENT
            return self.survey()
        self.stage = Stage.COMPLETING
        return [Complete(self.offer, self.serial)]


def _runs(ordinals: Sequence[int]) -> Iterator[range]:
    """Ordinals in order as runs of neighbours."""
    first = previous = ordinals[0]
    for ordinal in ordinals[1:]:
        if ordinal != previous + 1:
            yield range(first, previous + 1)
            first = ordinal
        previous = ordinal
    yield range(first, previous + 1)

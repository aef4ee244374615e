"""One transfer from the side that lacks bytes: survey, want, keep, and settle. Its store is its only memory.

The life of a transfer (Consider only when the peer offered it unasked):

    considering ─► surveying manifest ─► fetching manifest ─► surveying content ─► fetching content ─► completing
                        └──── nothing missing ─────────────────────▲   │ asking ──────▲            ▲
                                                                       └──── nothing missing ──────┘

Only a gated transfer asks: what the content will take, and then it waits until somebody lets it go on.

Law: a chunk counts once it is durable (Kept), never when it arrived. What was wanted and is not durable is the credit
that is out; `session.py` shares one window among all transfers.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from enum import Enum, auto

from modelsyncd.digest import Digest
from modelsyncd.errors import DamageError, ProtocolError
from modelsyncd.limits import LIMITS, Limits
from modelsyncd.plan import Priced, make
from modelsyncd.session.effects import Complete, Consider, Effect, Keep, Quoted, Send, Survey
from modelsyncd.session.events import Surveyed
from modelsyncd.session.frames import Ask, Give, Offer, Part, Want
from modelsyncd.session.pace import Bucket
from modelsyncd.session.progress import Progress
from modelsyncd.session.window import CAP

ENCODED_SLACK = 1_024  # bytes that an encoded chunk may be longer than its plain bytes

FALSE_STARTS = 4  # chunks that a base may spoil before it is not counted on any more: it is damaged here

AHEAD = 0.75  # of a chunk that may be asked for beyond the window: else a way as long as a chunk takes lies idle for it

OVERRUN = 0.01  # of the allowance that may come on top of it before it is asked anew what the rest will take

STRAY_BYTES = 2 * CAP  # payload bytes that may come late in one transfer: what two windows held


class Stage(Enum):
    """Where a taking stands."""

    CONSIDERING = auto()
    SURVEYING = auto()
    ASKING = auto()
    FETCHING = auto()
    COMPLETING = auto()


class Taker:
    """The taking of one manifest. Methods return the effects that follow; errors end this transfer only."""

    def __init__(
        self,
        offer: Offer,
        priority: int = 0,
        *,
        serial: int = 0,
        gated: bool = False,
        limits: Limits = LIMITS,
    ) -> None:
        self.offer = offer
        self.serial = serial
        """Tells this transfer from an earlier one of the same manifest."""
        self.quotes = False
        """Whether the peer answers an Ask."""
        self.buckets: tuple[Bucket, ...] = ()
        """What the next Want is charged to."""
        self.ratio = 1.0
        """Payload bytes that a plain byte is expected to take."""
        self.priority = priority
        self.stage = Stage.CONSIDERING
        self.part = Part.MANIFEST
        self.in_flight = 0
        """Plain bytes wanted and not durable yet."""
        self._gated = gated
        self._unquoted = False
        self._asked = 0
        self._wire_most: float | None = None
        self._charged: dict[int, float] = {}
        self._limits = limits
        self._sizes: Sequence[int] = ()
        self._queue: deque[int] = deque()
        self._queued = 0
        self._wanted: set[int] = set()
        self._keeping: set[int] = set()
        self._partial: dict[int, tuple[Give, bytearray]] = {}
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
    def outstanding(self) -> int:
        """Of what is in flight, what has not even begun to arrive: parts that came are on nobody's way any more."""
        came = sum(
            self._sizes[ordinal] * len(held) // give.encoded_size for ordinal, (give, held) in self._partial.items()
        )
        return self.in_flight - came

    @property
    def owed_quote(self) -> bool:
        """Whether the peer owes us more about what it will take."""
        return self.stage is Stage.ASKING and self._unquoted

    @property
    def overrun(self) -> bool:
        """Whether more came than it was let go for."""
        return self._wire_most is not None and self._wire > self._wire_most

    @property
    def next_size(self) -> int:
        """Plain bytes of the chunk that is asked for next; 0 for none."""
        return self._sizes[self._queue[0]] if self._queue else 0

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
        if not self._queue:
            return self._next()
        if self._gated and self.part is Part.CONTENT:
            return self.ask()
        self.stage = Stage.FETCHING
        return []

    def ask(self) -> list[Effect]:
        """Asks what the rest of the content will take, and wants nothing more before `go`.

        Nobody need be asked about chunks that come without bases: they take what they have, at most.
        """
        self.stage = Stage.ASKING
        self._wire_most = None
        asked = sorted(ordinal for ordinal in self._queue if ordinal not in self._plain_only)
        self._asked = sum(self._sizes[ordinal] for ordinal in asked)
        self._unquoted = self.quotes and bool(asked)
        if not self._unquoted:
            return [self._quoted(Priced(left=self._asked))]
        return [Send(Ask(self.manifest, tuple(_runs(asked)), self._bases))]

    def quoted(self, priced: Priced) -> list[Effect]:
        """Takes an answer; one that was not asked for is ignored. Raises ProtocolError for one about something else."""
        if not self.owed_quote:
            return []
        if priced.plain != self._asked:
            raise ProtocolError(f"{self._asked} bytes were asked about, and a Quote for {priced.plain} came")
        self._unquoted = not priced.exact
        return [self._quoted(priced)]

    def go(self, allowance: int | None) -> list[Effect]:
        """Fetches on, as long as no more than `allowance` payload bytes come. Ignored when it does not wait."""
        if self.stage is Stage.ASKING:
            self.stage = Stage.FETCHING
            if allowance is not None:
                self._wire_most = self._wire + allowance * (1 + OVERRUN)
                self.ratio = min(1.0, max(allowance, 1) / max(self._queued, 1))
        return []

    def _quoted(self, priced: Priced) -> Quoted:
        plain = self._queued - self._asked
        whole = replace(priced, alone=priced.alone + plain, alone_wire=priced.alone_wire + plain)
        return Quoted(self.manifest, whole, self.progress, final=not self._unquoted)

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
            if spent + size > credit + size * AHEAD and (chosen or self.in_flight):
                break
            chosen.append(self._queue.popleft())
            spent += size
            self._charge(chosen[-1], size * self.ratio)
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
        self._settle_charge(give)
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

    def _charge(self, ordinal: int, expected: float) -> None:
        if self.buckets:
            self._charged[ordinal] = expected
            for bucket in self.buckets:
                bucket.spend(expected)

    def _settle_charge(self, give: Give) -> None:
        """What a chunk really took is known now."""
        expected = self._charged.pop(give.ordinal, None)
        if expected is not None:
            for bucket in self.buckets:
                bucket.spend(give.encoded_size - expected)

    def _stray(self, give: Give) -> list[Effect]:
        """Asked for before a Drop, and late: harmless, unless it never ends."""
        self._stray_bytes += len(give.payload)
        if self._stray_bytes > STRAY_BYTES:
            raise ProtocolError(f"{self._stray_bytes} bytes came that nobody asked for")
        return []

    def _assemble(self, give: Give) -> bytes | memoryview | None:
        """The whole chunk once its last part is here; what waits is bounded by what was wanted."""
        known = self._partial.get(give.ordinal)
        if known is None:
            if give.offset != 0:
                self._stray(give)
                return None
            if len(give.payload) == give.encoded_size:
                return give.payload
            known = self._partial[give.ordinal] = (give, bytearray())
        first, held = known
        if (give.codec, give.encoded_size, give.base, give.offset) != (
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
        del self._partial[give.ordinal]
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

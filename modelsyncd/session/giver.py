"""All transfers from the side that has the bytes: what is wanted, in the order it was asked for, loaded and given.

The giver has no plan of its own: it sends what it was asked for and forgets it. One Load is out at a time, so memory
is bounded by one load and what the shell has not yet put on the wire, however much was wanted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

from modelsyncd.codec.registry import Codec
from modelsyncd.digest import Digest
from modelsyncd.errors import LimitError, ProtocolError
from modelsyncd.limits import LIMITS, Limits
from modelsyncd.session.effects import Effect, Load, Price, Send
from modelsyncd.session.events import Encoded, Loaded, Worked
from modelsyncd.session.frames import Ask, Give, Part, Quote, Want
from modelsyncd.session.progress import Progress
from modelsyncd.session.runs import Runs

_MICROS_MAX = (1 << 32) - 1  # what the wire has room for: over an hour for one chunk
QUESTIONS = 64  # transfers of one peer of which it is worked out at once what they take …
WAITING = 1_024  # … and that wait for their turn
LOAD_CHUNKS = 8  # chunks of one Load: 2 MiB as a rule, so one hop to a thread serves several frames


@dataclass(slots=True)
class _Order:
    """What is still to be given of one Want; `serial` tells it from every other."""

    serial: int
    want: Want
    ordinals: deque[int]


class Giver:
    """Everything that the peer wants from us."""

    def __init__(self, *, limits: Limits = LIMITS) -> None:
        self._limits = limits
        self._orders: deque[_Order] = deque()
        self._loading: _Order | None = None
        self._queued = 0
        self._serial = 0
        self._progress: dict[Digest, Progress] = {}
        self._pricing: dict[Digest, int] = {}
        self._questions: dict[Digest, Price] = {}
        self.codecs: frozenset[Codec] = frozenset()
        """What the peer can decode."""

    def progress(self, manifest: Digest) -> Progress:
        """How far the peer has come, as its Wants tell: `total` counts from what it lacked at its first one."""
        return self._progress.get(manifest, Progress())

    def want(self, want: Want) -> list[Effect]:
        """Takes an order. Raises LimitError when more is asked for than a taker may have outstanding."""
        count = sum(len(run) for run in want.ranges)
        if not 0 < count <= self._limits.want_chunks:
            raise LimitError(f"a Want may name 1 to {self._limits.want_chunks} chunks, not {count}")
        if self._queued + count > self._limits.queued_chunks:
            raise LimitError(f"more than {self._limits.queued_chunks} chunks were asked for and not waited for")
        self._queued += count
        self._serial += 1
        self._forget_question(want.manifest)  # who wants it has heard enough of what it takes
        self._orders.append(_Order(self._serial, want, deque(ordinal for run in want.ranges for ordinal in run)))
        if want.part is Part.CONTENT:
            seen = self._progress.get(want.manifest, Progress())
            total = seen.total or want.missing_bytes  # the manifest's pieces went before and are in `wire` already
            done = max(0, total - want.missing_bytes)
            self._progress[want.manifest] = replace(seen, total=total, done=done)
        return [*self._price(), *self._load()]

    def ask(self, ask: Ask) -> list[Effect]:
        """Takes a question; a new one about the same manifest replaces it. It waits while QUESTIONS others are open.

        Raises LimitError for too many that wait, ProtocolError for one that names nothing, or a chunk twice.
        """
        ordinals = Runs.of(ask.ranges)  # nothing is expanded: nobody knows yet whether there are so many
        if not ordinals:
            raise ProtocolError("an Ask names no chunks")
        self._serial += 1
        question = Price(ask.manifest, ordinals, self.codecs, ask.bases, self._serial)
        if ask.manifest in self._pricing:
            self._pricing[ask.manifest] = self._serial
            return [question]
        if ask.manifest not in self._questions and len(self._questions) >= WAITING:
            raise LimitError(f"{WAITING} questions about what transfers take are waiting already")
        self._questions[ask.manifest] = question
        return self._price()

    def worked(self, answer: Worked) -> list[Effect]:
        """Tells what is known by now."""
        if self._pricing.get(answer.manifest) != answer.serial:
            return []
        if answer.priced.exact:
            del self._pricing[answer.manifest]
        return [Send(Quote(answer.manifest, answer.priced)), *self._price()]

    def is_pricing(self, serial: int) -> bool:
        """Whether the Price with this serial is still waited for."""
        return serial in self._pricing.values()

    def loaded(self, answer: Loaded) -> list[Effect]:
        """Gives what was loaded. Raises ProtocolError when the shell loaded something else."""
        order = self._loading
        if order is None or order.serial != answer.serial:
            return []  # the order was dropped meanwhile
        self._loading = None
        frame_bytes = min(order.want.frame_bytes or self._limits.frame_bytes, self._limits.frame_bytes)
        effects: list[Effect] = []
        for chunk in answer.chunks:
            if not order.ordinals or order.ordinals[0] != chunk.ordinal:
                raise ProtocolError(f"chunk {chunk.ordinal} was loaded and not asked for")
            order.ordinals.popleft()
            self._queued -= 1
            effects += [Send(give) for give in _gives(order.want, chunk, frame_bytes)]
        if order.ordinals:
            self._orders.appendleft(order)
        self._count_wire(answer)
        return effects + self._load()

    def drop(self, manifest: Digest) -> list[Effect]:
        """Forgets what is wanted of a manifest."""
        gone = [order for order in self._orders if order.want.manifest == manifest]
        if self._loading is not None and self._loading.want.manifest == manifest:
            gone.append(self._loading)
            self._loading = None
        self._queued -= sum(len(order.ordinals) for order in gone)
        self._orders = deque(order for order in self._orders if order.want.manifest != manifest)
        self._progress.pop(manifest, None)
        self._forget_question(manifest)
        return [*self._price(), *self._load()]

    def is_loading(self, serial: int) -> bool:
        """Whether the Load with this serial is still waited for."""
        return self._loading is not None and self._loading.serial == serial

    def _forget_question(self, manifest: Digest) -> None:
        self._pricing.pop(manifest, None)
        self._questions.pop(manifest, None)

    def _price(self) -> list[Effect]:
        """The questions whose turn it is, in the order in which they came."""
        turn = list(islice(self._questions.values(), max(0, QUESTIONS - len(self._pricing))))
        for question in turn:
            del self._questions[question.manifest]
            self._pricing[question.manifest] = question.serial
        return list(turn)

    def _load(self) -> list[Effect]:
        if self._loading is not None or not self._orders:
            return []
        self._loading = order = self._orders.popleft()
        ordinals = tuple(islice(order.ordinals, LOAD_CHUNKS))
        return [Load(order.want.manifest, order.want.part, ordinals, self.codecs, order.want.bases, order.serial)]

    def _count_wire(self, answer: Loaded) -> None:
        seen = self._progress.get(answer.manifest, Progress())
        wire = seen.wire + sum(len(chunk.payload) for chunk in answer.chunks)
        cpu = seen.giver_cpu + sum(chunk.cpu for chunk in answer.chunks)
        self._progress[answer.manifest] = replace(seen, wire=wire, giver_cpu=cpu)


def _gives(want: Want, chunk: Encoded, frame_bytes: int) -> Iterator[Give]:
    """A chunk as one Give, or as several when it does not fit into a frame."""
    size = len(chunk.payload)
    view = chunk.payload if size <= frame_bytes else memoryview(chunk.payload)
    for start in range(0, size, frame_bytes):
        payload = view[start : start + frame_bytes]
        cpu = min(_MICROS_MAX, round(chunk.cpu * 1e6)) if start + frame_bytes >= size else 0
        yield Give(want.manifest, want.part, chunk.ordinal, chunk.codec, size, start, payload, chunk.base, cpu)

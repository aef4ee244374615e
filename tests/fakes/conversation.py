"""Two sessions and a wire between them, all in one thread and on a clock that only moves when it is told to.

The taker's side keeps what becomes durable in `durable`, which outlives a cut as a store would; the order in which
effects are carried out is the random generator's, so one seed is one conversation.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf

from modelsyncd.bases import Run
from modelsyncd.codec.registry import READABLE, Codec, decode, encode
from modelsyncd.digest import Digest, digest_of
from modelsyncd.errors import DamageError
from modelsyncd.plan import Priced
from modelsyncd.release import SignedRelease
from modelsyncd.session import effects as do
from modelsyncd.session import events as on
from modelsyncd.session.frames import FEATURES, PROTOCOL, Base, Feature, Frame, Give, Hello, Offer, Part
from modelsyncd.session.session import Session
from modelsyncd.session.window import Window

CPU = 0.001  # seconds: what each side spends on a chunk


@dataclass
class Content:
    """What a giver has: chunks of the manifest and of the content."""

    manifest: list[bytes]
    content: list[bytes]

    @property
    def name(self) -> Digest:
        return digest_of(b"".join(self.manifest))

    def offer(self) -> Offer:
        return Offer(SignedRelease(b"release"), self.name)

    def chunks(self, part: Part) -> list[bytes]:
        return self.manifest if part is Part.MANIFEST else self.content

    @property
    def size(self) -> int:
        return sum(map(len, self.content))


def some_content(rng: random.Random, chunks: int, largest: int = 2_000) -> Content:
    """Random chunks; some of them equal, some of them compressible."""
    content = [
        bytes([rng.randrange(256)]) * rng.randint(1, largest)
        if rng.random() < 0.3
        else rng.randbytes(rng.randint(1, largest))
        for _ in range(chunks)
    ]
    return Content([rng.randbytes(100) for _ in range(rng.randint(1, 3))], content)


def encoded(ordinal: int, plain: bytes, codecs: frozenset[Codec], bases: Sequence[Digest] = ()) -> on.Encoded:
    """As if it were coded against the first of the bases; what the payload holds is no matter here."""
    codec, payload = encode(plain, codecs)
    base = Base(bases[0], (Run(0, 0, len(plain)),)) if bases else None
    return on.Encoded(ordinal, codec, bytes(payload), base, cpu=CPU)


def hello(protocol: int = PROTOCOL) -> Hello:
    return Hello(protocol, "test", READABLE)


def pricing() -> Session:
    """A giver that says what chunks take."""
    return Session(Hello(PROTOCOL, "test", READABLE, features=FEATURES | {Feature.QUOTES}))


def price(sizes: Sequence[int], payloads: Sequence[bytes]) -> list[Priced]:
    """What they take, at once."""
    return [Priced(alone=sum(sizes), alone_wire=sum(map(len, payloads)))]


@dataclass
class Conversation:
    """One session on each side. `durable` is the taker's store: chunks by content and part, by ordinal."""

    rng: random.Random
    durable: dict[tuple[Digest, Part], dict[int, bytes]]
    has: dict[Digest, Content]
    taker: Session = field(default_factory=lambda: Session(hello()))
    giver: Session = field(default_factory=lambda: Session(hello()))
    tamper: Callable[[Frame], list[Frame]] = lambda frame: [frame]
    now: float = 0.0
    finished: list[do.Finished] = field(default_factory=list)
    given: list[Give] = field(default_factory=list)
    sent: list[tuple[str, Frame]] = field(default_factory=list)
    hung_up: list[do.HangUp] = field(default_factory=list)
    completed: list[Digest] = field(default_factory=list)
    stuck: list[do.Keep] | None = None
    """Chunks that a disk which hangs has not written; None while it works."""
    spoil: Callable[[do.Keep], bool] = lambda _: False
    prices: Callable[[Sequence[int], Sequence[bytes]], Sequence[Priced]] = price
    """What the giver says of chunks with these plain sizes and payloads, one after the other."""
    delay: Callable[[Frame], float] = lambda _: 0.0
    """Seconds that a frame is on its way; only `live` lets them pass."""
    later: list[tuple[float, str, Frame]] = field(default_factory=list)
    quoted: list[do.Quoted] = field(default_factory=list)
    leave: Callable[[do.Quoted], int | None] = lambda word: word.priced.wire if word.final else None
    """The payload bytes that a transfer has leave for; None lets it wait."""
    bases: tuple[Digest, ...] = ()
    """What the taker's store says that it holds whole; the giver codes against the first that a Want names."""

    def __post_init__(self) -> None:
        self._wires: dict[str, deque[Frame]] = {"taker": deque(), "giver": deque()}
        self._work: deque[tuple[str, do.Effect]] = deque()
        self.alarms: dict[str, float] = {}
        for side in ("taker", "giver"):
            self._apply(side, self._session(side).start(self.now))

    def _session(self, side: str) -> Session:
        return self.taker if side == "taker" else self.giver

    def step(self, side: str, event: on.Event) -> None:
        self._apply(side, self._session(side).step(event, self.now))

    def _apply(self, side: str, effects: list[do.Effect]) -> None:
        other = "giver" if side == "taker" else "taker"
        for effect in effects:
            match effect:
                case do.Send(frame):
                    self.sent.append((side, frame))
                    for one in self.tamper(frame):
                        delay = self.delay(one)
                        if delay:
                            self.later.append((self.now + delay, other, one))
                        else:
                            self._wires[other].append(one)
                case do.Finished() if side == "taker":
                    self.finished.append(effect)
                case do.Quoted():
                    self.quoted.append(effect)
                    self._work.append((side, effect))
                case do.WakeAt(when):
                    self.alarms[side] = when
                case do.HangUp():
                    self.hung_up.append(effect)
                case do.Deliver() | do.Finished():
                    pass
                case _:
                    self._work.append((side, effect))

    def live(self, until: float) -> None:
        """Lets time pass, with the alarms that were set and the frames that are on their way."""
        for _ in range(100_000):
            self.run()
            moment = min([*self.alarms.values(), *(when for when, _, _ in self.later)], default=inf)
            if moment > until:
                self.now = until
                return
            self.now = max(self.now, moment)
            due = sorted((one for one in self.later if one[0] <= self.now), key=lambda one: one[0])
            self.later = [one for one in self.later if one[0] > self.now]
            for _, side, frame in due:
                self._wires[side].append(frame)
            for side in [side for side, when in self.alarms.items() if when <= self.now]:
                del self.alarms[side]
                self.step(side, on.Woke())
        raise AssertionError("time stands still")

    def run(self, steps: int = 1_000_000) -> int:
        """Carries out what is there to do, in random order, at most `steps` times; returns how often."""
        for done in range(steps):
            sides = [side for side, wire in self._wires.items() if wire]
            if self._work and (not sides or self.rng.random() < 0.5):
                self._carry_out(*self._work.popleft())
            elif sides:
                side = self.rng.choice(sides)
                frame = self._wires[side].popleft()
                if isinstance(frame, Give):
                    self.given.append(frame)
                self.step(side, on.Received(frame))
            else:
                return done
        return steps

    def _carry_out(self, side: str, effect: do.Effect) -> None:
        match effect:
            case do.Consider(offer, serial):
                self.step(side, on.Considered(offer.manifest, serial))
            case do.Survey(offer, part, serial):
                chunks = self.has[offer.manifest].chunks(part)
                held = self.durable.setdefault((offer.manifest, part), {})
                missing = [ordinal for ordinal in range(len(chunks)) if ordinal not in held]
                sizes, bases = list(map(len, chunks)), self.bases if part is Part.CONTENT else ()
                self.step(side, on.Surveyed(offer.manifest, serial, part, sizes, missing, bases))
            case do.Price(manifest, ordinals, codecs, _, serial):
                chunks = self.has[manifest].chunks(Part.CONTENT)
                payloads = [bytes(encoded(n, chunks[n], codecs).payload) for n in ordinals]
                for priced in self.prices([len(chunks[n]) for n in ordinals], payloads):
                    self.step(side, on.Worked(manifest, serial, priced))
            case do.Quoted(manifest):
                allowance = self.leave(effect)
                if allowance is not None:
                    self.step(side, on.Go(manifest, allowance))
            case do.Keep():
                self.keep(side, effect)
            case do.Complete(offer, serial):
                for part in Part:
                    assert self.durable[offer.manifest, part] == dict(
                        enumerate(self.has[offer.manifest].chunks(part))
                    ), "completed before every chunk was durable"
                self.completed.append(offer.manifest)
                self.step(side, on.Completed(offer.manifest, serial, on.Settled(1, True, offer.manifest)))
            case do.Load(manifest, part, ordinals, codecs, bases, serial):
                chunks = self.has[manifest].chunks(part)
                count = self.rng.randint(1, len(ordinals))
                loaded = [encoded(ordinal, chunks[ordinal], codecs, bases) for ordinal in ordinals[:count]]
                self.step(side, on.Loaded(manifest, serial, part, loaded))

    def keep(self, side: str, keep: do.Keep) -> None:
        if self.stuck is not None:
            self.stuck.append(keep)
            return
        plain = self.has[keep.offer.manifest].chunks(keep.part)[keep.ordinal]
        try:
            good = not self.spoil(keep) and bytes(decode(Codec(keep.codec), keep.payload, len(plain))) == plain
        except DamageError:
            good = False
        if good:
            self.durable[keep.offer.manifest, keep.part][keep.ordinal] = plain
            self.step(side, on.Kept(keep.offer.manifest, keep.serial, keep.part, [keep.ordinal], CPU))
        else:
            self.step(side, on.Spoiled(keep.offer.manifest, keep.serial, keep.part, [keep.ordinal]))


def small_window() -> Window:
    """Ten kilobytes, so that a test of a few chunks sees credit at work."""
    return Window(first=10_000, floor=10_000, cap=10_000)

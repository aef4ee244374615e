"""A hub in memory for one node's uplink: says what it is told to say, gives what it has, and breaks when asked to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from modelsyncd.codec.registry import READABLE, Codec, encode
from modelsyncd.digest import Digest
from modelsyncd.errors import ModelsyncError, NotFoundError
from modelsyncd.link.pump import FrameStream, Pump, Word
from modelsyncd.manifest import pieces
from modelsyncd.manners import FREE, Manners
from modelsyncd.plan import Priced
from modelsyncd.session.events import Encoded
from modelsyncd.session.frames import FEATURES, PROTOCOL, Assignment, Desired, Feature, Hello, Part, Report, Standing
from modelsyncd.session.session import Session
from tests.fakes.versions import Published
from tests.fakes.wires import Wire, wire_pair


@dataclass
class NodeHub:
    """`connect` is an uplink's; each call is one session."""

    has: dict[Digest, Published] = field(default_factory=dict)
    wanted: Desired = field(default_factory=lambda: Desired(0, ()))
    away: ModelsyncError | None = None
    """Raised instead of connecting."""
    broken: ModelsyncError | None = None
    """Raised instead of giving chunks."""
    given: list[tuple[Digest, Part, int]] = field(default_factory=list)
    hellos: list[Hello] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    gate: asyncio.Semaphore | None = None
    """Acquired for each chunk of content, when there is one."""
    tries: int = 0
    features: frozenset[Feature] = FEATURES | {Feature.QUOTES}
    heard: list[Report | tuple[Digest, Part, int]] = field(default_factory=list)
    """Reports and what was given, in the order in which they were heard and asked for."""
    quote: Callable[[int], Sequence[Priced]] = lambda size: [Priced(alone=size, alone_wire=size)]
    """What it says one after the other of so many plain bytes; the last leaves nothing."""
    exact: asyncio.Event = field(default_factory=asyncio.Event)
    """The last word waits for it; set from the beginning."""
    asked: int = 0
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _pump: Pump | None = None
    _wire: Wire | None = None

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[FrameStream]:
        self.tries += 1
        self._news.set()
        if self.away is not None:
            raise self.away
        ours, theirs = wire_pair()
        self._wire = ours
        hello = Hello(PROTOCOL, "test hub", READABLE, features=self.features)
        self._pump = Pump(Session(hello), ours, giver=self, pricer=self, deliver=self._hear)
        failure: ModelsyncError | None = None
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(self._serve(self._pump, ours))
            try:
                yield theirs
            except ModelsyncError as error:
                failure = error
            finally:
                serving.cancel()
        if failure is not None:
            raise failure

    async def _serve(self, pump: Pump, wire: Wire) -> None:
        try:
            await pump.run()
        except ModelsyncError:
            await wire.end()

    def _hear(self, word: Word) -> None:
        if isinstance(word, Hello):
            self.hellos.append(word)
            assert self._pump is not None
            self._pump.say(self.wanted)
        elif isinstance(word, Report):
            self.reports.append(word)
            self.heard.append(word)
        self._news.set()

    def __post_init__(self) -> None:
        self.exact.set()

    def want(self, *versions: Published, channel: str = "stable", keep: int = 2) -> None:
        """The node should hold these, one of each model."""
        for version in versions:
            self.has[version.version.manifest] = version
        assignments = tuple(Assignment(one.version.model, channel, one.offer) for one in versions)
        self.say(replace(self.wanted, assignments=assignments, keep=keep))

    def limit(self, manners: Manners = FREE, *each: Manners, consent: Digest | None = None) -> None:
        """The node should mind these, for all and for each of what it is to hold."""
        own = each or [FREE] * len(self.wanted.assignments)
        assignments = tuple(
            replace(one, manners=mind, consent=consent) for one, mind in zip(self.wanted.assignments, own, strict=True)
        )
        self.say(replace(self.wanted, assignments=assignments, manners=manners))

    def say(self, desired: Desired) -> None:
        """Under the next generation."""
        self.wanted = replace(desired, generation=self.wanted.generation + 1)
        if self._pump is not None:
            self._pump.say(self.wanted)

    async def cut(self) -> None:
        """The stream ends, as it does when a link breaks."""
        assert self._wire is not None
        await self._wire.end()

    async def load(
        self,
        manifest: Digest,
        part: Part,
        ordinals: Sequence[int],
        codecs: frozenset[Codec],
        bases: Sequence[Digest],
        *,
        rate: float = 0.0,
    ) -> Sequence[Encoded]:
        """The first of the chunks."""
        if self.broken is not None:
            raise self.broken
        if manifest not in self.has:
            raise NotFoundError("no such manifest")
        if self.gate is not None and part is Part.CONTENT:
            await self.gate.acquire()
        version = self.has[manifest]
        chunks: Sequence[bytes | memoryview] = (
            pieces(version.manifest_bytes) if part is Part.MANIFEST else version.chunks
        )
        self.given.append((manifest, part, ordinals[0]))
        self.heard.append((manifest, part, ordinals[0]))
        codec, payload = encode(chunks[ordinals[0]], codecs)
        return [Encoded(ordinals[0], codec, bytes(payload))]

    async def price(
        self,
        manifest: Digest,
        ordinals: Collection[int],
        codecs: frozenset[Codec],
        bases: Sequence[Digest],
        *,
        rate: float = 0.0,
    ) -> AsyncGenerator[Priced, None]:
        """As `quote` says."""
        self.asked += 1
        chunks = self.has[manifest].chunks
        *guesses, last = self.quote(sum(len(chunks[ordinal]) for ordinal in ordinals))
        for guess in guesses:
            yield guess
        await self.exact.wait()
        yield last

    async def until(self, condition: Callable[[], object]) -> None:
        """Returns once it is true; looks again whenever something was heard."""
        async with asyncio.timeout(20):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def reported(self, like: Callable[[Standing], bool]) -> Standing:
        """The first standing of the newest report, once it is as asked for."""
        await self.until(lambda: self.reports and self.reports[-1].standings and like(self.reports[-1].standings[0]))
        return self.reports[-1].standings[0]

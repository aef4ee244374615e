"""The hub: what every node should hold, and the chunks of it. When it goes down, it forgets every session."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from modelsyncd.codec.registry import READABLE, Codec
from modelsyncd.digest import Digest
from modelsyncd.errors import RefusedError
from modelsyncd.link.attempt import outcome_of
from modelsyncd.link.pump import Pump, Word
from modelsyncd.manners import FREE, Manners
from modelsyncd.names import ModelRef
from modelsyncd.plan import Priced
from modelsyncd.session.events import Encoded
from modelsyncd.session.faults import fault_of
from modelsyncd.session.frames import FEATURES, PROTOCOL, Assignment, Desired, Feature, Hello, Part, Report
from modelsyncd.session.session import Session
from tests.fakes.versions import Published
from tests.fakes.world.disk import chunks_of
from tests.fakes.world.wire import Link


@dataclass
class Wish:
    """What one node should hold of one channel."""

    priority: int = 0
    manners: Manners = FREE
    consent: Digest | None = None


@dataclass
class Hub:
    """All nodes' hub. `library` is every release that there is, by manifest; `spawn` begins a task of the world's."""

    library: Mapping[Digest, Published]
    spawn: Callable[[str, Link], None]
    channels: dict[ModelRef, Published] = field(default_factory=dict)
    wishes: dict[str, dict[ModelRef, Wish]] = field(default_factory=dict)
    manners: dict[str, Manners] = field(default_factory=dict)
    up: bool = True
    quotes: bool = True
    """Whether it answers questions: an older one does not."""
    heard: Callable[[str, Report], None] = lambda _, __: None
    """Told of each report."""
    live: dict[str, tuple[Pump, Link]] = field(default_factory=dict)
    generation: int = 1

    def desired(self, node: str) -> Desired:
        """All that this node should hold."""
        wished = self.wishes.get(node, {})
        found = [
            Assignment(
                ref.model,
                ref.channel or "",
                self.channels[ref].offer if ref in self.channels else None,
                wish.priority,
                wish.manners,
                wish.consent,
            )
            for ref, wish in wished.items()
        ]
        return Desired(self.generation, tuple(found), manners=self.manners.get(node, FREE))

    def changed(self) -> None:
        """Tells every node that is there."""
        self.generation += 1
        for node, (pump, _) in self.live.items():
            pump.say(self.desired(node))

    def go_down(self) -> None:
        """Every session is gone."""
        self.up = False
        for _, link in list(self.live.values()):
            link.cut("reset")

    async def serve(self, node: str, link: Link) -> None:
        """One session."""
        features = FEATURES | {Feature.QUOTES} if self.quotes else FEATURES
        session = Session(Hello(PROTOCOL, "hub", READABLE, features=features))
        pump = Pump(
            session,
            link.hub_end(),
            giver=self,
            pricer=self,
            deliver=partial(self._hear, node),
            clock=asyncio.get_running_loop().time,
        )
        before = self.live.get(node)
        if before is not None:
            before[0].close(fault_of(RefusedError("a newer session of this node is here")))
        self.live[node] = (pump, link)
        try:
            await outcome_of(pump.run)
        finally:
            link.cut("reset")
            if self.live.get(node, (None,))[0] is pump:
                del self.live[node]

    def _hear(self, node: str, word: Word) -> None:
        match word:
            case Hello():
                self.live[node][0].say(self.desired(node))
            case Report():
                self.heard(node, word)
            case _:
                pass

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
        """The plain bytes."""
        await asyncio.sleep(0.001)
        chunks = chunks_of(self.library[manifest], part)
        return [Encoded(ordinal, Codec.STORED, chunks[ordinal]) for ordinal in ordinals]

    async def price(
        self,
        manifest: Digest,
        ordinals: Collection[int],
        codecs: frozenset[Codec],
        bases: Sequence[Digest],
        *,
        rate: float = 0.0,
    ) -> AsyncGenerator[Priced, None]:
        """In steps of two chunks."""
        sizes = list(map(len, chunks_of(self.library[manifest], Part.CONTENT)))
        priced = Priced(left=sum(sizes[ordinal] for ordinal in ordinals))
        asked = list(ordinals)
        for start in range(0, len(asked), 2):
            await asyncio.sleep(0.05)
            known = sum(sizes[ordinal] for ordinal in asked[start : start + 2])
            priced = replace(
                priced, alone=priced.alone + known, alone_wire=priced.alone_wire + known, left=priced.left - known
            )
            yield priced

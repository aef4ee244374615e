"""A stream of frames in memory, and stores in memory that satisfy the session's ports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from modelsyncd.codec.registry import Codec, decode
from modelsyncd.digest import Digest
from modelsyncd.errors import DamageError, ModelsyncError
from modelsyncd.session.effects import Keep
from modelsyncd.session.events import Encoded, Settled
from modelsyncd.session.frames import Frame, Offer, Part
from modelsyncd.session.ports import Keeping, Missing
from tests.fakes.conversation import Content, encoded


@dataclass
class Wire:
    """One end; what is written here is read at `other`. `slots` frames fit between the two."""

    inbox: asyncio.Queue[Frame | None]
    outbox: asyncio.Queue[Frame | None]
    written: list[Frame] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self) -> Frame | None:
        return await self.inbox.get()

    async def write(self, frame: Frame) -> None:
        self.written.append(frame)
        self._news.set()
        await self.outbox.put(frame)

    async def until(self, like: Callable[[Frame], bool]) -> None:
        """Returns once such a frame was written here."""
        async with asyncio.timeout(10):
            while not any(map(like, self.written)):
                self._news.clear()
                await self._news.wait()

    async def end(self) -> None:
        await self.outbox.put(None)


def wire_pair(slots: int = 4) -> tuple[Wire, Wire]:
    left: asyncio.Queue[Frame | None] = asyncio.Queue(slots)
    right: asyncio.Queue[Frame | None] = asyncio.Queue(slots)
    return Wire(left, right), Wire(right, left)


class MemoryShelf:
    """A TakerStore in memory."""

    def __init__(self, has: dict[Digest, Content]) -> None:
        self.durable: dict[tuple[Digest, Part], dict[int, bytes]] = {}
        self.batches: list[int] = []
        self.completed: list[Digest] = []
        self.broken: ModelsyncError | None = None
        self.settled: Settled | None = None
        self._has = has

    async def consider(self, offer: Offer) -> Settled | None:
        await asyncio.sleep(0)
        return self.settled

    async def survey(self, offer: Offer, part: Part) -> Missing:
        await asyncio.sleep(0)
        chunks = self._has[offer.manifest].chunks(part)
        held = self.durable.setdefault((offer.manifest, part), {})
        return Missing([len(chunk) for chunk in chunks], [n for n in range(len(chunks)) if n not in held])

    async def keep(self, batch: Sequence[Keep]) -> Keeping:
        await asyncio.sleep(0)
        if self.broken is not None:
            raise self.broken
        self.batches.append(len(batch))
        kept: list[int] = []
        spoiled: list[int] = []
        for keep in batch:
            plain = self._has[keep.offer.manifest].chunks(keep.part)[keep.ordinal]
            try:
                good = bytes(decode(keep.codec, keep.payload, len(plain))) == plain
            except DamageError:
                good = False
            (kept if good else spoiled).append(keep.ordinal)
            if good:
                self.durable[keep.offer.manifest, keep.part][keep.ordinal] = plain
        return Keeping(tuple(kept), tuple(spoiled))

    async def complete(self, offer: Offer) -> Settled:
        await asyncio.sleep(0)
        self.completed.append(offer.manifest)
        return Settled(1, True, offer.manifest)


class MemoryStock:
    """A GiverStore in memory."""

    def __init__(self, has: dict[Digest, Content]) -> None:
        self.loads = 0
        self.broken: ModelsyncError | None = None
        self._has = has

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
        await asyncio.sleep(0)
        if self.broken is not None:
            raise self.broken
        self.loads += 1
        chunks = self._has[manifest].chunks(part)
        return [encoded(ordinal, chunks[ordinal], codecs) for ordinal in ordinals]

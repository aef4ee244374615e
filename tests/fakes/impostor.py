"""A hub that has gone bad: it holds the real hub's certificate and gives whatever a test wants it to give."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from modelsyncd.codec.registry import READABLE, Codec
from modelsyncd.digest import Digest
from modelsyncd.link.pump import Pump, Word
from modelsyncd.link.server import bind_tls, make_server, serving
from modelsyncd.link.stream import ServicerStream, serve_sessions
from modelsyncd.session.events import Encoded
from modelsyncd.session.frames import PROTOCOL, Assignment, Desired, Fault, Hello, Part, Report
from modelsyncd.session.ports import GiverStore
from modelsyncd.session.session import Session
from modelsyncd.store.durable import write_file
from modelsyncd.trust.authority import Authority
from modelsyncd.wire.status import Context
from tests.fakes.publisher import Publication

NEWEST = 1 << 40  # a generation above any that a real hub gave before
PATIENCE = 40.0  # seconds

Found = TypeVar("Found")


@dataclass
class Impostor:
    """What it gives, and what it was told."""

    gives: Sequence[Publication]
    protocol: int = PROTOCOL
    tamper: Callable[[Encoded], Encoded] = lambda chunk: chunk
    """What becomes of each chunk of content on its way out."""
    address: str = ""
    heard: list[Word] = field(default_factory=list)
    asked: list[tuple[Digest, Part, int]] = field(default_factory=list)
    """Every chunk that was asked for, in order."""
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def converse(self, stream: ServicerStream, _context: Context) -> None:
        hello = Hello(self.protocol, "impostor", READABLE)
        pump = Pump(Session(hello), stream, giver=_Giver(self), deliver=self.hear)
        pump.say(Desired(NEWEST, tuple(Assignment(one.release.model, "stable", one.offer) for one in self.gives)))
        await pump.run()

    def hear(self, said: Word) -> None:
        self.heard.append(said)
        self._news.set()

    async def until(self, find: Callable[[], Found | None]) -> Found:
        """What `find` finds, as soon as it finds something that is true."""
        async with asyncio.timeout(PATIENCE):
            while not (found := find()):
                self._news.clear()
                await self._news.wait()
        return found

    def faults(self) -> dict[str, Fault]:
        """What the node last said went wrong, by model."""
        reports = [said for said in self.heard if isinstance(said, Report)]
        standings = reports[-1].standings if reports else ()
        return {str(one.model): one.fault for one in standings if one.fault is not None}

    def active(self) -> dict[str, int]:
        """What the node last said is active, by model."""
        reports = [said for said in self.heard if isinstance(said, Report)]
        return {str(one.model): one.active for one in reports[-1].standings if one.active} if reports else {}


@dataclass
class _Giver:
    """Implements `session.ports.GiverStore`."""

    impostor: Impostor

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
        self.impostor.asked += [(manifest, part, ordinal) for ordinal in ordinals]
        store: GiverStore = next(one for one in self.impostor.gives if one.manifest == manifest)
        chunks = await store.load(manifest, part, ordinals, codecs, bases)
        return [self.impostor.tamper(chunk) for chunk in chunks] if part is Part.CONTENT else chunks


def flipped(chunk: Encoded) -> Encoded:
    """The chunk with one bit of its payload turned."""
    payload = bytearray(chunk.payload)
    payload[len(payload) // 2] ^= 0x10
    return replace(chunk, payload=bytes(payload))


@asynccontextmanager
async def impostor(hub_data: Path, gives: Sequence[Publication], protocol: int = PROTOCOL) -> AsyncIterator[Impostor]:
    """An impostor with the keys in a real hub's data folder, while the block runs."""
    it = Impostor(gives, protocol)
    authority = Authority.open(hub_data / "authority", time.time(), write_file)
    server = make_server()
    serve_sessions(server, it.converse)
    it.address = bind_tls(server, "127.0.0.1:0", authority.issue_hub(time.time()))
    async with serving(server, grace=0):
        yield it

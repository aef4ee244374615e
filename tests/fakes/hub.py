"""A whole hub on loopback, over mutual TLS and on real files, and peers that talk to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from cloud_hub.app import Settings, serve
from cloud_hub.stores import Stores, open_stores
from modelsyncd.codec.registry import READABLE, Codec
from modelsyncd.daemon.log import Log
from modelsyncd.digest import Digest
from modelsyncd.errors import ModelsyncError, RoadError
from modelsyncd.link.channel import open_channel
from modelsyncd.link.pump import Pump, Word
from modelsyncd.link.stream import open_session
from modelsyncd.session.effects import Finished
from modelsyncd.session.events import Settled
from modelsyncd.session.faults import error_of
from modelsyncd.session.frames import FEATURES, PROTOCOL, Desired, Feature, Frame, Hello, Offer
from modelsyncd.session.ports import GiverStore, TakerStore
from modelsyncd.session.session import Session
from modelsyncd.session.window import Window
from modelsyncd.trust import keys
from modelsyncd.trust.identity import Identity, Kind, Peer
from modelsyncd.trust.invite import decode
from modelsyncd.wire.status import translated
from modelsyncd.wire.v1 import catalog_pb2 as pb
from modelsyncd.wire.v1 import sync_pb2
from modelsyncd.wire.v1.catalog_pb2_grpc import CatalogServiceStub
from modelsyncd.wire.v1.sync_pb2_grpc import EnrolServiceStub
from tests.fakes.publisher import Publication, Puller

if TYPE_CHECKING:
    from modelsyncd.wire.v1.catalog_pb2_grpc import CatalogServiceAsyncStub
    from modelsyncd.wire.v1.sync_pb2_grpc import EnrolServiceAsyncStub

HELLO = Hello(PROTOCOL, "test peer", READABLE)
PATIENCE = 20.0  # seconds until a test that waits for something gives up

Found = TypeVar("Found")


@dataclass
class Talk:
    """A conversation with the hub."""

    pump: Pump | None = None
    heard: list[Word] = field(default_factory=list)
    error: ModelsyncError | None = None
    over: bool = False
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def say(self, frame: Frame) -> None:
        assert self.pump is not None
        self.pump.say(frame)

    def take(self, offer: Offer) -> None:
        assert self.pump is not None
        self.pump.take(offer)

    def hear(self, said: Word) -> None:
        self.heard.append(said)
        self._news.set()

    def end(self, error: ModelsyncError | None) -> None:
        self.over, self.error = True, error
        self._news.set()

    async def until(self, find: Callable[[], Found | None]) -> Found:
        """What `find` finds, as soon as it finds something."""
        async with asyncio.timeout(PATIENCE):
            while (found := find()) is None:
                self._news.clear()
                await self._news.wait()
        return found

    async def outcome(self, offer: Offer) -> Settled | ModelsyncError:
        """How a transfer ended: well, with its fault's error, or with what ended the conversation."""

        def find() -> Settled | ModelsyncError | None:
            for said in self.heard:
                if isinstance(said, Finished) and said.manifest == offer.manifest:
                    return said.settled if said.fault is None else error_of(said.fault)
            return self.error or (RoadError("the conversation is over") if self.over else None)

        return await self.until(find)

    async def desired(self, like: Callable[[Desired], bool] = lambda _: True) -> Desired:
        """The newest Desired, once it is as asked for."""

        def find() -> Desired | None:
            said = [each for each in self.heard if isinstance(each, Desired)]
            return said[-1] if said and like(said[-1]) else None

        return await self.until(find)

    async def ended(self) -> ModelsyncError | None:
        """What ended the conversation."""
        await self.until(lambda: self.over or None)
        return self.error


@dataclass
class Hub:
    """A hub that serves at `address`."""

    stores: Stores
    address: str

    def admin(self, name: str = "tester") -> Identity:
        return self.stores.authority.issue_admin(name, time.time())

    async def node(self, name: str, **labels: str) -> Identity:
        """Lets a node in by the whole way: invite, key, request, certificate."""
        async with self.catalog() as catalog:
            answer = await catalog.InviteNode(pb.InviteNodeRequest(name=name, labels=labels))
        invite = decode(answer.token)
        key = keys.new_key()
        async with open_channel(self.address, invite.identity) as channel:
            enrol: EnrolServiceAsyncStub = EnrolServiceStub(channel)
            request = keys.new_request(key, Peer(Kind.NODE, name))
            enrolled = await enrol.Enrol(sync_pb2.EnrolRequest(name=name, csr=request))
        return Identity(key, enrolled.certificate.encode(), enrolled.authority.encode())

    @asynccontextmanager
    async def catalog(self, identity: Identity | None = None) -> AsyncIterator[CatalogServiceAsyncStub]:
        async with open_channel(self.address, identity or self.admin()) as channel:
            with translated(self.address):
                yield CatalogServiceStub(channel)

    def talk(
        self,
        identity: Identity,
        *,
        giver: GiverStore | None = None,
        taker: TakerStore | None = None,
        protocol: int = PROTOCOL,
        codecs: frozenset[Codec] = READABLE,
        holds: tuple[Digest, ...] = (),
        window: Window | None = None,
        features: frozenset[Feature] = FEATURES,
    ) -> AbstractAsyncContextManager[Talk]:
        """A conversation with this hub for as long as the block lasts."""
        hello = Hello(protocol, "test peer", codecs, holds, features)
        return talking(self.address, identity, giver=giver, taker=taker, hello=hello, window=window)

    async def push(self, publication: Publication, identity: Identity | None = None) -> Settled:
        async with self.talk(identity or self.admin(), giver=publication) as talk:
            talk.say(publication.offer)
            outcome = await talk.outcome(publication.offer)
        return _settled(outcome)

    async def pull(self, offer: Offer, identity: Identity, puller: Puller | None = None) -> bytes:
        """The content of a release, as a node or an admin fetches it."""
        puller = puller or Puller()
        async with self.talk(identity, taker=puller) as talk:
            talk.take(offer)
            outcome = await talk.outcome(offer)
        _settled(outcome)
        return puller.content(offer)


def _settled(outcome: Settled | ModelsyncError) -> Settled:
    if isinstance(outcome, ModelsyncError):
        raise outcome
    return outcome


@asynccontextmanager
async def talking(
    address: str,
    identity: Identity,
    *,
    giver: GiverStore | None = None,
    taker: TakerStore | None = None,
    hello: Hello = HELLO,
    window: Window | None = None,
) -> AsyncIterator[Talk]:
    """A conversation with the hub at an address for as long as the block lasts."""
    talk = Talk()
    async with (
        open_channel(address, identity) as channel,
        asyncio.TaskGroup() as group,
        open_session(channel, address) as stream,
    ):
        talk.pump = Pump(Session(hello, window=window), stream, taker=taker, giver=giver, deliver=talk.hear)
        running = group.create_task(_run(talk.pump, talk))
        yield talk
        talk.pump.close()
        await running


async def _run(pump: Pump, talk: Talk) -> None:
    try:
        await pump.run()
    except ModelsyncError as error:
        talk.end(error)
    else:
        talk.end(None)


@asynccontextmanager
async def running_hub(folder: Path, imports: tuple[str, ...] = ()) -> AsyncIterator[Hub]:
    """A hub on this data folder, new or not, while the block lasts."""
    stores = await asyncio.to_thread(open_stores, folder, "", "", time.time())
    try:
        async with serve(stores, Settings(folder, listen="127.0.0.1:0", imports=imports), Log()) as address:
            yield Hub(stores, address)
    finally:
        await asyncio.to_thread(stores.close)

"""The only place where a session with this hub begins: who may speak, and what they may give and take."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from cloud_hub import gate
from cloud_hub.arrivals import Arrivals
from cloud_hub.board import Board
from cloud_hub.commit import HubIntake
from cloud_hub.efforts import Effort, Efforts
from cloud_hub.events import Bus, Event, Moved
from cloud_hub.herald import Herald
from cloud_hub.indexing import Indexer
from cloud_hub.node_session import NodeSession
from cloud_hub.offers import Offers
from cloud_hub.presence import Presence
from cloud_hub.quotes import Quotes
from cloud_hub.rights import AssignedOnly, Right, anything
from cloud_hub.stores import Stores
from modelsyncd import __version__
from modelsyncd.codec.profile import profile_for
from modelsyncd.codec.registry import READABLE
from modelsyncd.daemon.log import Log
from modelsyncd.errors import ModelsyncError, RoadError
from modelsyncd.link.congestion import SYSTEM, Congestion
from modelsyncd.link.lanes import MOST, Lanes
from modelsyncd.link.pump import FrameStream, Pump, Word
from modelsyncd.link.stream import ServicerStream, token_of
from modelsyncd.link.widening import CONGESTION_TOLD, LANES_TOLD
from modelsyncd.release import ManifestRef
from modelsyncd.session.effects import Finished
from modelsyncd.session.faults import fault_of
from modelsyncd.session.frames import FEATURES, PROTOCOL, Feature, Hello
from modelsyncd.session.session import Session
from modelsyncd.trust.identity import Kind, Peer
from modelsyncd.wire.status import Context

SOFTWARE = f"modelsync-hub {__version__}"


class SyncApi:
    """Holds the sessions of one hub process; `converse` is the servicer of SyncService.Session."""

    def __init__(
        self,
        stores: Stores,
        presence: Presence,
        bus: Bus,
        herald: Herald,
        *,
        effort: Effort = profile_for,
        congestion: Congestion | None = None,
        log: Log,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._stores = stores
        self._catalog = stores.catalog
        self._effort = effort
        self._presence = presence
        self._bus = bus
        self._herald = herald
        self._log = log
        self._clock = clock
        self._pumps: set[Pump] = set()
        self._congestion = congestion or Congestion(SYSTEM)
        self._lanes = Lanes()
        self._board = Board(self._catalog)
        self._indexer = Indexer(self._catalog, stores.contents)
        self._stopped: ModelsyncError | None = None

    async def converse(self, stream: ServicerStream, context: Context) -> None:
        """One session, from the first word to the last. Raises ModelsyncError, which reaches the peer."""
        peer = await gate.talker(context, self._catalog)
        log = self._log.bind(peer=str(peer))
        log.info("session.began")
        try:
            async with self._widened(peer, stream, context) as wide:
                if peer.kind is Kind.NODE:
                    await self._converse_with_node(peer, wide, log)
                else:
                    await self._run(self._pump(peer, wide, log, Efforts(self._effort), lambda _: None))
        except RoadError as error:
            log.info("session.ended", why=error.message)
            raise
        except ModelsyncError as error:
            log.failure("session.failed", error)
            raise
        log.info("session.ended")

    async def lane(self, stream: ServicerStream, context: Context) -> None:
        """One more connection of a session, until that ends. Raises ModelsyncError, which reaches the peer."""
        peer = await gate.talker(context, self._catalog)
        wide = self._lanes.find(peer, token_of(context))
        await context.send_initial_metadata(((LANES_TOLD, str(MOST)),))  # says that the lane was taken
        self._log.bind(peer=str(peer)).info("session.widened", connections=wide.lanes + 1)
        await wide.join(stream)

    @asynccontextmanager
    async def _widened(self, peer: Peer, stream: ServicerStream, context: Context) -> AsyncIterator[FrameStream]:
        """The stream, which lanes may join if that can help: a node takes, and only our own sending counts for it."""
        token = token_of(context)
        if not token or (peer.kind is Kind.NODE and not self._congestion.loss_based):
            yield stream
            return
        async with self._lanes.opened(peer, token, stream) as wide:
            told = ((LANES_TOLD, str(MOST)), (CONGESTION_TOLD, self._congestion.name))
            await context.send_initial_metadata(told)
            yield wide

    def stop(self, why: ModelsyncError) -> None:
        """Ends every session, and each one that begins from now on; the peers are told why."""
        self._stopped = why
        for pump in list(self._pumps):
            pump.close(fault_of(why))

    async def _converse_with_node(self, peer: Peer, stream: FrameStream, log: Log) -> None:
        efforts = Efforts(self._effort)
        session = NodeSession(
            peer.name,
            self._catalog,
            self._board,
            self._presence,
            self._herald,
            tell=self._bus.publish,
            heed=efforts.heed,
            clock=self._clock,
        )
        pump = self._pump(peer, stream, log, efforts, session.hear)
        await session.run(pump, self._run)

    async def _run(self, pump: Pump) -> None:
        if self._stopped is not None:
            raise self._stopped
        self._pumps.add(pump)
        try:
            await pump.run()
        finally:
            self._pumps.discard(pump)

    def _pump(self, peer: Peer, stream: FrameStream, log: Log, efforts: Efforts, hear: Callable[[Word], None]) -> Pump:
        stock, encoder = self._stores.stock, self._stores.encoder

        def right() -> Right:
            return AssignedOnly(self._catalog, peer.name) if peer.kind is Kind.NODE else anything

        def deliver(said: Word) -> None:
            if isinstance(said, Finished):
                _log_transfer(log, said, self._stores.stock.remembered(said.manifest))
            hear(said)

        return Pump(
            Session(Hello(PROTOCOL, SOFTWARE, READABLE, features=FEATURES | {Feature.QUOTES})),
            stream,
            taker=HubIntake(
                peer,
                self._catalog,
                self._stores.stock,
                Arrivals(self._stores.contents),
                tell=self.told,
                clock=self._clock,
                index=self._indexer.index,
            ),
            giver=Offers(stock, encoder, right(), efforts),
            pricer=Quotes(stock, encoder, right, efforts),
            deliver=deliver,
        )

    def told(self, event: Event) -> None:
        """Tells whoever watches, and has nodes look when a channel was moved."""
        self._bus.publish(event)
        if isinstance(event, Moved):
            self._presence.stir()


def _log_transfer(log: Log, finished: Finished, ref: ManifestRef | None) -> None:
    """How a transfer ended, and what it cost: bytes, plain but `wire`, and seconds of both sides' processors.

    Whoever gives learns what the taker lacks, and not what it has: that is the rest of the content.
    """
    seen = finished.progress
    begun = finished.settled is not None or seen.total > 0
    unseen = max(0, ref.content_size - seen.total) if ref is not None and begun else 0
    log = log.bind(
        manifest=finished.manifest,
        size=seen.total + unseen,
        had=seen.had + unseen,
        coded=seen.coded,
        plain=max(0, seen.done - seen.had - seen.coded),
        wire=seen.wire,
        giver_cpu=round(seen.giver_cpu, 3),
        taker_cpu=round(seen.taker_cpu, 3),
    )
    if finished.settled is not None:
        log.info("transfer.settled", number=finished.settled.number, created=finished.settled.created)
    elif finished.fault is not None:
        log.warning("transfer.failed", error=finished.fault.code, why=finished.fault.message)

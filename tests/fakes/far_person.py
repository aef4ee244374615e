"""A person's push and pull over a bad road in simulated time: the real stores and the real insisting, no gRPC."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

from modelsyncd.codec.registry import READABLE
from modelsyncd.ctl.retry import insist
from modelsyncd.errors import ModelsyncError, RoadError
from modelsyncd.exchange.folder_taker import FolderTaker
from modelsyncd.link.backoff import Backoff
from modelsyncd.link.pump import FrameStream, Pump, Word
from modelsyncd.session.effects import Finished
from modelsyncd.session.events import Settled
from modelsyncd.session.faults import error_of
from modelsyncd.session.frames import PROTOCOL, Hello
from modelsyncd.session.session import Session
from modelsyncd.trust.identity import Kind, Peer
from tests.fakes.far_node import GivingHub, loop_time, small_window
from tests.fakes.hub_store import HubStore
from tests.fakes.link.frames import FrameRoad
from tests.fakes.versions import Published

ANN = Peer(Kind.ADMIN, "ann")  # who made what `versions.published` makes


class SeededBackoff(Backoff):
    """Waits that are the same for the same seed."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._rng = random.Random(seed)

    def next(self, jitter: float) -> float:
        return super().next(self._rng.random())


def taking(store: HubStore) -> Callable[[FrameStream], Awaitable[None]]:
    """A hub that takes what is pushed into this store: what a road serves."""

    async def serve(stream: FrameStream) -> None:
        session = Session(Hello(PROTOCOL, "test hub", READABLE), window=small_window())
        try:
            await Pump(session, stream, taker=store.intake(ANN), clock=loop_time).run()
        except ModelsyncError:
            return

    return serve


async def push(road: FrameRoad, what: Published, *, seed: int = 1) -> Settled:
    """Until the hub has settled it."""
    giver = GivingHub()
    giver.want(what)

    async def attempt() -> Settled:
        return await _carry(road, giver, what, None)

    return await insist(
        attempt, retry=True, note=lambda _: None, moved=lambda: len(giver.given), backoff=SeededBackoff(seed)
    )


async def pull(road: FrameRoad, what: Published, dest: Path, *, seed: int = 1) -> Settled:
    """Until all of it is in the folder."""
    taker = FolderTaker(dest, what.release.variants[0], what.release.number, force=False)

    async def attempt() -> Settled:
        return await _carry(road, None, what, taker)

    try:
        return await insist(
            attempt, retry=True, note=lambda _: None, moved=lambda: taker.wire, backoff=SeededBackoff(seed)
        )
    finally:
        taker.close()


async def _carry(road: FrameRoad, giver: GivingHub | None, what: Published, taker: FolderTaker | None) -> Settled:
    """One session for one transfer, as `modelsyncd.exchange.conversation` holds it."""
    found: list[Finished] = []

    def deliver(word: Word) -> None:
        if isinstance(word, Hello):
            pump.take(what.offer) if taker is not None else pump.say(what.offer)
        elif isinstance(word, Finished):
            found.append(word)
            pump.close()

    async with road.connect() as stream:
        session = Session(Hello(PROTOCOL, "test person", READABLE), window=small_window())
        pump = Pump(session, stream, taker=taker, giver=giver, deliver=deliver, clock=loop_time)
        await pump.run()
    if not found:
        raise RoadError("the session ended before the transfer did")
    if found[0].settled is None:
        assert found[0].fault is not None
        raise error_of(found[0].fault)
    await asyncio.sleep(0)
    return found[0].settled

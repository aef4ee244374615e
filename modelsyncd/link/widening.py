"""The only place that decides when a session gets more connections, and opens them. The caller's side of lanes.

One connection is enough unless its sender slows down for each packet that is lost, packets are lost, and the way is
long: then TCP can't use the link however long it tries. Looking costs nothing while nothing passes.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import grpc.aio

from modelsyncd.errors import BadInputError, ModelsyncError
from modelsyncd.link import sockets
from modelsyncd.link.channel import open_channel
from modelsyncd.link.congestion import AUTO, LOSS_BASED, Congestion
from modelsyncd.link.lanes import MOST, Stream, Wide, widened
from modelsyncd.link.stream import LANE, ClientStream, open_session
from modelsyncd.trust.identity import Identity

LANES_TOLD = "modelsyncd-lanes"  # metadata of a hub's answer: how many connections a session may have
CONGESTION_TOLD = "modelsyncd-congestion"  # metadata of a hub's answer: how TCP answers loss on what it sends
LOOK_EVERY = 512 << 10  # bytes of chunks between two looks at the way
LOSS = 0.0005  # share of segments that are lost: a link that loses less is not slow for it
LATE = 0.002  # share of segments that come late: a lost one makes many late
LONG = 0.02  # seconds there and back: a shorter way makes up for its losses soon


@dataclass(frozen=True, slots=True)
class Road:
    """How a session with a hub is opened."""

    address: str
    identity: Identity
    congestion: Congestion
    lanes: str = AUTO
    """Connections: a number, or "auto"."""


def check(setting: str) -> None:
    """Raises BadInputError for what can't be the setting `lanes`."""
    if setting != AUTO and not (setting.isdecimal() and 1 <= int(setting) <= MOST):
        raise BadInputError(f"lanes can't be {setting[:80]!r}", hint=f"{AUTO}, or a number from 1 to {MOST}")


@asynccontextmanager
async def open_road(channel: grpc.aio.Channel, road: Road) -> AsyncIterator[Stream]:
    """A session over this channel, which gets lanes when it needs them. Raises as `open_session` does."""
    if road.lanes == "1":
        async with open_session(channel, road.address, opened=road.congestion.outgoing) as stream:
            yield stream
        return
    token = secrets.token_bytes(16)
    async with (
        open_session(channel, road.address, opened=road.congestion.outgoing, token=token) as stream,
        widened(stream, lambda wide: _widen(wide, stream, road, token)) as wide,
    ):
        yield wide


async def _widen(wide: Wide, stream: ClientStream, road: Road, token: bytes) -> None:
    """Opens lanes once they are worth it."""
    try:
        told = await stream.told()
    except ModelsyncError:
        return  # whoever reads the session is told the same
    allowed = int(told[LANES_TOLD]) if told.get(LANES_TOLD, "").isdecimal() else 1
    wanted = MOST if road.lanes == AUTO else int(road.lanes)
    if min(wanted, allowed, MOST) < 2:
        return
    look = 0
    while True:
        look = max(look, wide.read_bytes + wide.written_bytes) + LOOK_EVERY
        await wide.passed(look)
        if road.lanes != AUTO or _suffers(wide, told.get(CONGESTION_TOLD, ""), road.congestion):
            break
    async with asyncio.TaskGroup() as group:
        for _ in range(min(wanted, allowed, MOST) - 1):
            group.create_task(_lane(wide, road, token))


async def _lane(wide: Wide, road: Road, token: bytes) -> None:
    with suppress(ModelsyncError):  # then there is one less
        async with _open_lane(road, token) as lane:
            if LANES_TOLD not in await lane.told():  # a refused call may tell nothing instead of failing
                return
            road.congestion.outgoing()
            await wide.join(lane)


@asynccontextmanager
async def _open_lane(road: Road, token: bytes) -> AsyncIterator[ClientStream]:
    async with (
        open_channel(road.address, road.identity) as channel,
        open_session(channel, road.address, method=LANE, token=token) as lane,
    ):
        yield lane


def _suffers(wide: Wide, theirs: str, ours: Congestion) -> bool:
    """Whether loss slows down what passes: what we send, or what the hub does."""
    ways = [way for one in sockets.outgoing() if (way := sockets.way_of(one)) is not None and way.round_trip >= LONG]
    if wide.written_bytes > wide.read_bytes:
        return ours.loss_based and any(way.loss >= LOSS for way in ways)
    return theirs in LOSS_BASED and any(way.came_late >= LATE * way.came > 0 for way in ways)

"""Lanes over real connections: opened when asked for, used both ways, gone with their session."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from modelsyncd.codec.registry import Codec
from modelsyncd.digest import digest_of
from modelsyncd.errors import RoadError
from modelsyncd.link import sockets
from modelsyncd.link.channel import open_channel
from modelsyncd.link.congestion import Congestion, name_of
from modelsyncd.link.lanes import MOST, Lanes, Wide, widened
from modelsyncd.link.server import bind_tls, make_server, peer, serving
from modelsyncd.link.stream import ServicerStream, serve_sessions, token_of
from modelsyncd.link.widening import LANES_TOLD, LOOK_EVERY, Road, open_road
from modelsyncd.session.frames import Echo, Give, Part
from modelsyncd.trust.authority import Authority
from modelsyncd.wire.status import Context
from tests.fakes.authorities import make_authority

NAME = digest_of(b"manifest")
CHUNK = 128 << 10


@pytest.fixture(name="authority")
def _authority(tmp_path: Path) -> Authority:
    return make_authority(tmp_path)


def chunk(ordinal: int) -> Give:
    return Give(NAME, Part.CONTENT, ordinal, Codec.STORED, CHUNK, 0, bytes([ordinal % 256]) * CHUNK)


class Hub:
    """Gives every chunk back that it is given, and answers an Echo with how many lanes it has."""

    def __init__(self, *, allows: bool = True, refuses: bool = False) -> None:
        self.lanes = Lanes()
        self.allows = allows
        self.refuses = refuses
        self.refused = asyncio.Event()
        self.joined: list[asyncio.Task[None]] = []
        self.wide: Wide | None = None

    async def converse(self, stream: ServicerStream, context: Context) -> None:
        token = token_of(context)
        async with self.lanes.opened(peer(context), token, stream) if token else widened(stream) as wide:
            self.wide = wide
            await context.send_initial_metadata(((LANES_TOLD, str(MOST)),) if self.allows else ())
            while (frame := await wide.read()) is not None:
                await wide.write(Echo(wide.lanes, answer=True) if isinstance(frame, Echo) else frame)

    async def lane(self, stream: ServicerStream, context: Context) -> None:
        if self.refuses:
            self.refused.set()
        wide = self.lanes.find(peer(context), b"" if self.refuses else token_of(context))
        task = asyncio.current_task()
        assert task is not None
        self.joined.append(task)
        await context.send_initial_metadata(((LANES_TOLD, str(MOST)),))
        await wide.join(stream)

    @asynccontextmanager
    async def at(self, authority: Authority) -> AsyncIterator[str]:
        server = make_server()
        serve_sessions(server, self.converse, lane=self.lane)
        address = bind_tls(server, "127.0.0.1:0", authority.issue_hub(time.time()))
        async with serving(server, grace=0):
            yield address


def road(authority: Authority, address: str, lanes: str) -> Road:
    return Road(address, authority.issue_admin("anna", time.time()), Congestion("reno"), lanes)


async def there_and_back(hub: Hub, authority: Authority, lanes: str, count: int) -> tuple[int, list[str]]:
    """Sends chunks until so many lanes have joined; lanes at the hub, and what our sockets have."""
    async with asyncio.timeout(30), hub.at(authority) as address:
        way = road(authority, address, lanes)
        async with open_channel(address, way.identity) as channel, open_road(channel, way) as stream:
            sent = 0
            seen = 1
            while sent * CHUNK < 2 * LOOK_EVERY or (seen < count and sent < 200):
                await stream.write(chunk(sent % 256))
                back = await stream.read()
                assert isinstance(back, Give)
                assert bytes(back.payload) == bytes([back.ordinal % 256]) * CHUNK
                sent += 1
                await stream.write(Echo(0))
                answer = await stream.read()
                assert isinstance(answer, Echo)
                seen = answer.token
            return seen, [name_of(one) for one in sockets.outgoing()]


async def test_a_session_gets_the_lanes_that_were_asked_for_on_connections_of_their_own(authority: Authority) -> None:
    lanes, names = await there_and_back(Hub(), authority, "3", 3)
    assert lanes == 3
    assert len(names) == 3
    assert set(names) == {"reno"}


@pytest.mark.parametrize(("lanes", "allows"), [("1", True), ("auto", True), ("3", False)])
async def test_one_connection_is_enough_where_nothing_is_lost_or_the_hub_takes_no_more(
    authority: Authority, lanes: str, allows: bool
) -> None:
    found, names = await there_and_back(Hub(allows=allows), authority, lanes, 1)
    assert found == len(names) == 1


async def lose_a_lane(hub: Hub, authority: Authority) -> None:
    async with hub.at(authority) as address:
        way = road(authority, address, "2")
        async with open_channel(address, way.identity) as channel, open_road(channel, way) as stream:
            while True:
                await stream.write(chunk(1))
                await stream.read()
                if hub.wide is not None and hub.wide.lanes == 2:
                    hub.joined[0].cancel()  # as gRPC does when the connection is cut


async def test_a_lane_that_is_lost_ends_the_session(authority: Authority) -> None:
    async with asyncio.timeout(30):
        with pytest.raises(RoadError, match="a connection of this session was lost"):
            await lose_a_lane(Hub(), authority)


async def test_a_lane_that_the_hub_refuses_is_one_less_and_the_session_goes_on(authority: Authority) -> None:
    hub = Hub(refuses=True)
    async with asyncio.timeout(30), hub.at(authority) as address:
        way = road(authority, address, "2")
        async with open_channel(address, way.identity) as channel, open_road(channel, way) as stream:
            sent = 0
            while not hub.refused.is_set() or sent * CHUNK < 4 * LOOK_EVERY:
                await stream.write(chunk(sent % 256))
                assert isinstance(await stream.read(), Give)
                sent += 1
            assert hub.wide is not None
            assert hub.wide.lanes == 1

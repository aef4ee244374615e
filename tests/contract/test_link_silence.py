"""A silent link is noticed at both ends, and an idle one is not mistaken for it."""

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
from modelsyncd.link import channel, server
from modelsyncd.link.channel import open_channel
from modelsyncd.link.server import bind_tls, make_server, serving
from modelsyncd.link.stream import ServicerStream, open_session, serve_sessions
from modelsyncd.session.frames import Give, Hello, Part
from modelsyncd.wire.status import Context
from tests.fakes.authorities import make_authority

HELLO = Hello(1, "test", frozenset({Codec.ZSTD}))


class Relay:
    """A road that can be slow (`rate`, bytes a second), and fall silent: connections stay, nothing passes."""

    def __init__(self, target: str, rate: float = 0) -> None:
        self._target = target
        self._rate = rate
        self._silent = asyncio.Event()

    def fall_silent(self) -> None:
        self._silent.set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        async with await asyncio.start_server(self._meet, "127.0.0.1", 0) as listening:
            yield f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = self._target.split(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry(reader, far_writer))
                group.create_task(self._carry(far_reader, writer))
        finally:
            writer.close()
            far_writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(4_096):
                if self._rate:
                    await asyncio.sleep(len(data) / self._rate)
                if not self._silent.is_set():
                    writer.write(data)
                    await writer.drain()
        except OSError:
            return


def shrink(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Makes both ends so many times less patient."""
    monkeypatch.setattr(channel, "KEEPALIVE_MS", channel.KEEPALIVE_MS // times)
    monkeypatch.setattr(channel, "PING_TIMEOUT_MS", channel.PING_TIMEOUT_MS // times)
    monkeypatch.setattr(server, "PING_FLOOR_MS", server.PING_FLOOR_MS // times)


@pytest.fixture(name="quick")
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch, 100)


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
async def test_a_session_in_which_nothing_is_said_for_long_is_still_there(tmp_path: Path) -> None:
    async def echo(stream: ServicerStream, _: Context) -> None:
        while (frame := await stream.read()) is not None:
            await stream.write(frame)

    authority = make_authority(tmp_path)
    hub = make_server()
    serve_sessions(hub, echo)
    address = bind_tls(hub, "127.0.0.1:0", authority.issue_hub(time.time()))
    anna = authority.issue_admin("anna", time.time())
    async with (
        asyncio.timeout(20),
        serving(hub, grace=0),
        open_channel(address, anna) as road,
        open_session(road) as stream,
    ):
        with pytest.raises(TimeoutError):
            # gRPC pings once a second at most; a server hangs up on the fourth that it thinks too many.
            await asyncio.wait_for(stream.read(), 6)
        await stream.write(HELLO)
        assert await stream.read() == HELLO


@pytest.mark.usefixtures("quick")
async def test_both_ends_notice_that_the_road_has_fallen_silent(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def listen(stream: ServicerStream, _: Context) -> None:
        await stream.write(HELLO)
        try:
            await stream.read()
        finally:
            ended.set()

    authority = make_authority(tmp_path)
    hub = make_server()
    serve_sessions(hub, listen)
    relay = Relay(bind_tls(hub, "127.0.0.1:0", authority.issue_hub(time.time())))
    anna = authority.issue_admin("anna", time.time())
    async with (
        asyncio.timeout(20),
        serving(hub, grace=0),
        relay.open() as address,
        open_channel(address, anna) as road,
        open_session(road, address) as stream,
    ):
        assert await stream.read() == HELLO
        began = time.monotonic()
        relay.fall_silent()
        with pytest.raises(RoadError, match="fallen silent"):
            await stream.read()
        await ended.wait()
    assert time.monotonic() - began < 5


@pytest.mark.slow
async def test_a_slow_link_full_of_chunks_is_not_mistaken_for_a_silent_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrink(monkeypatch, 20)
    chunk = Give(digest_of(b"manifest"), Part.CONTENT, 1, Codec.STORED, 262_144, 0, bytes(262_144))

    async def give_ahead(stream: ServicerStream, context: Context) -> None:
        for _ in range(5):
            await stream.write(chunk)
        for _ in range(5):
            await stream.read()

    authority = make_authority(tmp_path)
    hub = make_server()
    serve_sessions(hub, give_ahead)
    relay = Relay(bind_tls(hub, "127.0.0.1:0", authority.issue_hub(time.time())), rate=500_000)
    anna = authority.issue_admin("anna", time.time())
    async with (
        asyncio.timeout(30),
        serving(hub, grace=0),
        relay.open() as address,
        open_channel(address, anna) as road,
        open_session(road, address) as stream,
    ):
        for _ in range(5):
            assert await stream.read() == chunk
            await stream.write(HELLO)
        assert await stream.read() is None


def test_a_client_pings_less_often_than_a_server_forbids() -> None:
    assert channel.KEEPALIVE_MS > 2 * server.PING_FLOOR_MS

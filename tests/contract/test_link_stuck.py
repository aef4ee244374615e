"""Over real gRPC and TLS: a peer that takes nothing is let go, and what stands between two peers is no hub."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import grpc.aio
import pytest

from modelsyncd.codec.registry import READABLE
from modelsyncd.errors import ModelsyncError, NoProgressError, RoadError
from modelsyncd.link import server
from modelsyncd.link.channel import open_channel
from modelsyncd.link.pump import Pump
from modelsyncd.link.server import bind_tls, make_server, serving
from modelsyncd.link.stream import METHOD, SERVICE, ServicerStream, open_session, serve_sessions
from modelsyncd.session.frames import PROTOCOL, Hello, Part, Want
from modelsyncd.session.session import Session
from modelsyncd.trust.identity import Identity
from modelsyncd.wire import frames
from modelsyncd.wire.status import Context
from tests.fakes.authorities import make_authority
from tests.fakes.conversation import Content
from tests.fakes.link.relay import PORTAL, tcp_link
from tests.fakes.link.shape import Way
from tests.fakes.wires import MemoryShelf, MemoryStock

HELLO = Hello(PROTOCOL, "test", READABLE)
PATIENCE = 0.5  # seconds, instead of a minute and a half


class Giving:
    """A hub's side that gives, and says how each session ended."""

    def __init__(self, content: Content) -> None:
        self.content = content
        self.ended: asyncio.Queue[ModelsyncError] = asyncio.Queue()

    async def hold(self, stream: ServicerStream, _: Context) -> None:
        stock = MemoryStock({self.content.name: self.content})
        try:
            await Pump(Session(HELLO), stream, giver=stock, patience=PATIENCE).run()
        except ModelsyncError as error:
            self.ended.put_nowait(error)
            raise


@pytest.mark.slow
async def test_a_hub_lets_go_of_a_peer_that_asks_for_everything_and_reads_nothing(tmp_path: Path) -> None:
    chunks = [bytes([n]) * 4_000_000 + bytes(n) for n in range(24)]  # far more than any window and buffer takes
    giving = Giving(Content([b"manifest"], [chunk.ljust(4_000_000, b"x") for chunk in chunks]))
    authority = make_authority(tmp_path)
    hub = make_server()
    serve_sessions(hub, giving.hold)
    address = bind_tls(hub, "127.0.0.1:0", authority.issue_hub(time.time()))
    anna = authority.issue_admin("anna", time.time())
    async with asyncio.timeout(30), serving(hub, grace=0.5), open_channel(address, anna) as channel:
        dial: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(f"/{SERVICE}/{METHOD}")
        call = dial()
        await call.write(frames.encode(Hello(PROTOCOL, "greedy", frozenset())))
        await call.write(frames.encode(Want(giving.content.name, Part.CONTENT, (range(24),))))
        began = time.monotonic()
        assert isinstance(await giving.ended.get(), NoProgressError)
        assert await call.code() is grpc.StatusCode.UNAVAILABLE  # the connection is gone, not only the session
        assert time.monotonic() - began < 10


async def test_who_connects_and_never_gets_through_tls_is_hung_up_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HANDSHAKE_MS", 300)
    authority = make_authority(tmp_path)
    hub = make_server()
    address = bind_tls(hub, "127.0.0.1:0", authority.issue_hub(time.time()))
    host, _, port = address.partition(":")
    async with asyncio.timeout(10), serving(hub, grace=0):
        for words in (b"", b"\x16\x03\x01\x02\x00\x01"):  # nothing, and the beginning of a hello
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(words)
            assert await reader.read() == b""
            writer.close()


async def pull_over(address: str, anna: Identity, content: Content) -> MemoryShelf:
    """One try to take it all. Raises what ended it."""
    shelf = MemoryShelf({content.name: content})
    failure: ModelsyncError | None = None
    async with open_channel(address, anna) as channel, open_session(channel, address) as stream:
        pump = Pump(Session(HELLO), stream, taker=shelf, deliver=lambda _: pump.close() if shelf.completed else None)
        pump.take(content.offer())
        try:
            await pump.run()
        except ModelsyncError as error:
            failure = error
    if failure is not None:
        raise failure
    return shelf


async def test_a_captive_portal_and_a_changed_byte_are_the_roads_fault_and_the_next_try_goes_on(tmp_path: Path) -> None:
    content = Content([b"manifest"], [random.Random(n).randbytes(200_000) for n in range(10)])
    giving = Giving(content)
    authority = make_authority(tmp_path)
    hub = make_server()
    serve_sessions(hub, giving.hold)
    address = bind_tls(hub, "127.0.0.1:0", authority.issue_hub(time.time()))
    anna = authority.issue_admin("anna", time.time())
    with tcp_link(address) as link:
        async with asyncio.timeout(30), serving(hub, grace=0.2):
            link.html = PORTAL
            with pytest.raises(RoadError):
                await pull_over(link.address, anna, content)
            link.html = b""
            link.corrupt_at(Way.DOWN, 900_000)
            with pytest.raises(RoadError):
                await pull_over(link.address, anna, content)
            assert (await pull_over(link.address, anna, content)).completed == [content.name]

"""What a session over gRPC promises to whoever reads and writes frames, with real TLS on the loopback."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc.aio
import pytest

from modelsyncd.codec.registry import Codec
from modelsyncd.digest import digest_of
from modelsyncd.errors import LimitError, ModelsyncError, ProtocolError, RefusedError, RoadError
from modelsyncd.limits import Limits
from modelsyncd.link.channel import open_channel
from modelsyncd.link.server import bind_tls, make_server, peer, serving
from modelsyncd.link.stream import METHOD, SERVICE, ClientStream, ServicerStream, open_session, serve_sessions
from modelsyncd.session.frames import Fault, Frame, Give, Hello, Part, Refuse, Unknown
from modelsyncd.trust.identity import Kind, Peer
from modelsyncd.wire import frames
from modelsyncd.wire.status import Context
from modelsyncd.wire.v1 import sync_pb2, sync_pb2_grpc
from tests.fakes.authorities import make_authority

HELLO = Hello(1, "test", frozenset({Codec.ZSTD}))
PATIENCE = 10.0  # seconds until a test that waits for something has failed


@dataclass
class Hub:
    """The called side: runs `talk`, and keeps what it read."""

    talk: Callable[[ServicerStream, Context], Awaitable[None]] | None = None
    heard: list[Frame | None] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    callers: list[Peer] = field(default_factory=list)

    async def hold(self, stream: ServicerStream, context: Context) -> None:
        self.callers.append(peer(context))
        try:
            await (self.talk or self.echo)(stream, context)
        finally:
            self.ended.set()

    async def echo(self, stream: ServicerStream, _: Context) -> None:
        while (frame := await stream.read()) is not None:
            self.heard.append(frame)
            await stream.write(frame)
        self.heard.append(None)


@asynccontextmanager
async def road(folder: Path, hub: Hub, limits: Limits | None = None) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a server that runs this hub's side."""
    authority = make_authority(folder)
    server = make_server(limits or Limits())
    serve_sessions(server, hub.hold)
    address = bind_tls(server, "127.0.0.1:0", authority.issue_hub(time.time()))
    anna = authority.issue_admin("anna", time.time())
    async with asyncio.timeout(PATIENCE), serving(server, grace=0.2), open_channel(address, anna) as channel:
        yield channel


def dial(channel: grpc.aio.Channel) -> grpc.aio.StreamStreamCall[bytes, bytes]:
    """A session of somebody who may write any bytes."""
    method: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(f"/{SERVICE}/{METHOD}")
    return method()


def bytes_of(data: object) -> bytes:
    assert isinstance(data, bytes)
    return data


async def talk(channel: grpc.aio.Channel, *words: Frame) -> None:
    """A session that says these words and then listens until it ends."""
    async with open_session(channel) as stream:
        for word in words:
            await stream.write(word)
        await read_on(stream)


async def write_on(stream: ClientStream) -> None:
    """Writes until it fails."""
    while True:
        await stream.write(HELLO)


async def read_on(stream: ClientStream) -> None:
    """Reads until what ended the call is raised, or the stream ends."""
    while await stream.read() is not None:
        pass


def give(ordinal: int, payload: bytes) -> Give:
    return Give(digest_of(b"manifest"), Part.CONTENT, ordinal, Codec.STORED, len(payload), 0, payload)


async def test_frames_of_every_size_cross_in_order(tmp_path: Path) -> None:
    sent: list[Frame] = [
        HELLO,
        *(give(ordinal, bytes([ordinal]) * size) for ordinal, size in enumerate((1, 300, 16_384, 262_144))),
    ]
    async with road(tmp_path, Hub()) as channel, open_session(channel) as stream:
        for frame in sent:
            await stream.write(frame)
        assert [await stream.read() for _ in sent] == sent


async def test_the_hub_knows_who_calls(tmp_path: Path) -> None:
    hub = Hub()
    async with road(tmp_path, hub) as channel, open_session(channel) as stream:
        await stream.write(HELLO)
        await stream.read()
    assert hub.callers == [Peer(Kind.ADMIN, "anna")]


async def test_a_generated_client_is_understood(tmp_path: Path) -> None:
    async with road(tmp_path, Hub()) as channel:
        call = sync_pb2_grpc.SyncServiceStub(channel).Session()
        await call.write(frames.to_pb(HELLO))
        answer = await call.read()
        call.cancel()
    assert isinstance(answer, sync_pb2.Frame)
    assert frames.from_pb(answer) == HELLO


async def test_an_error_of_the_hub_arrives_as_itself(tmp_path: Path) -> None:
    async def refuse(stream: ServicerStream, _: Context) -> None:
        await stream.read()
        raise RefusedError("you may not", safe="nothing was changed", hint="ask")

    async with road(tmp_path, Hub(refuse)) as channel:
        with pytest.raises(RefusedError) as caught:
            await talk(channel, HELLO)
    assert (caught.value.message, caught.value.safe, caught.value.hint) == ("you may not", "nothing was changed", "ask")


async def test_an_error_of_the_hub_is_also_its_last_frame(tmp_path: Path) -> None:
    async def refuse(stream: ServicerStream, _: Context) -> None:
        raise RefusedError("you may not", hint="ask")

    async with road(tmp_path, Hub(refuse)) as channel, open_session(channel) as stream:
        assert await stream.read() == Refuse(Fault("refused", "you may not", hint="ask"))
        with pytest.raises(RefusedError):
            await stream.read()


async def test_a_writer_also_learns_why_the_call_is_over(tmp_path: Path) -> None:
    async def refuse(stream: ServicerStream, _: Context) -> None:
        raise RefusedError("you may not")

    async with road(tmp_path, Hub(refuse)) as channel, open_session(channel) as stream:
        with pytest.raises(RefusedError, match="you may not"):
            await write_on(stream)


async def test_an_error_with_more_words_than_metadata_may_hold_still_arrives(tmp_path: Path) -> None:
    async def refuse(stream: ServicerStream, _: Context) -> None:
        raise RefusedError("ä" * 50_000, safe="ö" * 50_000, hint="ü" * 50_000)

    async with road(tmp_path, Hub(refuse)) as channel:
        with pytest.raises(RefusedError, match=r"^ä+…$"):
            await talk(channel)


async def test_an_error_that_is_not_ours_is_logged_there_and_says_nothing_here(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(stream: ServicerStream, _: Context) -> None:
        raise ZeroDivisionError("secret of the hub")

    with caplog.at_level(logging.ERROR):
        async with road(tmp_path, Hub(fail)) as channel:
            with pytest.raises(ModelsyncError) as caught:
                async with open_session(channel) as stream:
                    await read_on(stream)
    assert type(caught.value) is ModelsyncError
    assert "secret" not in repr(caught.value.__dict__)
    assert "secret of the hub" in caplog.text


async def test_an_error_out_of_a_task_group_arrives_as_itself(tmp_path: Path) -> None:
    async def fail(stream: ServicerStream, _: Context) -> None:
        raise ExceptionGroup("tasks", [RefusedError("inside a group")])

    async with road(tmp_path, Hub(fail)) as channel:
        with pytest.raises(RefusedError, match="inside a group"):
            await talk(channel)


async def test_a_hub_that_cancels_itself_does_not_leave_the_caller_waiting(tmp_path: Path) -> None:
    async def cancel_itself(stream: ServicerStream, _: Context) -> None:
        raise asyncio.CancelledError

    async with road(tmp_path, Hub(cancel_itself)) as channel:
        with pytest.raises(RoadError, match="gave up"):
            await talk(channel)


async def test_the_end_of_the_hubs_stream_is_none_and_stays_none(tmp_path: Path) -> None:
    async def leave(stream: ServicerStream, _: Context) -> None:
        await stream.write(HELLO)

    async with road(tmp_path, Hub(leave)) as channel, open_session(channel) as stream:
        assert [await stream.read() for _ in range(3)] == [HELLO, None, None]


async def test_last_words_are_heard_although_the_block_ends_at_once(tmp_path: Path) -> None:
    last: list[Frame] = [give(ordinal, bytes(262_144)) for ordinal in range(8)]
    last.append(Refuse(Fault("protocol", "enough")))
    hub = Hub()

    async def listen(stream: ServicerStream, _: Context) -> None:
        while (frame := await stream.read()) is not None:
            hub.heard.append(frame)

    async def say_and_fail(channel: grpc.aio.Channel) -> None:
        async with open_session(channel) as stream:
            for frame in last:
                await stream.write(frame)
            raise ProtocolError("enough")

    hub.talk = listen
    async with road(tmp_path, hub) as channel:
        with pytest.raises(ProtocolError):
            await say_and_fail(channel)
        await hub.ended.wait()
    assert hub.heard == last


async def test_a_read_that_is_cancelled_ends_nothing_and_loses_nothing(tmp_path: Path) -> None:
    async with road(tmp_path, Hub()) as channel, open_session(channel) as stream:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await stream.read()
        await stream.write(HELLO)
        assert await stream.read() == HELLO


async def test_a_session_that_is_cancelled_ends_at_once_and_looks_like_an_end_at_the_hub(tmp_path: Path) -> None:
    hub = Hub()

    async def wait_for_ever(channel: grpc.aio.Channel, talking: asyncio.Event) -> None:
        async with open_session(channel) as stream:
            await stream.write(HELLO)
            await stream.read()
            talking.set()
            await stream.read()

    async with road(tmp_path, hub) as channel:
        talking = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(wait_for_ever(channel, talking))
            await talking.wait()
            task.cancel()
        await hub.ended.wait()
    assert task.cancelled()
    assert hub.heard[0] == HELLO


async def test_a_hub_that_writes_to_nobody_learns_that_the_link_is_gone(tmp_path: Path) -> None:
    found: list[BaseException] = []

    async def speak(stream: ServicerStream, _: Context) -> None:
        try:
            while True:
                await stream.write(HELLO)
        except (ModelsyncError, asyncio.CancelledError) as error:
            found.append(error)
            raise

    hub = Hub(speak)
    async with road(tmp_path, hub) as channel:
        async with open_session(channel) as stream:
            await stream.read()
        await hub.ended.wait()
    assert isinstance(found[0], RoadError | asyncio.CancelledError)


async def test_many_writers_at_once_do_not_disturb_one_another(tmp_path: Path) -> None:
    async with road(tmp_path, Hub()) as channel, open_session(channel) as stream, asyncio.TaskGroup() as group:
        for ordinal in range(50):
            group.create_task(stream.write(give(ordinal, bytes(5_000))))
        arrived = [await stream.read() for _ in range(50)]
    assert sorted(frame.ordinal for frame in arrived if isinstance(frame, Give)) == list(range(50))


async def test_many_writers_at_the_hub_do_not_disturb_one_another(tmp_path: Path) -> None:
    async def write_all(stream: ServicerStream, _: Context) -> None:
        async with asyncio.TaskGroup() as group:
            for ordinal in range(50):
                group.create_task(stream.write(give(ordinal, bytes(5_000))))

    async with road(tmp_path, Hub(write_all)) as channel, open_session(channel) as stream:
        arrived = [await stream.read() for _ in range(50)]
    assert sorted(frame.ordinal for frame in arrived if isinstance(frame, Give)) == list(range(50))


async def test_a_channel_closed_under_a_session_is_a_road_error(tmp_path: Path) -> None:
    async def read(stream: ClientStream) -> None:
        with pytest.raises(RoadError):
            await stream.read()

    async with road(tmp_path, Hub()) as channel, open_session(channel) as stream:
        await stream.write(HELLO)
        await stream.read()
        async with asyncio.TaskGroup() as group:
            group.create_task(read(stream))
            await channel.close()


async def test_a_hub_that_stops_is_a_road_error(tmp_path: Path) -> None:
    authority = make_authority(tmp_path)
    server = make_server()
    serve_sessions(server, Hub().hold)
    address = bind_tls(server, "127.0.0.1:0", authority.issue_hub(time.time()))
    anna = authority.issue_admin("anna", time.time())
    async with asyncio.timeout(PATIENCE), open_channel(address, anna) as channel, open_session(channel) as stream:
        async with serving(server, grace=0):
            await stream.write(HELLO)
            await stream.read()
        with pytest.raises(RoadError):
            await read_on(stream)


async def test_a_word_of_the_future_reaches_the_hub_as_unknown(tmp_path: Path) -> None:
    hub = Hub()

    async def listen(stream: ServicerStream, _: Context) -> None:
        hub.heard.append(await stream.read())

    hub.talk = listen
    async with road(tmp_path, hub) as channel:
        call = dial(channel)
        await call.write(b"\xa2\x06\x05later")
        assert await call.read() is grpc.aio.EOF
    assert hub.heard == [Unknown(100)]


async def test_bytes_that_are_no_frame_are_answered_with_a_protocol_error(tmp_path: Path) -> None:
    async with road(tmp_path, Hub()) as channel:
        call = dial(channel)
        await call.write(b"\xff\xff\xff")
        refuse = frames.decode(bytes_of(await call.read()))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
    assert isinstance(refuse, Refuse)
    assert refuse.fault.code == "protocol"
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "malformed" in (caught.value.details() or "")


async def test_a_message_larger_than_the_hub_accepts_is_a_limit_error(tmp_path: Path) -> None:
    async with road(tmp_path, Hub(), Limits(message_bytes=1_000)) as channel:
        with pytest.raises(LimitError):
            await talk(channel, give(1, bytes(10_000)))

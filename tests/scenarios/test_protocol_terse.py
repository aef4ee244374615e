"""The words of docs/protocol.md on saying less: each MUST is quoted by a test that proves it, on the wire's bytes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
import pytest

from modelsyncd.bases import Run
from modelsyncd.codec.registry import Codec
from modelsyncd.digest import Digest, digest_of
from modelsyncd.errors import ProtocolError
from modelsyncd.link.channel import open_channel
from modelsyncd.link.server import bind_tls, make_server, serving
from modelsyncd.link.stream import METHOD, SERVICE, ServicerStream, open_session, serve_sessions
from modelsyncd.session.frames import FEATURES, Base, Feature, Give, Hello, Part, Refuse
from modelsyncd.wire import frames
from modelsyncd.wire.status import Context
from modelsyncd.wire.terse import Said
from modelsyncd.wire.v1 import sync_pb2
from tests.fakes.authorities import make_authority
from tests.scenarios.words import quote

ONE, OTHER, OLD = (digest_of(name) for name in (b"one", b"other", b"old"))
PATIENCE = 60.0  # seconds until a test that waits for something has failed


def hello(*features: Feature) -> Hello:
    return Hello(1, "test", frozenset({Codec.STORED}), features=frozenset(features))


def part(
    ordinal: int, offset: int = 0, *, manifest: Digest = ONE, size: int = 40_000, base: Base | None = None
) -> Give:
    """One of two parts of a chunk of twice this size; of the length for which heads are read by hand."""
    payload = bytes([ordinal]) * size
    return Give(manifest, Part.CONTENT, ordinal, Codec.DELTA, 2 * size, offset, payload, base)


def base(file: int) -> Base:
    return Base(OLD, (Run(file, 4, 80_000),))


GIVES = (
    part(0, base=base(0)),
    part(0, 40_000, base=base(0)),
    part(1, base=base(1)),
    part(2, manifest=OTHER, base=base(2)),
    part(1, 40_000, base=base(1)),
    part(3, size=10),
    part(3, 10, size=10),
    part(0, manifest=OTHER, size=10, base=base(3)),
)


@dataclass
class Giver:
    """The called side: gives all of this to whoever says Hello."""

    gives: Sequence[Give] = GIVES

    async def hold(self, stream: ServicerStream, _: Context) -> None:
        """Then reads on."""
        assert isinstance(await stream.read(), Hello)
        for give in self.gives:
            await stream.write(give)
        while await stream.read() is not None:
            pass


@asynccontextmanager
async def road(folder: Path, giver: Giver) -> AsyncIterator[grpc.aio.Channel]:
    authority = make_authority(folder)
    server = make_server()
    serve_sessions(server, giver.hold)
    address = bind_tls(server, "127.0.0.1:0", authority.issue_hub(time.time()))
    anna = authority.issue_admin("anna", time.time())
    async with asyncio.timeout(PATIENCE), serving(server, grace=0.2), open_channel(address, anna) as channel:
        yield channel


async def given_to(channel: grpc.aio.Channel, words: Hello) -> list[bytes]:
    """All that comes to somebody who says this, as it lay on the wire."""
    method: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(f"/{SERVICE}/{METHOD}")
    call = method()
    await call.write(frames.encode(words))
    arrived = []
    for _ in GIVES:
        data = await call.read()
        assert isinstance(data, bytes)
        arrived.append(data)
    await call.done_writing()
    return arrived


def heads(arrived: Sequence[bytes]) -> list[sync_pb2.Give]:
    return [sync_pb2.Frame.FromString(data).give for data in arrived]


async def test_rule_52_a_peer_that_fills_nothing_in_gets_all_of_each_give(tmp_path: Path) -> None:
    quote(52, "A giver MUST NOT leave anything out for a peer that does not list `FEATURE_TERSE`")
    async with road(tmp_path, Giver()) as channel:
        arrived = await given_to(channel, hello(Feature.ECHO))
    assert [frames.decode(data) for data in arrived] == list(GIVES)
    assert all(head.manifest and (head.base.manifest or not head.HasField("base")) for head in heads(arrived))


async def test_rule_52_a_peer_that_fills_in_hears_nothing_twice(tmp_path: Path) -> None:
    async with road(tmp_path, Giver()) as channel:
        arrived = await given_to(channel, hello(Feature.TERSE))
        async with open_session(channel) as stream:
            await stream.write(hello(*FEATURES))
            assert [await stream.read() for _ in GIVES] == list(GIVES)
    said = heads(arrived)
    assert [bool(head.manifest) for head in said] == [True, False, False, True, True, False, False, True]
    assert [head.HasField("base") for head in said] == [True, False, True, True, True, False, False, True]
    assert [bool(head.codec) for head in said] == [True, False, True, True, True, True, False, True]
    assert [bool(head.base.manifest) for head in said] == [True] + 7 * [False]


class Stuck:
    """A call whose writes hang until they are let go; as much of grpc.aio's as ServicerStream needs to write."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.free = asyncio.Event()

    async def read(self) -> bytes:
        return frames.encode(hello(Feature.TERSE))

    async def write(self, data: bytes) -> None:
        await self.free.wait()
        self.written.append(data)


async def test_rule_52_after_a_write_that_was_given_up_all_is_said_again() -> None:
    quote(52, "nor after a `Give` of which it does not know whether it was written")
    call = Stuck()
    stream = ServicerStream(call)  # type: ignore[arg-type]
    await stream.read()
    call.free.set()
    await stream.write(part(0))
    call.free.clear()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await stream.write(part(5, manifest=OTHER))
    call.free.set()
    await stream.write(part(6, manifest=OTHER))
    assert [frames.decode(data) for data in call.written] == [part(0), part(6, manifest=OTHER)]


async def test_rule_52_who_gives_up_waiting_for_its_turn_has_said_nothing() -> None:
    call = Stuck()
    stream = ServicerStream(call)  # type: ignore[arg-type]
    await stream.read()
    async with asyncio.TaskGroup() as group:
        group.create_task(stream.write(part(0)))
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await stream.write(part(5, manifest=OTHER))
        call.free.set()
    await stream.write(part(6, manifest=OTHER))
    heard = Said()
    assert [frames.decode(data, heard=heard) for data in call.written] == [part(0), part(6, manifest=OTHER)]


def without(*fields: str) -> bytes:
    """A Give of which these were left out."""
    head = sync_pb2.Frame.FromString(frames.encode(part(1, 40_000, base=base(1)))).give
    for name in fields:
        if name == "base.manifest":
            head.base.ClearField("manifest")
        else:
            head.ClearField(name)  # type: ignore[arg-type]
    return sync_pb2.Frame(give=head).SerializeToString()


@pytest.mark.parametrize(
    "left_out",
    [
        ("manifest",),
        ("base.manifest",),
        ("codec",),
        ("manifest", "part", "ordinal", "codec", "base", "encoded_size"),
    ],
)
async def test_rule_53_what_nobody_said_before_is_not_guessed(left_out: tuple[str, ...], tmp_path: Path) -> None:
    quote(53, "A `Give` that leaves out what was not said before it MUST be refused with `protocol`")
    async with road(tmp_path, Giver(())) as channel:
        method: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(f"/{SERVICE}/{METHOD}")
        call = method()
        await call.write(frames.encode(hello(Feature.TERSE)))
        await call.write(without(*left_out))
        data = await call.read()
        assert isinstance(data, bytes)
        answer = frames.decode(data)
    assert isinstance(answer, Refuse)
    assert answer.fault.code == "protocol"


@pytest.mark.parametrize(
    "left_out", [("manifest", "codec"), ("manifest", "part"), ("manifest", "codec", "encoded_size")]
)
def test_rule_53_half_of_a_chunk_s_head_is_not_filled_up(left_out: tuple[str, ...]) -> None:
    heard = Said()
    frames.decode(frames.encode(part(1, base=base(1))), heard=heard)
    with pytest.raises(ProtocolError):
        frames.decode(without(*left_out), heard=heard)

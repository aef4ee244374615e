"""How TCP answers loss, on the very sockets of real gRPC connections."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
import pytest

from modelsyncd.errors import BadInputError, RoadError
from modelsyncd.link import sockets
from modelsyncd.link.address import split
from modelsyncd.link.channel import open_channel
from modelsyncd.link.congestion import NOT_SENT_BYTES, Congestion, System, advice, name_of, system
from modelsyncd.link.server import bind_tls, make_server, serving
from modelsyncd.link.stream import ServicerStream, open_session, serve_sessions
from modelsyncd.session.frames import Echo
from modelsyncd.trust.authority import Authority
from modelsyncd.wire.status import Context
from tests.fakes.authorities import make_authority

OTHER = "reno"  # what every kernel has and lets everybody have


@pytest.fixture(name="authority")
def _authority(tmp_path: Path) -> Authority:
    return make_authority(tmp_path)


@asynccontextmanager
async def hub(authority: Authority, listen: str, chosen: Congestion) -> AsyncIterator[str]:
    async def answer(stream: ServicerStream, _: Context) -> None:
        while (frame := await stream.read()) is not None:
            await stream.write(frame)

    server = make_server()
    serve_sessions(server, answer)
    address = bind_tls(server, listen, authority.issue_hub(time.time()))
    assert chosen.listening(split(address)[1]) >= 1
    async with serving(server, grace=0):
        yield address


def accepted(port: int) -> list[str]:
    """What the accepted connections of this port have."""
    return [name_of(one) for one in sockets._tcp() if not sockets._listens(one) and one.getsockname()[1] == port]


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:0"])
async def test_both_ends_of_a_real_connection_have_what_was_chosen(authority: Authority, listen: str) -> None:
    mine, theirs = Congestion(OTHER), Congestion("system")
    async with hub(authority, listen, mine) as address:
        channel = open_channel(address, authority.issue_admin("anna", time.time()))
        async with asyncio.timeout(20), channel, open_session(channel, address, opened=mine.outgoing) as stream:
            await stream.write(Echo(7))
            assert await stream.read() == Echo(7)
            assert accepted(split(address)[1]) == [OTHER]
            assert [name_of(one) for one in sockets.outgoing()] == [OTHER]
            lowat = [one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) for one in sockets.outgoing()]
            assert lowat == [NOT_SENT_BYTES]
    assert mine.problem == theirs.problem == ""


async def test_a_second_session_of_a_channel_that_lost_its_connection_has_it_too(authority: Authority) -> None:
    chosen = Congestion(OTHER)
    identity = authority.issue_admin("anna", time.time())
    async with asyncio.timeout(100):
        async with hub(authority, "127.0.0.1:0", Congestion("system")) as address:
            channel = open_channel(address, identity)
            async with open_session(channel, address, opened=chosen.outgoing) as stream:
                await stream.write(Echo(1))
                await stream.read()
        async with hub(authority, address, Congestion("system")), channel:
            while not await _answered(channel, address, chosen):
                pass  # a session on the connection whose end was not noticed yet: an agent tries again, too


async def _answered(channel: grpc.aio.Channel, address: str, chosen: Congestion) -> bool:
    try:
        async with open_session(channel, address, opened=chosen.outgoing) as stream:
            await stream.write(Echo(2))
            assert await stream.read() == Echo(2)
            assert [name_of(one) for one in sockets.outgoing()] == [OTHER]
    except RoadError:
        return False
    return True


def test_what_can_not_be_had_is_told_and_leaves_the_systems_choice() -> None:
    chosen = Congestion("no-such")
    assert chosen.problem == "the kernel has no congestion control 'no-such'"
    assert chosen.name == system().default
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        assert chosen.listening(listener.getsockname()[1]) == 1
        assert name_of(listener) == system().default


def test_the_system_is_left_alone_when_that_is_asked() -> None:
    chosen = Congestion("system")
    assert chosen.name == system().default
    assert not chosen.problem


@pytest.mark.parametrize("setting", ["", "BBR", "a b", "x" * 16, "../bbr"])
def test_a_setting_that_can_be_no_name_is_refused(setting: str) -> None:
    with pytest.raises(BadInputError, match="congestion can't be"):
        Congestion(setting)


def test_an_administrator_is_told_what_to_type_and_only_then() -> None:
    nothing = System("cubic", frozenset({"reno", "cubic"}), frozenset({"reno", "cubic"}))
    assert advice(nothing) == ("modprobe tcp_bbr", 'sysctl -w net.ipv4.tcp_allowed_congestion_control="bbr cubic reno"')
    loaded = System("cubic", frozenset({"reno", "cubic"}), frozenset({"reno", "cubic", "bbr"}))
    assert advice(loaded) == ('sysctl -w net.ipv4.tcp_allowed_congestion_control="bbr cubic reno"',)
    assert advice(System("cubic", frozenset({"cubic", "bbr"}), frozenset({"cubic", "bbr"}))) == ()
    assert advice(System("bbr", frozenset({"reno"}), frozenset({"reno", "bbr"}))) == ()


def test_what_a_socket_did_is_read_from_the_kernel() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as caller,
        listener.accept()[0] as called,
    ):
        caller.sendall(bytes(10_000))
        held = 0
        while held < 10_000:
            held += len(called.recv(65_536))
        (seen,) = [sockets.way_of(one) for one in sockets.outgoing() if one.fileno() == caller.fileno()]
        back = sockets.way_of(called)
    assert seen is not None
    assert back is not None
    assert (seen.segments >= 1, seen.resent, seen.loss) == (True, 0, 0.0)
    assert back.received == 10_000
    assert 0 < seen.round_trip < 1
    assert caller.fileno() == -1, "what was borrowed is still its owner's to close"

"""Whoever comes in at the jobs' socket is known, and every byte goes through as it came, both ways."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edge_agent import doorkeeper
from edge_agent.callers import NOBODY
from edge_agent.doorkeeper import Doorkeeper, inner_socket
from modelsyncd.errors import BadInputError, ConflictError, DiskError
from tests.fakes.jobs import eventually, short_folder

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class House:
    """A door, and somebody behind it who is not gRPC."""

    socket: Path
    inner: Path
    door: Doorkeeper
    peers: list[str] = field(default_factory=list)

    async def enter(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(self.socket)


@asynccontextmanager
async def house(serve: Serve) -> AsyncIterator[House]:
    async with short_folder() as folder, AsyncExitStack() as stack:
        inner = stack.enter_context(inner_socket(folder / "door"))
        made = House(folder / "agent.sock", inner, Doorkeeper(inner))

        async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            name = writer.get_extra_info("socket").getpeername()
            made.peers.append("unix-abstract:" + name.lstrip(b"\0").decode())
            try:
                await serve(reader, writer)
            finally:
                writer.close()

        server = await asyncio.start_unix_server(served, inner)
        stack.push_async_callback(server.wait_closed)
        stack.callback(server.close)
        await stack.enter_async_context(made.door.open(made.socket, 0o660))
        yield made


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


async def test_the_caller_behind_a_connection_is_who_the_kernel_says() -> None:
    async with house(echo) as made:
        reader, writer = await made.enter()
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        caller = made.door.who(made.peers[0])
        assert (caller.uid, caller.pid, caller.owner) == (os.geteuid(), os.getpid(), True)
        assert caller.groups >= {os.getegid(), *os.getgroups()}
        writer.close()
        await eventually(lambda: len(made.door) == 0)
        assert made.door.who(made.peers[0]) is NOBODY


async def test_what_was_said_last_arrives_though_the_one_who_said_it_stopped_talking() -> None:
    """Half of a connection may end first: the other half goes on."""

    async def answer_at_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        whole = await reader.read()
        writer.write(whole[::-1])
        await writer.drain()

    said = random.Random(1).randbytes(3_000_000)
    async with house(answer_at_the_end) as made:
        reader, writer = await made.enter()
        writer.write(said)
        writer.write_eof()
        async with asyncio.timeout(60):
            assert await reader.read() == said[::-1]
        writer.close()
        await eventually(lambda: len(made.door) == 0)


@pytest.mark.parametrize("leaves", [False, True])
async def test_what_is_said_inside_before_the_caller_is_let_in_arrives(
    monkeypatch: pytest.MonkeyPatch, leaves: bool
) -> None:
    """gRPC speaks first, and may do so at any moment."""
    loop, said, stay = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    let_in = loop.connect_accepted_socket

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"settings")
        if leaves:
            writer.close()
            await writer.wait_closed()
        said.set()
        await stay.wait()

    async def let_in_late(*arguments: Any, **options: Any) -> Any:
        await said.wait()
        for _ in range(5):  # turns of the loop in which a side that may read does
            await asyncio.sleep(0)
        return await let_in(*arguments, **options)

    monkeypatch.setattr(loop, "connect_accepted_socket", let_in_late)
    async with house(speak) as made, asyncio.timeout(20):
        reader, writer = await made.enter()
        assert await reader.readexactly(8) == b"settings"
        if leaves:
            assert await reader.read() == b""
        else:
            assert len(made.door) == 1
        stay.set()
        writer.close()
        await eventually(lambda: len(made.door) == 0)


async def test_what_one_side_does_not_take_is_not_read_from_the_other() -> None:
    gate, taken = asyncio.Event(), 0

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        await gate.wait()
        while data := await reader.read(1 << 16):
            taken += len(data)

    async with house(slow) as made:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX) as mine:
            mine.setblocking(False)
            mine.connect(os.fspath(made.socket))
            sent = 0
            with suppress(TimeoutError):
                while True:  # until nobody takes any more
                    async with asyncio.timeout(1):
                        await loop.sock_sendall(mine, bytes(1 << 16))
                    sent += 1 << 16
            assert sent < 4 << 20
            gate.set()
            await eventually(lambda: taken >= sent)


async def test_many_connections_each_get_their_own_bytes() -> None:
    async with house(echo) as made:

        async def talk(seed: int) -> None:
            said = random.Random(seed).randbytes(200_000)
            reader, writer = await made.enter()
            writer.write(said)
            writer.write_eof()
            assert await reader.read() == said
            writer.close()

        async with asyncio.timeout(100), asyncio.TaskGroup() as group:
            for seed in range(200):
                group.create_task(talk(seed))
        assert len(set(made.peers)) == 200
        await eventually(lambda: len(made.door) == 0)


async def test_a_user_with_too_many_connections_is_turned_away_until_one_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorkeeper, "CONNECTIONS", 2)
    async with house(echo) as made:
        first, second = await made.enter(), await made.enter()
        await eventually(lambda: len(made.peers) == 2)
        reader, writer = await made.enter()
        assert await reader.read() == b""
        writer.close()
        first[1].close()
        await eventually(lambda: len(made.door) == 1)
        reader, writer = await made.enter()
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        writer.close()
        second[1].close()


async def test_one_side_that_dies_takes_the_other_with_it() -> None:
    left = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        left.set()

    async with house(listen) as made:
        _, writer = await made.enter()
        await eventually(lambda: made.peers)
        writer.transport.abort()
        async with asyncio.timeout(60):
            await left.wait()
        await eventually(lambda: len(made.door) == 0)


async def test_who_is_inside_when_the_door_closes_is_let_out() -> None:
    async with house(echo) as made:
        reader, writer = await made.enter()
        writer.write(b"x")
        await reader.readexactly(1)
        path = made.socket
    assert await reader.read() == b""
    writer.close()
    assert not path.exists()


async def test_nobody_answers_behind_the_door_and_the_caller_is_let_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async with short_folder() as folder:
        door = Doorkeeper(folder / "nobody")
        async with door.open(folder / "agent.sock", 0o600):
            reader, writer = await asyncio.open_unix_connection(folder / "agent.sock")
            assert await reader.read() == b""
            writer.close()
            assert len(door) == 0


async def test_a_name_can_not_be_guessed_from_another_one() -> None:
    async with house(echo) as made, house(echo) as other:
        for one in (made, other):
            reader, writer = await one.enter()
            writer.write(b"x")
            await reader.readexactly(1)
            writer.close()
        assert made.peers[0].rpartition("/")[2] == other.peers[0].rpartition("/")[2]
        assert made.peers[0] != other.peers[0]
        assert made.door.who(other.peers[0]) is NOBODY


async def test_only_we_may_enter_the_folder_of_the_inner_socket() -> None:
    async with short_folder() as folder:
        (folder / "door").mkdir(mode=0o777)
        with inner_socket(folder / "door") as inner:
            assert stat.S_IMODE(inner.parent.stat().st_mode) == 0o700
        with inner_socket(folder / ("d" * 100)) as elsewhere:
            assert len(os.fsencode(elsewhere)) <= 107
            assert stat.S_IMODE(elsewhere.parent.stat().st_mode) == 0o700
        assert not elsewhere.parent.exists()


async def test_a_socket_that_was_left_there_is_replaced_and_a_file_is_not() -> None:
    async with short_folder() as folder:
        path = folder / "agent.sock"
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(os.fspath(path))
        async with Doorkeeper(folder / "in").open(path, 0o640):
            assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.write_text("somebody's")
        with pytest.raises(ConflictError, match="in the way"):
            async with Doorkeeper(folder / "in").open(path, 0o640):
                raise AssertionError
        assert path.read_text() == "somebody's"
        with pytest.raises(DiskError):
            async with Doorkeeper(folder / "in").open(folder / "no" / "folder", 0o640):
                raise AssertionError
        with pytest.raises(BadInputError, match="longer than"):
            async with Doorkeeper(folder / "in").open(folder / ("x" * 120), 0o640):
                raise AssertionError

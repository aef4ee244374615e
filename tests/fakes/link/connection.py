"""One TCP connection over a bad link: what is read on one side is written to the other when its time has come."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from tests.fakes.link.shape import Corrupt, Cut, Mark, Shape, Stall, Way

BUFFER = 64 << 10  # bytes of each socket's buffers, as far as the kernel listens to us
SLICE = 16 << 10  # bytes handed on at once: a rate is kept evenly down to this


class Road(Protocol):
    """What a connection asks of the link that it belongs to."""

    lifetime: float
    html: bytes

    def shape_of(self, way: Way) -> Shape:
        """How this way is now."""

    def due(self, way: Way, count: int) -> float:
        """When bytes that were read now arrive, monotonic."""

    async def turn(self, way: Way, count: int) -> int:
        """How many of `count` bytes may be handed on now; 0 when something happens before the next."""

    def count(self, way: Way, count: int) -> None:
        """So many bytes were handed on."""

    def next_mark(self, way: Way) -> Mark:
        """What happens before the next byte; it is crossed out."""

    def forget(self, connection: Connection) -> None:
        """The connection is over."""


@dataclass
class _Flight:
    """Bytes that were read and not handed on yet; an empty slice is the sender's orderly end."""

    slices: deque[tuple[float, bytes]] = field(default_factory=deque)
    size: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)
    room: asyncio.Event = field(default_factory=asyncio.Event)


class Connection:
    """One connection of a link."""

    def __init__(self, road: Road, here: socket.socket) -> None:
        self.task: asyncio.Task[None] | None = None
        self._road = road
        self._here = here
        self._there = socket.socket()
        self._how: asyncio.Future[Cut | None] = asyncio.get_running_loop().create_future()
        self._open = 2

    def end(self, how: Cut) -> bool:
        """Cuts it; False when it is ending already."""
        if self._how.done():
            return False
        self._how.set_result(how)
        return True

    def stop(self) -> None:
        """Ends the relaying itself."""
        if self.task is not None:
            self.task.cancel()

    async def run(self, target: tuple[str, int]) -> None:
        """From its first byte to its end."""
        loop = asyncio.get_running_loop()
        self._here.setblocking(False)
        self._there.setblocking(False)
        self._there.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        for end in (self._here, self._there):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if self._road.html:
                await self._answer(self._road.html)
                return
            await loop.sock_connect(self._there, target)
            await self._finish(await self._relay())
        except OSError:
            self._reset()
        finally:
            self._road.forget(self)
            self._here.close()
            self._there.close()

    async def _answer(self, html: bytes) -> None:
        """As a captive portal does, whatever it was asked."""
        loop = asyncio.get_running_loop()
        await loop.sock_recv(self._here, BUFFER)
        await loop.sock_sendall(self._here, html)
        await _say_goodbye(self._here)

    async def _relay(self) -> Cut | None:
        """Until both ways have ended, or the connection is to be cut, and how."""
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._road.lifetime, self.end, Cut.RESET) if self._road.lifetime else None
        async with asyncio.TaskGroup() as group:
            tasks = []
            for way, source, sink in (
                (Way.UP, self._here, self._there),
                (Way.DOWN, self._there, self._here),
            ):
                flight = _Flight()
                tasks.append(group.create_task(self._guard(self._take(way, source, flight))))
                tasks.append(group.create_task(self._guard(self._hand_on(way, sink, flight))))
            how = await self._how
            for task in tasks:
                task.cancel()
        if timer is not None:
            timer.cancel()
        return how

    async def _guard(self, work: Coroutine[object, object, None]) -> None:
        try:
            await work
        except OSError:  # one side is gone without a word: so is the other
            self._end_quietly(Cut.RESET)

    async def _take(self, way: Way, source: socket.socket, flight: _Flight) -> None:
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(source, SLICE):
            flight.slices.append((self._road.due(way, len(data)), data))
            flight.size += len(data)
            flight.news.set()
            while flight.size >= self._road.shape_of(way).flight(BUFFER):
                flight.room.clear()
                await flight.room.wait()
        flight.slices.append((self._road.due(way, 0), b""))
        flight.news.set()

    async def _hand_on(self, way: Way, sink: socket.socket, flight: _Flight) -> None:
        while True:
            while not flight.slices:
                flight.news.clear()
                await flight.news.wait()
            due, data = flight.slices.popleft()
            await asyncio.sleep(due - time.monotonic())
            if not data:
                sink.shutdown(socket.SHUT_WR)
                self._open -= 1
                if not self._open:
                    self._end_quietly(None)
                return
            if not await self._write(way, sink, data):
                return
            flight.size -= len(data)
            flight.room.set()

    async def _write(self, way: Way, sink: socket.socket, data: bytes) -> bool:
        """False when nothing more is carried this way."""
        loop = asyncio.get_running_loop()
        while data:
            allowed = await self._road.turn(way, len(data))
            if allowed:
                await loop.sock_sendall(sink, data[:allowed])
                self._road.count(way, allowed)
                data = data[allowed:]
                continue
            match self._road.next_mark(way):
                case Cut.HALF:
                    return False
                case Cut() as how:
                    self._end_quietly(how)
                    return False
                case Corrupt():
                    data = bytes([data[0] ^ 0x10]) + data[1:]
                case Stall(seconds):
                    await asyncio.sleep(seconds)
        return True

    def _end_quietly(self, how: Cut | None) -> None:
        if not self._how.done():
            self._how.set_result(how)

    async def _finish(self, how: Cut | None) -> None:
        match how:
            case Cut.RESET:
                self._reset()
            case Cut.END:
                async with asyncio.TaskGroup() as group:
                    for end in (self._here, self._there):
                        group.create_task(_say_goodbye(end))
            case Cut.SILENCE | Cut.HALF:
                await asyncio.Event().wait()
            case None:
                pass

    def _reset(self) -> None:
        for end in (self._here, self._there):
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def _say_goodbye(end: socket.socket) -> None:
    """An orderly end: what still comes is read and thrown away, else the kernel would say RST."""
    with suppress(OSError):
        end.shutdown(socket.SHUT_WR)
        while await asyncio.get_running_loop().sock_recv(end, BUFFER):
            pass

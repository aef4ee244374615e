"""A bad link on loopback: a TCP relay in a thread of its own that counts, slows, stops and cuts what it carries.

Bytes count once they are handed on, so what a cut destroyed in the relay's own buffers was never carried. Those buffers
are small: what a sender believes to be on its way is at most some 300 KiB ahead of what is counted here.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum

BUFFER = 64 << 10  # bytes of each socket's buffers, as far as the kernel listens to us
SLICE = 16 << 10  # bytes handed on at once: a rate is kept evenly down to this
FOR_EVER = 1 << 62


class Way(Enum):
    """Which way bytes go."""

    UP = "to the target"
    DOWN = "from the target"


class Cut(Enum):
    """How a connection ends."""

    RESET = "a reset on both sides, as when a router forgets the connection"
    END = "an orderly end on both sides, in the middle of whatever was said"
    SILENCE = "nothing at all: both sides believe that the other is there"


@dataclass
class _Side:
    """One way of the link, over all of its connections."""

    carried: int = 0
    cuts: list[tuple[int, Cut]] = field(default_factory=list)
    free_at: float = 0.0

    def room(self) -> int:
        """Bytes until the next cut."""
        return self.cuts[0][0] - self.carried if self.cuts else FOR_EVER


class TcpLink:
    """A relay before `target` ("HOST:PORT"); `rate` in bytes per second each way, None for no limit.

    Its methods may be called from any thread.
    """

    def __init__(self, target: str, rate: int | None = None) -> None:
        host, _, port = target.rpartition(":")
        self.address = ""
        """HOST:PORT where the relay listens."""
        self.connections = 0
        """How many were made."""
        self.cuts = 0
        """How many were cut."""
        self._target = (host, int(port))
        self._rate = rate
        self._sides = {way: _Side() for way in Way}
        self._news = threading.Condition()
        self._live: set[_Connection] = set()
        self._going: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None
        self._listener = socket.socket()

    # --- what a test does with it ---

    def carried(self, way: Way) -> int:
        """Bytes so far."""
        return self._sides[way].carried

    def reach(self, way: Way, count: int, seconds: float = 60.0) -> None:
        """Returns once so many bytes were carried. Raises AssertionError when that takes too long."""
        with self._news:
            came = self._news.wait_for(lambda: self._sides[way].carried >= count, seconds)
        assert came, f"{self.carried(way)} of {count} bytes {way.value} in {seconds:.0f} s"

    def cut_at(self, way: Way, count: int, how: Cut = Cut.RESET) -> None:
        """Cuts the connection that carries the byte with this number, right before it."""
        self._do(lambda: self._plan(way, count, how))

    def cut(self, how: Cut = Cut.RESET) -> None:
        """Cuts every connection now; new ones can be made."""
        self._do(lambda: self._end_all(how))

    def pause(self) -> None:
        """Carries nothing, both ways, until `resume`."""
        assert self._going is not None
        self._do(self._going.clear)

    def resume(self) -> None:
        """Goes on."""
        assert self._going is not None
        self._do(self._going.set)

    # --- inside the relay's thread ---

    def _plan(self, way: Way, count: int, how: Cut) -> None:
        self._sides[way].cuts.append((count, how))
        self._sides[way].cuts.sort(key=lambda cut: cut[0])

    def _end_all(self, how: Cut) -> None:
        for connection in list(self._live):
            connection.end(how)

    def _do(self, act: Callable[[], None]) -> None:
        """Runs something in the relay's thread and returns when it is done."""
        assert self._loop is not None
        done = threading.Event()

        def run() -> None:
            act()
            done.set()

        self._loop.call_soon_threadsafe(run)
        assert done.wait(10), "the relay hangs"

    async def main(self, ready: threading.Event) -> None:
        """Relays until `stop`."""
        self._loop = asyncio.get_running_loop()
        self._over, self._going = asyncio.Event(), asyncio.Event()
        self._going.set()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)  # those it accepts inherit it
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self._listener.setblocking(False)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        ready.set()
        async with asyncio.TaskGroup() as group:
            accepting = group.create_task(self._accept(group))
            await self._over.wait()
            accepting.cancel()
            for connection in list(self._live):
                connection.stop()
        self._listener.close()

    def stop(self) -> None:
        """Ends everything, at once."""
        assert self._loop is not None
        assert self._over is not None
        self._loop.call_soon_threadsafe(self._over.set)

    async def _accept(self, group: asyncio.TaskGroup) -> None:
        while True:
            here, _ = await asyncio.get_running_loop().sock_accept(self._listener)
            self.connections += 1
            connection = _Connection(self, here)
            self._live.add(connection)
            connection.task = group.create_task(connection.run(self._target))

    def forget(self, connection: _Connection) -> None:
        self._live.discard(connection)

    async def wait_turn(self, way: Way, count: int) -> int:
        """How many of `count` bytes may be handed on now; 0 when the connection must be cut first."""
        assert self._going is not None
        await self._going.wait()
        side = self._sides[way]
        if self._rate is not None:
            side.free_at = max(side.free_at, time.monotonic()) + min(count, SLICE) / self._rate
            await asyncio.sleep(side.free_at - time.monotonic())
        return min(count, SLICE, side.room())

    def count(self, way: Way, count: int) -> None:
        with self._news:
            self._sides[way].carried += count
            self._news.notify_all()

    def next_cut(self, way: Way) -> Cut:
        self.cuts += 1
        return self._sides[way].cuts.pop(0)[1]


class _Connection:
    """One connection of the link."""

    def __init__(self, link: TcpLink, here: socket.socket) -> None:
        self.task: asyncio.Task[None] | None = None
        self._link = link
        self._here = here
        self._there = socket.socket()
        self._how: asyncio.Future[Cut | None] = asyncio.get_running_loop().create_future()
        self._open = 2

    def end(self, how: Cut) -> None:
        if not self._how.done():
            self._link.cuts += 1
            self._how.set_result(how)

    def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()

    async def run(self, target: tuple[str, int]) -> None:
        loop = asyncio.get_running_loop()
        self._here.setblocking(False)
        self._there.setblocking(False)
        self._there.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        for end in (self._here, self._there):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await loop.sock_connect(self._there, target)
            await self._finish(await self._relay())
        except OSError:
            self._reset()
        finally:
            self._link.forget(self)
            self._here.close()
            self._there.close()

    async def _relay(self) -> Cut | None:
        """Until both ways have ended, or the connection is to be cut, and how."""
        async with asyncio.TaskGroup() as group:
            ways = [
                group.create_task(self._copy(Way.UP, self._here, self._there)),
                group.create_task(self._copy(Way.DOWN, self._there, self._here)),
            ]
            how = await self._how
            for way in ways:
                way.cancel()
        return how

    async def _copy(self, way: Way, source: socket.socket, sink: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            while data := await loop.sock_recv(source, BUFFER):
                view = memoryview(data)
                while view:
                    allowed = await self._link.wait_turn(way, len(view))
                    if not allowed:
                        self._end_quietly(self._link.next_cut(way))
                        return
                    await loop.sock_sendall(sink, view[:allowed])
                    self._link.count(way, allowed)
                    view = view[allowed:]
            sink.shutdown(socket.SHUT_WR)
        except OSError:  # one side is gone without a word: so is the other
            self._end_quietly(Cut.RESET)
        self._open -= 1
        if not self._open:
            self._end_quietly(None)

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
            case Cut.SILENCE:
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


@contextmanager
def tcp_link(target: str, rate: int | None = None) -> Iterator[TcpLink]:
    """A link before this address for as long as the block lasts."""
    link = TcpLink(target, rate)
    ready = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(link.main(ready)), name="tcp-link")
    thread.start()
    assert ready.wait(10), "the relay did not start"
    try:
        yield link
    finally:
        link.stop()
        thread.join(10)
        assert not thread.is_alive(), "the relay did not end"

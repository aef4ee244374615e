"""A bad link on loopback: a TCP relay in a thread of its own that counts, slows, delays, spoils, stops and cuts.

Bytes count once they are handed on, so what a cut destroyed in the relay's own buffers was never carried. Those buffers
are small, unless a `Shape` says otherwise: what a sender believes to be on its way is at most some 300 KiB and what the
delay holds ahead of what is counted here.
"""

from __future__ import annotations

import asyncio
import random
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.fakes.link.connection import BUFFER, SLICE, Connection
from tests.fakes.link.shape import FOR_EVER, Corrupt, Cut, Mark, Shape, Stall, Way

PORTAL = (
    b"HTTP/1.1 302 Found\r\nLocation: http://login.example/\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n"
    b"<!doctype html><title>Welcome aboard</title><p>Please accept our terms before you go on.\r\n"
)


@dataclass
class _Side:
    """One way of the link, over all of its connections."""

    shape: Shape = field(default_factory=Shape)
    carried: int = 0
    taken: int = 0
    marks: list[tuple[int, Mark]] = field(default_factory=list)
    free_at: float = 0.0
    last_due: float = 0.0

    def room(self) -> int:
        """Bytes until something happens."""
        return self.marks[0][0] - self.carried if self.marks else FOR_EVER


class TcpLink:
    """A relay before `target` ("HOST:PORT"). Its methods may be called from any thread."""

    def __init__(self, target: str, rate: float | None = None, seed: int = 1) -> None:
        """`rate` in bytes per second each way, None for no limit; `seed` for the jitter."""
        host, _, port = target.rpartition(":")
        self.address = ""
        """HOST:PORT where the relay listens."""
        self.connections = 0
        """How many were made."""
        self.cuts = 0
        """How many were cut, in whichever way."""
        self.lifetime = 0.0
        """Seconds after which a connection is cut, from the next one on; 0 means never."""
        self.html = b""
        """What every new connection is answered with, in the place of the target, unless it is empty."""
        self._target = (host, int(port))
        self._rng = random.Random(seed)
        self._sides = {way: _Side(Shape(rate or 0.0)) for way in Way}
        self._news = threading.Condition()
        self._live: set[Connection] = set()
        self._going: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None
        self._listener = socket.socket()

    # --- what a test does with it ---

    def carried(self, way: Way) -> int:
        """Bytes so far."""
        return self._sides[way].carried

    def taken(self, way: Way) -> int:
        """Bytes that a sender has put on this link so far, whether they arrived or a cut lost them."""
        return self._sides[way].taken

    def reach(self, way: Way, count: int, seconds: float = 60.0) -> None:
        """Returns once so many bytes were carried. Raises AssertionError when that takes too long."""
        with self._news:
            came = self._news.wait_for(lambda: self._sides[way].carried >= count, seconds)
        assert came, f"{self.carried(way)} of {count} bytes {way.value} in {seconds:.0f} s"

    def await_connections(self, count: int, seconds: float = 60.0) -> None:
        """Returns once so many were made. Raises AssertionError when that takes too long."""
        with self._news:
            came = self._news.wait_for(lambda: self.connections >= count, seconds)
        assert came, f"{self.connections} of {count} connections in {seconds:.0f} s"

    def shape(self, way: Way, shape: Shape) -> None:
        """How this way is from now on."""
        self._do(lambda: setattr(self._sides[way], "shape", shape))

    def cut_at(self, way: Way, count: int, how: Cut = Cut.RESET) -> None:
        """Cuts the connection that carries the byte with this number, right before it."""
        self.script(way, [(count, how)])

    def corrupt_at(self, way: Way, count: int) -> None:
        """Changes a bit of the byte with this number."""
        self.script(way, [(count, Corrupt())])

    def stall_at(self, way: Way, count: int, seconds: float) -> None:
        """Carries nothing this way for so long, right before the byte with this number."""
        self.script(way, [(count, Stall(seconds))])

    def script(self, way: Way, marks: Iterable[tuple[int, Mark]]) -> None:
        """What happens before which bytes."""
        self._do(lambda: self._plan(way, list(marks)))

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

    # --- what its connections ask ---

    def shape_of(self, way: Way) -> Shape:
        """How this way is now."""
        return self._sides[way].shape

    def due(self, way: Way, count: int) -> float:
        """When bytes that were read now arrive, monotonic."""
        side, now = self._sides[way], time.monotonic()
        side.taken += count
        if side.shape.rate:
            side.free_at = max(side.free_at, now) + count / side.shape.rate
        due = max(side.free_at, now) + side.shape.delay + side.shape.jitter * self._rng.random()
        side.last_due = max(side.last_due, due)
        return side.last_due

    async def turn(self, way: Way, count: int) -> int:
        """How many of `count` bytes may be handed on now; 0 when something happens before the next."""
        assert self._going is not None
        await self._going.wait()
        return min(count, SLICE, self._sides[way].room())

    def count(self, way: Way, count: int) -> None:
        """So many bytes were handed on."""
        with self._news:
            self._sides[way].carried += count
            self._news.notify_all()

    def next_mark(self, way: Way) -> Mark:
        """What happens before the next byte; it is crossed out."""
        mark = self._sides[way].marks.pop(0)[1]
        self.cuts += isinstance(mark, Cut)
        return mark

    def forget(self, connection: Connection) -> None:
        """The connection is over."""
        self._live.discard(connection)

    # --- inside the relay's thread ---

    def _plan(self, way: Way, marks: list[tuple[int, Mark]]) -> None:
        self._sides[way].marks = sorted(self._sides[way].marks + marks, key=lambda mark: mark[0])

    def _end_all(self, how: Cut) -> None:
        for connection in list(self._live):
            self.cuts += connection.end(how)

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
        self._listener.listen(1_000)
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
            connection = Connection(self, here)
            self._live.add(connection)
            connection.task = group.create_task(connection.run(self._target))
            with self._news:
                self.connections += 1
                self._news.notify_all()


@contextmanager
def tcp_link(target: str, rate: float | None = None, seed: int = 1) -> Iterator[TcpLink]:
    """A link before this address for as long as the block lasts."""
    link = TcpLink(target, rate, seed)
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

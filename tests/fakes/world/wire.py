"""A link between a node and the hub: so many bytes a second, so long a way, and all the ways in which it fails."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from modelsyncd.errors import RoadError
from modelsyncd.session.frames import Frame
from modelsyncd.wire import frames

KEEPALIVE = 50.0  # seconds until a dead link is noticed by who waits for something (docs/adr/0010-silence.md)
BUFFER = 64 << 10  # bytes that are on their way before a write waits
_HEAD = 40  # bytes that the road adds to a frame


@dataclass
class Shape:
    """One direction: bytes a second, and seconds from end to end."""

    rate: float = 1e6
    delay: float = 0.05


class Direction:
    """Frames on their way from one end to the other, in order."""

    def __init__(self, shape: Shape, sent: Callable[[Frame], None], passed: Callable[[Frame], None]) -> None:
        self._shape = shape
        self._sent = sent
        self._passed = passed
        self._way: deque[tuple[float, bytes]] = deque()
        self._bytes = 0
        self._free_at = 0.0
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self.ended: str | None = None
        self.silent = False

    async def write(self, frame: Frame) -> None:
        data = frames.encode(frame)
        while self._bytes > BUFFER and self.ended is None:
            self._room.clear()
            await self._room.wait()
        if self.ended is not None:
            raise RoadError("the link broke")
        now = asyncio.get_running_loop().time()
        self._free_at = max(now, self._free_at) + (len(data) + _HEAD) / self._shape.rate
        self._way.append((self._free_at + self._shape.delay, data))
        self._bytes += len(data)
        self._sent(frame)
        self._news.set()

    async def read(self) -> Frame | None:
        loop = asyncio.get_running_loop()
        while True:
            if self.ended is not None:
                if self.ended == "reset":
                    raise RoadError("the link broke")
                return None
            if self._way and not self.silent:
                arrives = self._way[0][0]
                if arrives <= loop.time():
                    _, data = self._way.popleft()
                    self._bytes -= len(data)
                    self._room.set()
                    frame = frames.decode(data)
                    self._passed(frame)
                    return frame
            else:
                arrives = None
            self._news.clear()
            try:
                async with asyncio.timeout_at(arrives):
                    await self._news.wait()
            except TimeoutError:
                continue

    def end(self, how: str) -> None:
        """What is on its way is lost. `how` is "reset", or "quiet" for an end that looks like a clean one."""
        self.ended = self.ended or how
        self._news.set()
        self._room.set()


class Link:
    """One connection. `up` and `down` are seen from the node."""

    def __init__(self, up: Shape, down: Shape, sent: Callable[[Frame], None], seen: Callable[[Frame], None]) -> None:
        self.up = Direction(up, _nobody, _nobody)
        self.down = Direction(down, sent, seen)

    def cut(self, how: str) -> None:
        """Both ends learn of it at once."""
        self.up.end(how)
        self.down.end(how)

    def silence(self, *, up: bool, down: bool) -> None:
        """Nothing arrives any more; the keepalive finds out."""
        self.up.silent, self.down.silent = self.up.silent or up, self.down.silent or down
        asyncio.get_running_loop().call_later(KEEPALIVE, self.cut, "reset")

    def node_end(self) -> End:
        return End(self.down, self.up)

    def hub_end(self) -> End:
        return End(self.up, self.down)


def _nobody(_: Frame) -> None:
    """Takes no note."""


@dataclass
class End:
    """A FrameStream."""

    inward: Direction
    outward: Direction

    async def read(self) -> Frame | None:
        return await self.inward.read()

    async def write(self, frame: Frame) -> None:
        await self.outward.write(frame)

"""A bad link for frames, in whatever time its loop keeps: it cuts at a byte, as the one of TCP does, and costs nothing.

What it leaves out is TCP itself: bytes are never lost one by one, they are late or the connection is gone. What gRPC
does is written down as a few numbers: the bytes that frames and handshakes take, and how long pings take to notice.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from modelsyncd.errors import ModelsyncError, RoadError
from modelsyncd.link.channel import CONNECT_MS, KEEPALIVE_MS, PING_TIMEOUT_MS
from modelsyncd.link.pump import FrameStream
from modelsyncd.session.frames import Frame
from modelsyncd.wire import frames
from tests.fakes.link.shape import FOR_EVER, Corrupt, Cut, Mark, Shape, Stall, Way

HANDSHAKE = 3_000  # bytes each way: certificates of both sides, and HTTP/2's settings
TRIPS = 3  # round trips before the first frame: TCP, TLS, HTTP/2
RECORD = 16 << 10  # bytes of a TLS record, and of an HTTP/2 frame
RECORD_HEAD = 31  # bytes
MESSAGE_HEAD = 45  # bytes: gRPC's and HTTP/2's of one message, and its share of TCP's
KEEPALIVE = (KEEPALIVE_MS + PING_TIMEOUT_MS) / 1000  # seconds until pings notice that nothing is answered
CONNECT = CONNECT_MS / 1000  # seconds that one try to connect may take
BUFFER = 1 << 20  # bytes that buffers of sockets and of HTTP/2 take, beside what the delay holds


def size_on_wire(data: bytes) -> int:
    """Bytes that a frame takes with all that is around it."""
    return len(data) + MESSAGE_HEAD + RECORD_HEAD * (len(data) // RECORD + 1)


@dataclass
class _Side:
    """One way of the road, over all of its connections."""

    shape: Shape
    carried: int = 0
    lost: int = 0
    marks: deque[tuple[int, Mark]] = field(default_factory=deque)
    free_at: float = 0.0

    def cross(self, count: int) -> tuple[int, Mark | None]:
        """Carries up to `count` bytes; how many, and what happens before the next."""
        room = self.marks[0][0] - self.carried if self.marks else FOR_EVER
        carried = min(count, max(0, room))
        self.carried += carried
        return carried, self.marks.popleft()[1] if carried < count else None


class FrameRoad:
    """A road to whoever `serve`s; its `connect` is what an uplink wants. Use it as a context manager."""

    def __init__(
        self,
        serve: Callable[[FrameStream], Awaitable[None]],
        *,
        up: Shape | None = None,
        down: Shape | None = None,
        keepalive: float | None = KEEPALIVE,
        seed: int = 1,
    ) -> None:
        """`keepalive` is None where pings are answered though nothing else passes."""
        self.tries = 0
        self.connections = 0
        self.cuts = 0
        self.away = False
        """Nobody can be reached, and nobody says so."""
        self.portal = False
        """Somebody else answers, with a page of HTML."""
        self.lifetime = 0.0
        """Seconds after which a connection is cut, from the next one on; 0 means never."""
        self.tried_at: list[float] = []
        self._serve = serve
        self._sides = {Way.UP: _Side(up or Shape()), Way.DOWN: _Side(down or Shape())}
        self._keepalive = keepalive
        self._rng = random.Random(seed)
        self._group: asyncio.TaskGroup | None = None
        self._serving: list[asyncio.Task[None]] = []
        self._live: set[_Connection] = set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[FrameRoad]:
        """Connections can be made while the block runs."""
        async with asyncio.TaskGroup() as group:
            self._group, self._serving = group, []
            yield self
            for task in self._serving:
                task.cancel()

    def carried(self, way: Way) -> int:
        """Bytes that arrived so far."""
        return self._sides[way].carried

    def travelled(self, way: Way) -> int:
        """Bytes that were sent so far: those that arrived, and those that were on their way when a cut lost them."""
        return self._sides[way].carried + self._sides[way].lost

    def shape(self, way: Way, shape: Shape) -> None:
        """How this way is from now on."""
        self._sides[way].shape = shape

    def script(self, way: Way, marks: Iterable[tuple[int, Mark]]) -> None:
        """What happens before which bytes."""
        side = self._sides[way]
        side.marks = deque(sorted([*side.marks, *marks], key=lambda mark: mark[0]))

    def cut(self, how: Cut = Cut.RESET) -> None:
        """Cuts every connection now."""
        for connection in list(self._live):
            connection.cut(how, Way.DOWN)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[FrameStream]:
        """Opens a stream, as an uplink's `connect` does. Raises RoadError."""
        self.tries += 1
        self.tried_at.append(asyncio.get_running_loop().time())
        await self._shake_hands()
        connection = _Connection(self)
        self._live.add(connection)
        self.connections += 1
        assert self._group is not None, "the road is not open"
        self._serving.append(self._group.create_task(self._answer(connection)))
        try:
            yield connection.near
        finally:
            connection.leave(connection.near)

    async def _shake_hands(self) -> None:
        up, down = self._sides[Way.UP], self._sides[Way.DOWN]
        trip = up.shape.delay + down.shape.delay
        if self.away:
            await asyncio.sleep(CONNECT)
            raise RoadError("nobody answers")
        if self.portal:
            await asyncio.sleep(2 * trip)
            raise RoadError("somebody else answers: no TLS record")
        for way in Way:
            side = self._sides[way]
            _, mark = side.cross(HANDSHAKE)
            await asyncio.sleep(HANDSHAKE / side.shape.rate if side.shape.rate else 0.0)
            if isinstance(mark, Stall):
                await asyncio.sleep(mark.seconds)
            elif mark is not None:
                self.cuts += 1
                await asyncio.sleep(trip if mark in (Cut.RESET, Cut.END) else CONNECT)
                raise RoadError("the link broke while connecting")
        await asyncio.sleep(TRIPS * trip)

    async def _answer(self, connection: _Connection) -> None:
        try:
            await self._serve(connection.far)
        finally:
            connection.leave(connection.far)


class _Connection:
    """Two ends and what is on its way between them."""

    def __init__(self, road: FrameRoad) -> None:
        self.road = road
        up, down = _Lane(self, Way.UP), _Lane(self, Way.DOWN)
        self.near = _End(down, up)
        self.far = _End(up, down)
        self._lanes = {Way.UP: up, Way.DOWN: down}
        if road.lifetime:
            asyncio.get_running_loop().call_later(road.lifetime, self.cut, Cut.RESET, Way.DOWN)

    def cut(self, how: Cut, way: Way) -> None:
        """Ends it as it says; `way` is which one falls silent when it is half open."""
        if self.near.over is not None:
            return
        self.road.cuts += 1
        if how in (Cut.RESET, Cut.END):
            for lane in self._lanes.values():
                lane.lose()
            self.near.end(how)
            self.far.end(how)
            self.road._live.discard(self)
            return
        for each, lane in self._lanes.items():
            if not lane.silent and (how is Cut.SILENCE or each is way):
                lane.lose()
                lane.silent = True
        if self.road._keepalive is not None:
            loop = asyncio.get_running_loop()
            loop.call_later(self.road._keepalive, self.near.end, Cut.RESET)
            loop.call_later(self.road._keepalive, self.far.end, Cut.RESET)

    def leave(self, end: _End) -> None:
        """One side is gone; the other learns of it, unless what it would hear is silent."""
        self.road._live.discard(self)
        other, lane = (self.far, self._lanes[Way.UP]) if end is self.near else (self.near, self._lanes[Way.DOWN])
        end.end(Cut.END)
        if not lane.silent:
            loop = asyncio.get_running_loop()
            loop.call_at(max(loop.time() + lane.side.shape.delay, lane.last_due) + 1e-3, other.end, Cut.END)


class _Lane:
    """Frames on their way from one end to the other, in order."""

    def __init__(self, connection: _Connection, way: Way) -> None:
        self.side = connection.road._sides[way]
        self.silent = False
        self.last_due = 0.0
        self.news = asyncio.Event()
        self.room = asyncio.Event()
        self._connection = connection
        self._way = way
        self._flight: deque[tuple[float, Frame, int]] = deque()
        self._left: deque[tuple[float, int]] = deque()
        self._held = 0

    @property
    def full(self) -> bool:
        """Whether a writer must wait."""
        return self._held >= self.side.shape.flight(BUFFER)

    def send(self, frame: Frame) -> None:
        """Puts a frame on its way."""
        data = frames.encode(frame)
        size, shape, now = size_on_wire(data), self.side.shape, asyncio.get_running_loop().time()
        if shape.rate:
            self.side.free_at = max(self.side.free_at, now) + size / shape.rate
        due = max(self.side.free_at, now) + shape.delay + shape.jitter * self._connection.road._rng.random()
        self.last_due = max(self.last_due, due)
        self._flight.append((self.last_due, frames.decode(data), size))
        self._left.append((max(self.side.free_at, now), size))
        self._held += size
        self.news.set()

    def due(self) -> float | None:
        """When the next frame arrives, as far as that is known."""
        return self._flight[0][0] if self._flight and not self.silent else None

    def arrive(self) -> Frame | None:
        """The frame whose time has come, unless something happened to it."""
        due, frame, size = self._flight.popleft()
        carried, mark = self.side.cross(size)
        match mark:
            case None:
                self._left.popleft()
                self._held -= size
                self.room.set()
                return frame
            case Stall(seconds):
                self._flight.appendleft((due + seconds, frame, size - carried))
                self._held -= carried
                self._delay_all(due + seconds)
            case Corrupt():
                self._connection.cut(Cut.RESET, self._way)  # TLS hangs up on the first record that is not as it was
            case Cut() as how:
                self._connection.cut(how, self._way)
        return None

    def lose(self) -> None:
        """Nothing of what is on its way arrives any more; what has left its sender was sent for nothing."""
        now = asyncio.get_running_loop().time()
        self.side.lost += sum(size for left, size in self._left if left <= now)
        self._left.clear()

    def _delay_all(self, until: float) -> None:
        self._flight = deque((max(due, until), frame, size) for due, frame, size in self._flight)
        self.last_due = max(self.last_due, until)
        self.side.free_at = max(self.side.free_at, until)


class _End:
    """One end of a connection: a FrameStream."""

    def __init__(self, inward: _Lane, outward: _Lane) -> None:
        self.over: Cut | None = None
        self._inward = inward
        self._outward = outward

    def end(self, how: Cut) -> None:
        """From now on nothing can be read or written here."""
        self.over = self.over or how
        self._inward.news.set()
        self._outward.room.set()

    async def read(self) -> Frame | None:
        """The next frame, or None at the end."""
        while True:
            if self.over is Cut.END:
                return None
            if self.over is not None:
                raise RoadError("the link broke", safe="every chunk that arrived before is kept")
            due = self._inward.due()
            if due is not None and due <= asyncio.get_running_loop().time():
                frame = self._inward.arrive()
                if frame is not None:
                    return frame
                continue
            self._inward.news.clear()
            try:
                async with asyncio.timeout_at(due):
                    await self._inward.news.wait()
            except TimeoutError:
                continue

    async def write(self, frame: Frame) -> None:
        """Puts a frame on its way once there is room."""
        while self._outward.full and self.over is None:
            self._outward.room.clear()
            await self._outward.room.wait()
        if self.over is not None:
            raise RoadError("the link broke", safe="every chunk that arrived before is kept")
        self._outward.send(frame)


async def quietly(work: Awaitable[None], errors: list[ModelsyncError]) -> None:
    """Runs one side of a conversation, and keeps what ended it."""
    try:
        await work
    except ModelsyncError as error:
        errors.append(error)

"""The only place where one session uses several connections: chunks spread over lanes, words stay on the first.

A lane is a call of its own on a connection of its own. TCP that slows down for each lost packet slows down each lane by
itself, so eight of them carry about eight times as much over a link that loses packets. All parts of a chunk take the
same lane, because parts must come in order. A lane that is lost takes what was on it along; so it ends the session,
and the next one asks for what is missing, as after any other cut (docs/adr).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Protocol

from modelsyncd.errors import ModelsyncError, ProtocolError, RefusedError, RoadError
from modelsyncd.link.put import PUT_PATIENCE, put
from modelsyncd.session.frames import Frame, Give
from modelsyncd.trust.identity import Peer

MOST = 8  # connections of one session, the first included
QUEUE_BYTES = 64 << 10  # payload that waits for one lane before it gets no other chunk: all of one waits there
TOKEN_BYTES = 16  # of what a session and its lanes have in common
AHEAD = 2  # frames that are read before they are asked for
FAREWELL = 2.0  # seconds between the end of a lane and that of its session, if it is orderly


class Stream(Protocol):
    """One call, as `link/stream.py` makes them."""

    async def read(self) -> Frame | None:
        """The next frame, or None at the end. Raises ModelsyncError."""

    async def write(self, frame: Frame) -> None:
        """Puts a frame on the wire. Raises ModelsyncError."""


class _Lane:
    """What waits for one connection."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.gives: deque[Give] = deque()
        self.bytes = 0
        self.news = asyncio.Event()

    def put(self, give: Give) -> None:
        self.gives.append(give)
        self.bytes += len(give.payload)
        self.news.set()


class Wide:
    """A session's stream with its lanes. Made by `widened`; reads and writes as a stream does."""

    def __init__(self, first: Stream) -> None:
        self.read_bytes = 0
        """Payload of chunks that came, over all lanes."""
        self.written_bytes = 0
        """Payload of chunks that were given, over all lanes."""
        self.told: Callable[[int], None] = lambda _: None
        """Is told how many connections there are, whenever there is one more."""
        self._first = first
        self._own = _Lane(first)
        self._lanes: list[_Lane] = []
        self._chosen = self._own
        self._arrived: deque[Frame] = deque()
        self._news = asyncio.Event()
        self._space = asyncio.Event()
        self._room = asyncio.Event()
        self._moved = asyncio.Event()
        self._over = asyncio.Event()
        self._failure: ModelsyncError | None = None

    @property
    def lanes(self) -> int:
        """Connections in use, the first included."""
        return len(self._lanes) + 1

    async def read(self) -> Frame | None:
        """The next frame of any connection, or None at the end. Raises what ended the session."""
        while not self._arrived:
            if self._failure is not None:
                raise self._failure
            if self._over.is_set():
                return None
            self._news.clear()
            await self._news.wait()
        self._space.set()
        return self._arrived.popleft()

    async def write(self, frame: Frame) -> None:
        """Puts a frame on the wire, or a chunk into the queue of a lane; waits while all of those are full.

        Raises what ended the session.
        """
        if self._failure is not None:
            raise self._failure
        if not isinstance(frame, Give):
            await self._first.write(frame)
            return
        self._count(len(frame.payload), 0)
        if not self._lanes:
            self._chosen = self._own
            await self._first.write(frame)
            return
        if frame.offset == 0:  # never in the middle of a chunk: one slow lane would hold up all of them
            self._chosen = await self._emptiest()
        if self._failure is not None:
            raise self._failure
        self._chosen.put(frame)

    async def passed(self, count: int) -> None:
        """Returns once so many bytes of chunks have passed since the session began, either way."""
        while self.read_bytes + self.written_bytes < count:
            self._moved.clear()
            await self._moved.wait()

    async def join(self, stream: Stream) -> None:
        """Uses one more connection until the session ends. A lane that ends, ends the session, too.

        Raises ProtocolError when there are enough of them.
        """
        if self.lanes >= MOST:
            raise ProtocolError(f"a session has {MOST} connections at most")
        lane = _Lane(stream)
        self._lanes.append(lane)
        self.told(self.lanes)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._carry(lane)), group.create_task(self._hear(stream))]
                await self._over.wait()
                for task in tasks:
                    task.cancel()
        finally:  # also when gRPC cancels whoever serves a connection that was cut
            if not self._over.is_set():
                self.fail(_lost())

    async def listen(self) -> None:
        """Reads the first connection until it ends; `widened` runs it."""
        try:
            while (frame := await self._first.read()) is not None:
                await self._put(frame)
        except ModelsyncError as error:
            self.fail(error)
        self.close()

    async def carry_own(self) -> None:
        """Writes what was queued for the first connection; `widened` runs it."""
        await self._carry(self._own)

    def fail(self, error: ModelsyncError) -> None:
        """Ends the session with this error, unless it has one or is over."""
        if not self._over.is_set():
            self._failure = error
        self.close()

    def close(self) -> None:
        """The session is over: lanes let go."""
        self._over.set()
        for waited_for in (self._room, self._news, self._space):
            waited_for.set()

    async def _put(self, frame: Frame) -> None:
        if isinstance(frame, Give):
            self._count(0, len(frame.payload))
        while len(self._arrived) >= AHEAD and not self._over.is_set():
            self._space.clear()
            await self._space.wait()
        self._arrived.append(frame)
        self._news.set()

    async def _emptiest(self) -> _Lane:
        while True:
            lane = min((self._own, *self._lanes), key=lambda one: one.bytes)
            if lane.bytes < QUEUE_BYTES or self._over.is_set():
                return lane
            await self._wait_for_room()

    async def _wait_for_room(self) -> None:
        self._room.clear()
        await self._room.wait()

    async def _carry(self, lane: _Lane) -> None:
        try:
            while True:
                while lane.gives:
                    give = lane.gives.popleft()
                    await put(lane.stream.write(give), PUT_PATIENCE)
                    lane.bytes -= len(give.payload)
                    self._room.set()
                lane.news.clear()
                await lane.news.wait()
        except ModelsyncError as error:
            self.fail(error)

    async def _hear(self, stream: Stream) -> None:
        try:
            while (frame := await stream.read()) is not None:
                if not isinstance(frame, Give):
                    raise ProtocolError(f"a {type(frame).__name__} came on a lane, which is for chunks")
                await self._put(frame)
            with suppress(TimeoutError):  # at a session's orderly end its lanes may end a moment before it does
                async with asyncio.timeout(FAREWELL):
                    await self._over.wait()
                    return
            raise _lost()
        except ModelsyncError as error:
            self.fail(error)

    def _count(self, written: int, read: int) -> None:
        self.written_bytes += written
        self.read_bytes += read
        self._moved.set()


def _lost() -> RoadError:
    return RoadError("a connection of this session was lost", safe="every chunk that arrived before is kept")


@asynccontextmanager
async def widened(
    first: Stream, beside: Callable[[Wide], Coroutine[object, object, None]] | None = None
) -> AsyncIterator[Wide]:
    """A session's stream that lanes may join, for as long as the block runs; `beside` runs meanwhile."""
    wide = Wide(first)
    failure: Exception | None = None
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(wide.listen()), group.create_task(wide.carry_own())]
        if beside is not None:
            tasks.append(group.create_task(beside(wide)))
        try:
            yield wide
        except Exception as error:  # noqa: BLE001 - raised again below, where the group can't wrap it
            failure = error
        finally:
            wide.close()
            for task in tasks:
                task.cancel()
    if failure is not None:
        raise failure


class Lanes:
    """The sessions of one hub that lanes may join."""

    def __init__(self) -> None:
        self._open: dict[tuple[Peer, bytes], Wide] = {}

    @asynccontextmanager
    async def opened(self, peer: Peer, token: bytes, first: Stream) -> AsyncIterator[Wide]:
        """Lets lanes with this token join the peer's session while the block runs.

        Raises RefusedError for a token that a session of the peer has already, or that is none.
        """
        async with widened(first) as wide:
            if len(token) != TOKEN_BYTES or (peer, token) in self._open:
                raise RefusedError(
                    "a session's lanes need a token of their own", safe="nothing was sent or changed", hint="try again"
                )
            self._open[peer, token] = wide
            try:
                yield wide
            finally:
                del self._open[peer, token]

    def find(self, peer: Peer, token: bytes) -> Wide:
        """The session that a lane belongs to. Raises RefusedError where there is none of this peer's."""
        found = self._open.get((peer, token))
        if found is None:
            raise RefusedError("there is no session that this lane belongs to", safe="nothing was sent or changed")
        return found

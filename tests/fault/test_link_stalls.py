"""Row 10 of the fault table: peers that are there and play for time, in either role. Pings are answered all along.

What ends such a session is that nothing moves on, never how long it has taken: an honest link may be as slow as it is.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

import pytest

from modelsyncd.codec.registry import READABLE, Codec
from modelsyncd.errors import ModelsyncError, NoProgressError
from modelsyncd.link.pump import FrameStream, Pump
from modelsyncd.link.put import PUT_PATIENCE
from modelsyncd.session.frames import PROTOCOL, Desired, Frame, Give, Hello, Part, Want
from modelsyncd.session.session import PATIENCE, Session
from tests.fakes.conversation import Content
from tests.fakes.far_node import in_virtual_time, loop_time
from tests.fakes.link.frames import FrameRoad
from tests.fakes.link.shape import Shape
from tests.fakes.wires import MemoryShelf, MemoryStock

CHUNK = 64 << 10  # bytes
MODEL = Content([bytes(100)], [random.Random(ordinal).randbytes(CHUNK) for ordinal in range(24)])
HELLO = Hello(PROTOCOL, "a peer", READABLE)
LINK = Shape(rate=1e6, delay=0.02)
SLACK = 2.0  # seconds for what is on its way


@dataclass
class Peer:
    """The other side, frame by frame."""

    stream: FrameStream
    owed: list[tuple[Part, int]] = field(default_factory=list)
    moved_at: float = 0.0
    """When it last did something that is worth anything."""

    async def hear(self) -> Frame:
        frame = await self.stream.read()
        assert frame is not None
        if isinstance(frame, Want):
            self.owed += [(frame.part, ordinal) for run in frame.ranges for ordinal in run]
        return frame

    async def greet(self) -> None:
        await self.stream.write(HELLO)
        await self.hear()
        self.moved_at = loop_time()

    async def owing(self) -> tuple[Part, int]:
        while not self.owed:
            await self.hear()
        return self.owed.pop(0)

    async def give(self, part: Part, ordinal: int, start: int = 0, end: int | None = None) -> None:
        data = MODEL.chunks(part)[ordinal]
        await self.stream.write(Give(MODEL.name, part, ordinal, Codec.STORED, len(data), start, data[start:end]))

    async def give_all_but(self, last: int) -> None:
        for _ in range(len(MODEL.chunks(Part.MANIFEST)) + len(MODEL.chunks(Part.CONTENT)) - last):
            await self.give(*await self.owing())
            self.moved_at = loop_time()

    async def drip(self, count: int, pause: float) -> None:
        """The next chunk, so many bytes at a time."""
        part, ordinal = await self.owing()
        for start in range(0, len(MODEL.chunks(part)[ordinal]), count):
            await self.give(part, ordinal, start, start + count)
            await asyncio.sleep(pause)


async def for_ever() -> None:
    await asyncio.Event().wait()


async def says_nothing(peer: Peer) -> None:
    await for_ever()


async def gives_nothing(peer: Peer) -> None:
    await peer.greet()
    await peer.owing()
    peer.moved_at = loop_time()
    await for_ever()


async def gives_the_manifest_and_no_content(peer: Peer) -> None:
    await peer.greet()
    await peer.give_all_but(len(MODEL.chunks(Part.CONTENT)))
    await for_ever()


async def gives_all_but_one_chunk(peer: Peer) -> None:
    await peer.greet()
    await peer.give_all_but(1)
    await for_ever()


async def gives_half_a_chunk(peer: Peer) -> None:
    await peer.greet()
    await peer.give_all_but(10)
    await peer.give(*await peer.owing(), 0, CHUNK // 2)
    peer.moved_at = loop_time()
    await for_ever()


async def drips_a_byte_at_a_time(peer: Peer) -> None:
    await peer.greet()
    await peer.give_all_but(10)
    await peer.drip(1, pause=10.0)


async def drips_a_few_bytes_at_a_time(peer: Peer) -> None:
    await peer.greet()
    await peer.give_all_but(10)
    await peer.drip(100, pause=20.0)


async def talks_of_other_things(peer: Peer) -> None:
    await peer.greet()
    await peer.owing()
    peer.moved_at = loop_time()
    for generation in range(10_000):
        await peer.stream.write(Desired(generation, ()))
        await asyncio.sleep(5.0)


async def gives_what_nobody_asked_for(peer: Peer) -> None:
    await peer.greet()
    await peer.owing()
    peer.moved_at = loop_time()
    while True:
        await peer.give(Part.CONTENT, 23)
        await asyncio.sleep(5.0)


async def gives_the_same_chunk_for_ever(peer: Peer) -> None:
    await peer.greet()
    await peer.give_all_but(10)
    while True:
        await peer.give(Part.CONTENT, 0)
        await asyncio.sleep(5.0)


Play = Callable[[Peer], Coroutine[object, object, None]]
TO_A_TAKER: list[Play] = [
    says_nothing,
    gives_nothing,
    gives_the_manifest_and_no_content,
    gives_all_but_one_chunk,
    gives_half_a_chunk,
    drips_a_byte_at_a_time,
    drips_a_few_bytes_at_a_time,
    talks_of_other_things,
    gives_what_nobody_asked_for,
    gives_the_same_chunk_for_ever,
]


@dataclass
class Ended:
    """How our side of it ended, and when."""

    error: ModelsyncError | None
    at: float
    peer: Peer


def take_from(play: Play) -> Ended:
    """Takes the model from a peer that plays like this."""
    peers: list[Peer] = []

    async def serve(stream: FrameStream) -> None:
        peers.append(Peer(stream))
        await play(peers[0])

    async def main() -> Ended:
        road = FrameRoad(serve, up=LINK, down=LINK, keepalive=None)
        async with road.open(), road.connect() as stream:
            shelf = MemoryShelf({MODEL.name: MODEL})

            def heard(word: object) -> None:
                if not isinstance(word, Hello | Desired):
                    pump.close()

            pump = Pump(Session(HELLO), stream, taker=shelf, clock=loop_time, deliver=heard)
            pump.take(MODEL.offer())
            try:
                await pump.run()
            except ModelsyncError as error:
                return Ended(error, loop_time(), peers[0])
            assert shelf.completed == [MODEL.name]
            return Ended(None, loop_time(), peers[0])

    return in_virtual_time(main)


@pytest.mark.parametrize("play", TO_A_TAKER)
def test_a_taker_gives_a_peer_up_a_minute_after_its_last_step_forward(play: Play) -> None:
    ended = take_from(play)
    assert isinstance(ended.error, NoProgressError)
    assert PATIENCE - SLACK <= ended.at - ended.peer.moved_at <= PATIENCE + SLACK


async def drips_honestly(peer: Peer) -> None:
    await peer.greet()
    for _ in range(25):
        await peer.drip(2_000, pause=55.0)


async def gives_a_chunk_now_and_then(peer: Peer) -> None:
    await peer.greet()
    while True:
        await peer.give(*await peer.owing())
        await asyncio.sleep(55.0)


@pytest.mark.parametrize(("play", "seconds"), [(drips_honestly, 12 * 3_600.0), (gives_a_chunk_now_and_then, 1_300.0)])
def test_a_taker_never_gives_up_a_peer_that_is_only_slow(play: Play, seconds: float) -> None:
    ended = take_from(play)
    assert ended.error is None
    assert ended.at > seconds


async def never_greets(peer: Peer) -> None:
    await for_ever()


async def wants(peer: Peer) -> None:
    await peer.greet()
    await peer.stream.write(Want(MODEL.name, Part.CONTENT, (range(24),)))


async def asks_and_reads_nothing(peer: Peer) -> None:
    await wants(peer)
    await for_ever()


async def asks_and_stops_reading(peer: Peer) -> None:
    await wants(peer)
    for _ in range(5):
        await peer.hear()
        peer.moved_at = loop_time()
    await for_ever()


async def asks_again_and_again_and_reads_nothing(peer: Peer) -> None:
    await wants(peer)
    while True:
        await asyncio.sleep(7.0)
        await peer.stream.write(Want(MODEL.name, Part.CONTENT, (range(24),)))


TO_A_GIVER: list[tuple[Play, float]] = [
    (never_greets, PATIENCE),
    (asks_and_reads_nothing, PUT_PATIENCE),
    (asks_and_stops_reading, PUT_PATIENCE),
    (asks_again_and_again_and_reads_nothing, PUT_PATIENCE),
]


def give_to(play: Play) -> Ended:
    """Gives the model to a peer that plays like this, until it hangs up."""
    ended: list[tuple[ModelsyncError, float]] = []

    async def give(stream: FrameStream) -> None:
        stock = MemoryStock({MODEL.name: MODEL})
        try:
            await Pump(Session(HELLO), stream, giver=stock, clock=loop_time).run()
        except ModelsyncError as error:
            ended.append((error, loop_time()))

    async def main() -> Ended:
        road = FrameRoad(give, up=LINK, down=LINK, keepalive=None)
        async with road.open(), road.connect() as stream:
            peer = Peer(stream)
            async with asyncio.timeout(7_200), asyncio.TaskGroup() as group:
                playing = group.create_task(play(peer))
                while not ended:  # noqa: ASYNC110 - in simulated time, looking costs nothing
                    await asyncio.sleep(0.5)
                playing.cancel()
            return Ended(ended[0][0], ended[0][1], peer)

    return in_virtual_time(main)


@pytest.mark.parametrize(("play", "patience"), TO_A_GIVER)
def test_a_giver_gives_up_a_peer_that_takes_nothing_for_a_minute_and_a_half(play: Play, patience: float) -> None:
    ended = give_to(play)
    assert isinstance(ended.error, NoProgressError)
    assert patience - SLACK <= ended.at - ended.peer.moved_at <= patience + SLACK


def test_a_giver_never_gives_up_a_peer_that_is_only_slow() -> None:
    async def main() -> float:
        road = FrameRoad(give, up=LINK, down=LINK, keepalive=None)
        async with road.open(), road.connect() as stream:
            peer = Peer(stream)
            async with asyncio.timeout(24 * 81):
                await wants(peer)
                for _ in range(24):
                    await asyncio.sleep(80.0)
                    assert isinstance(await peer.hear(), Give)
            return loop_time()

    async def give(stream: FrameStream) -> None:
        await Pump(Session(HELLO), stream, giver=MemoryStock({MODEL.name: MODEL}), clock=loop_time).run()

    assert in_virtual_time(main) > 24 * 80.0

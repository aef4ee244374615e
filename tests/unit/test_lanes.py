"""Chunks of one session over several connections."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest

from modelsyncd.codec.registry import Codec
from modelsyncd.digest import digest_of
from modelsyncd.errors import BadInputError, ModelsyncError, NoProgressError, ProtocolError, RefusedError, RoadError
from modelsyncd.link.lanes import MOST, Lanes, Wide, widened
from modelsyncd.link.widening import check
from modelsyncd.session.frames import Echo, Frame, Give, Part
from modelsyncd.session.window import CAP, FLOOR, LANE, Window
from modelsyncd.trust.identity import Kind, Peer

NAME = digest_of(b"manifest")
NODE = Peer(Kind.NODE, "edge-1")


def part(ordinal: int, offset: int, size: int = 200_000, whole: int = 600_000) -> Give:
    return Give(NAME, Part.CONTENT, ordinal, Codec.STORED, whole, offset, bytes(size))


@dataclass
class Pipe:
    """One connection: what was written, and what will be read; None is its end. It takes nothing while it is shut."""

    written: list[Frame] = field(default_factory=list)
    coming: asyncio.Queue[Frame | ModelsyncError | None] = field(default_factory=asyncio.Queue)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    wrote: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.open.set()

    async def read(self) -> Frame | None:
        found = await self.coming.get()
        if isinstance(found, ModelsyncError):
            raise found
        return found

    async def write(self, frame: Frame) -> None:
        await self.open.wait()
        self.written.append(frame)
        self.wrote.set()


async def joined(wide: Wide, group: asyncio.TaskGroup, pipes: list[Pipe]) -> None:
    reached = asyncio.Event()
    wide.told = lambda lanes: reached.set() if lanes == len(pipes) + 1 else None
    for pipe in pipes:
        group.create_task(wide.join(pipe))
    await reached.wait()


async def all_written(pipes: list[Pipe], count: int) -> None:
    news = asyncio.Event()
    for pipe in pipes:
        pipe.wrote = news
    while sum(len(pipe.written) for pipe in pipes) < count:
        news.clear()
        await news.wait()


async def test_all_parts_of_a_chunk_take_one_lane_in_order_and_words_take_the_first() -> None:
    first, others = Pipe(), [Pipe(), Pipe(), Pipe()]
    async with asyncio.timeout(10), asyncio.TaskGroup() as group, widened(first) as wide:
        await joined(wide, group, others)
        for ordinal in range(12):
            for offset in (0, 200_000, 400_000):
                await wide.write(part(ordinal, offset))
            await wide.write(Echo(ordinal))
        await all_written([first, *others], 12 * 4)
        assert [frame for frame in first.written if isinstance(frame, Echo)] == [Echo(n) for n in range(12)]
        assert all(isinstance(frame, Give) for pipe in others for frame in pipe.written)
        lanes = defaultdict(set)
        for index, pipe in enumerate([first, *others]):
            gives = [frame for frame in pipe.written if isinstance(frame, Give)]
            seen: dict[int, int] = {}
            for give in gives:
                lanes[give.ordinal].add(index)
                assert give.offset == seen.get(give.ordinal, 0)
                seen[give.ordinal] = give.offset + len(give.payload)
        assert [len(found) for found in lanes.values()] == [1] * 12
        assert len({index for found in lanes.values() for index in found}) == 4, "a lane was left out"


async def test_a_lane_that_takes_nothing_holds_up_no_other() -> None:
    first, stuck, quick = Pipe(), Pipe(), Pipe()
    stuck.open.clear()
    first.open.clear()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group, widened(first) as wide:
        await joined(wide, group, [stuck, quick])
        for ordinal in range(20):
            await wide.write(part(ordinal, 0, 600_000))
        await all_written([quick], 18)
        assert not stuck.written
        assert not first.written


async def test_chunks_of_every_lane_are_read_as_one_stream() -> None:
    first, other = Pipe(), Pipe()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group, widened(first) as wide:
        await joined(wide, group, [other])
        other.coming.put_nowait(part(1, 0))
        assert await wide.read() == part(1, 0)
        first.coming.put_nowait(Echo(1))
        assert await wide.read() == Echo(1)
        await wide.passed(200_000)
        assert wide.read_bytes == 200_000


@pytest.mark.parametrize(("end", "error"), [(None, RoadError), (RoadError("cut"), RoadError), (Echo(1), ProtocolError)])
async def test_a_lane_that_ends_or_says_a_word_ends_the_session(
    end: Frame | ModelsyncError | None, error: type[ModelsyncError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelsyncd.link.lanes.FAREWELL", 0.01)

    async def lose() -> None:
        first, other = Pipe(), Pipe()
        async with asyncio.TaskGroup() as group, widened(first) as wide:
            await joined(wide, group, [other])
            other.coming.put_nowait(end)
            try:
                await wide.read()
            except ModelsyncError as failure:
                found.append(failure)

    found: list[ModelsyncError] = []
    async with asyncio.timeout(10):
        await lose()
    assert [type(one) for one in found] == [error]


async def test_a_lane_that_takes_nothing_for_too_long_ends_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelsyncd.link.lanes.PUT_PATIENCE", 0.05)
    first, stuck = Pipe(), Pipe()
    first.open.clear()
    stuck.open.clear()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group, widened(first) as wide:
        await joined(wide, group, [stuck])
        await wide.write(part(1, 0))
        with pytest.raises(NoProgressError):
            await wide.read()


async def test_lanes_that_end_with_their_session_are_no_fault() -> None:
    first, other = Pipe(), Pipe()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group, widened(first) as wide:
        await joined(wide, group, [other])
        other.coming.put_nowait(None)
        first.coming.put_nowait(None)
        assert await wide.read() is None


async def test_a_session_has_so_many_connections_and_no_more() -> None:
    async with asyncio.timeout(10), asyncio.TaskGroup() as group, widened(Pipe()) as wide:
        await joined(wide, group, [Pipe() for _ in range(MOST - 1)])
        with pytest.raises(ProtocolError, match="at most"):
            await wide.join(Pipe())


async def test_only_the_peer_of_a_session_may_join_it_and_only_while_it_lasts() -> None:
    lanes, token = Lanes(), b"sixteen bytes..."
    async with AsyncExitStack() as stack:
        wide = await stack.enter_async_context(lanes.opened(NODE, token, Pipe()))
        assert lanes.find(NODE, token) is wide
        for peer, said in ((Peer(Kind.NODE, "edge-2"), token), (NODE, b""), (NODE, b"another")):
            with pytest.raises(RefusedError):
                lanes.find(peer, said)
    with pytest.raises(RefusedError):
        lanes.find(NODE, token)


@pytest.mark.parametrize("token", [b"sixteen bytes...", b"", b"short", b"seventeen bytes.."])
async def test_a_token_that_is_in_use_or_none_is_refused_and_the_session_that_has_it_keeps_it(token: bytes) -> None:
    lanes, own = Lanes(), b"sixteen bytes..."
    async with asyncio.timeout(10), lanes.opened(NODE, own, Pipe()) as wide:
        with pytest.raises(RefusedError):
            async with lanes.opened(NODE, token, Pipe()):
                pytest.fail("a second session has it")
        assert lanes.find(NODE, own) is wide


@pytest.mark.parametrize("setting", ["0", "9", "-1", "", "many", "1.5"])
def test_a_number_of_lanes_that_can_not_be_is_refused(setting: str) -> None:
    with pytest.raises(BadInputError, match="lanes can't be"):
        check(setting)
    check("auto")
    check("8")


def carried(window: Window, rate: float, seconds: float) -> Window:
    """After so long on a link of `rate` bytes a second, which carries a chunk of 256 KiB at a time."""
    window.idle()
    now = 0.0
    window.asked(now)
    while now < seconds:
        now += FLOOR / rate
        window.kept(FLOOR, now)
    return window


def test_a_window_has_room_for_a_chunk_on_each_lane_that_the_link_can_feed() -> None:
    window = carried(Window(), 2.5e6, 20)
    window.widen(1)
    assert window.size < 8 * LANE
    window.widen(8)
    assert window.size == 8 * LANE <= CAP


def test_a_window_is_a_few_seconds_of_the_link_at_most_however_many_lanes_there_are() -> None:
    window = carried(Window(), 32_000, 60)
    window.widen(8)
    assert carried(window, 32_000, 60).size == FLOOR
    assert carried(window, 200_000, 60).size <= 4.0 * 200_000
    assert carried(window, 32_000, 100).size == FLOOR, "it did not follow the link down again"


def test_before_anything_is_measured_lanes_make_no_window_wider() -> None:
    window = Window()
    window.widen(8)
    assert window.size == FLOOR

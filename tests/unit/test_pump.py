"""The pump carries out effects, owns its tasks, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from modelsyncd.digest import Digest
from modelsyncd.errors import DiskFullError, ModelsyncError, NotFoundError, RefusedError, RoadError
from modelsyncd.link.pump import OUTBOX_BYTES, Pump, Word
from modelsyncd.link.rate import Rate
from modelsyncd.session.effects import Finished, Keep
from modelsyncd.session.faults import fault_of
from modelsyncd.session.frames import Desired, Frame, Give, Part, Refuse, Report, Settle
from modelsyncd.session.ports import Keeping
from modelsyncd.session.session import Session
from modelsyncd.session.window import Window
from tests.fakes.conversation import Content, hello, some_content
from tests.fakes.wires import MemoryShelf, MemoryStock, Wire, wire_pair


@dataclass
class Talk:
    """Two pumps on one wire; the left one takes."""

    content: Content
    shelf: MemoryShelf
    stock: MemoryStock
    left: Pump
    right: Pump
    wires: tuple[Wire, Wire]
    heard: list[Word] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    left_end: asyncio.Task[None] | None = None

    def hear(self, what: Word) -> None:
        self.heard.append(what)
        self.news.set()

    async def until_finished(self) -> Finished:
        async with asyncio.timeout(10):
            while True:
                for what in self.heard:
                    if isinstance(what, Finished):
                        return what
                self.news.clear()
                await self.news.wait()


def make_talk(chunks: int = 50, largest: int = 2_000) -> Talk:
    content = some_content(random.Random(1), chunks, largest)
    has = {content.name: content}
    wires = wire_pair()
    shelf, stock = MemoryShelf(has), MemoryStock(has)
    talk = Talk(content, shelf, stock, None, None, wires)  # type: ignore[arg-type]
    talk.left = Pump(Session(hello()), wires[0], taker=shelf, deliver=talk.hear)
    talk.right = Pump(Session(hello()), wires[1], giver=stock)
    return talk


@asynccontextmanager
async def running(talk: Talk) -> AsyncIterator[Talk]:
    async def quietly(pump: Pump) -> None:
        try:
            await pump.run()
        except ModelsyncError:
            return

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(quietly(pump)) for pump in (talk.left, talk.right)]
        try:
            yield talk
        finally:
            for task in tasks:
                task.cancel()


async def test_a_transfer_ends_settled_on_both_sides() -> None:
    async with running(make_talk()) as talk:
        talk.left.take(talk.content.offer())
        done = await talk.until_finished()
        assert done.settled is not None
        assert done.progress.done == talk.content.size
        assert talk.shelf.completed == [talk.content.name]
        assert [frame for frame in talk.wires[0].written if isinstance(frame, Settle)]


async def test_identical_content_settles_without_one_chunk() -> None:
    talk = make_talk()
    talk.shelf.settled = (settled := (await MemoryShelf({}).complete(talk.content.offer())))
    async with running(talk):
        talk.right.say(talk.content.offer())
        done = await talk.until_finished()
        assert done.settled == settled
        assert not [frame for frame in talk.wires[1].written if isinstance(frame, Give)]


async def test_a_full_disk_ends_the_transfer_and_not_the_session() -> None:
    async with running(make_talk()) as talk:
        talk.shelf.broken = DiskFullError("no room", safe="the old version serves", hint="free some")
        talk.left.take(talk.content.offer())
        done = await talk.until_finished()
        assert done.fault == fault_of(talk.shelf.broken)
        talk.shelf.broken = None
        talk.heard.clear()
        talk.left.take(talk.content.offer())
        done = await talk.until_finished()
        assert done.settled is not None


async def test_a_giver_that_cannot_read_says_why() -> None:
    async with running(make_talk()) as talk:
        talk.stock.broken = NotFoundError("no such manifest")
        talk.left.take(talk.content.offer())
        done = await talk.until_finished()
        assert done.fault is not None
        assert done.fault.code == "not-found"


async def test_a_side_without_a_store_refuses() -> None:
    async with running(make_talk()) as talk:
        talk.left.say(talk.content.offer())
        talk.right.take(talk.content.offer())
        await talk.wires[1].until(lambda frame: isinstance(frame, Refuse))
        assert not talk.shelf.completed


async def test_the_end_of_the_stream_is_the_roads_fault() -> None:
    talk = make_talk()
    await talk.wires[1].end()
    with pytest.raises(RoadError):
        await talk.left.run()


async def test_closing_with_a_fault_tells_the_other_side() -> None:
    talk = make_talk()
    async with asyncio.TaskGroup() as group:
        left = group.create_task(_error_of(talk.left))
        right = group.create_task(_error_of(talk.right))
        await asyncio.sleep(0)
        talk.right.close(fault_of(RefusedError("another session of this node began")))
    for error in (left.result(), right.result()):
        assert isinstance(error, RefusedError)
        assert error.message == "another session of this node began"


async def _error_of(pump: Pump) -> ModelsyncError | None:
    try:
        await pump.run()
    except ModelsyncError as error:
        return error
    return None


async def test_a_word_overtakes_the_bulk() -> None:
    async with running(make_talk(400, 30_000)) as talk:
        talk.left.take(talk.content.offer())
        await talk.wires[1].until(lambda frame: isinstance(frame, Give))
        given = len(talk.wires[1].written)
        talk.right.say(Desired(1, ()))
        await talk.until_finished()
        said = next(n for n, frame in enumerate(talk.wires[1].written) if isinstance(frame, Desired))
        assert said <= given + 2
        assert Desired(1, ()) in talk.heard


async def test_what_waits_to_be_written_is_bounded() -> None:
    talk = make_talk(2_000, 60_000)
    most = 0
    original = talk.wires[1].write

    async def write(frame: Frame) -> None:
        nonlocal most
        most = max(most, talk.right._bulk_bytes)
        await original(frame)

    talk.wires[1].write = write  # type: ignore[method-assign]
    async with running(talk):
        talk.left.take(talk.content.offer())
        await talk.until_finished()
    assert most <= OUTBOX_BYTES + 8 * 60_000


async def test_arrivals_become_durable_in_groups() -> None:
    async with running(make_talk(500, 50)) as talk:
        talk.left.take(talk.content.offer())
        await talk.until_finished()
        assert len(talk.shelf.batches) < 500


@pytest.mark.parametrize("turns", range(0, 120, 7))
async def test_cancelling_at_any_moment_leaves_no_task_behind(turns: int) -> None:
    talk = make_talk(30)
    before = asyncio.all_tasks()
    talk.left.take(talk.content.offer())
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(pump.run()) for pump in (talk.left, talk.right)]
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
    assert asyncio.all_tasks() == before
    talk.left.say(Report(1, ()))  # a pump that is over takes no harm from a late word


class SlowShelf(MemoryShelf):
    """As on a link that needs `seconds` for what was asked for at once; the clock is the test's."""

    def __init__(self, has: dict[Digest, Content], seconds: float) -> None:
        super().__init__(has)
        self.now = 0.0
        self._seconds = seconds

    async def keep(self, batch: Sequence[Keep]) -> Keeping:
        self.now += self._seconds
        return await super().keep(batch)


async def test_a_link_is_as_fast_as_a_taker_that_asks_for_little_at_once_asks_again() -> None:
    talk = make_talk(chunks=300)
    shelf = SlowShelf({talk.content.name: talk.content}, 0.5)
    small = Window(first=4_000, floor=4_000, cap=4_000)
    talk.left = Pump(Session(hello(), window=small), talk.wires[0], taker=shelf, deliver=talk.hear)
    talk.right = Pump(Session(hello()), talk.wires[1], giver=talk.stock, clock=lambda: shelf.now)
    talk.right._rate = Rate(burst=0, proof=0.0)
    async with running(talk):
        talk.left.take(talk.content.offer())
        end = await talk.until_finished()
        asked = len(shelf.batches)
        assert asked > 20
        carried = end.progress.wire / (asked * 0.5)
        assert talk.right.rate == pytest.approx(carried, rel=0.3)
        idle = shelf.now = shelf.now + 3_600
        del shelf.durable[talk.content.name, Part.CONTENT]
        talk.heard.clear()
        talk.left.take(talk.content.offer())
        await talk.until_finished()
        assert shelf.now > idle
        assert talk.right.rate == pytest.approx(carried, rel=0.3), "an hour between two transfers says nothing"

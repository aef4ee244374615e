"""What a cut costs, at any rate and over any way: at most a window, and a window is about a second of the link."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from modelsyncd.codec.registry import Codec
from modelsyncd.errors import RoadError
from modelsyncd.link.attempt import outcome_of
from modelsyncd.link.pump import FrameStream, Pump, Word
from modelsyncd.session.effects import Finished
from modelsyncd.session.frames import PROTOCOL, Hello
from modelsyncd.session.session import Session
from modelsyncd.session.window import Window
from tests.fakes.conversation import Content
from tests.fakes.far_node import in_virtual_time, loop_time
from tests.fakes.link.frames import HANDSHAKE, FrameRoad
from tests.fakes.link.shape import Cut, Shape, Way
from tests.fakes.wires import MemoryShelf, MemoryStock

HELLO = Hello(PROTOCOL, "test", frozenset({Codec.STORED}))
CHUNK = 256 << 10  # bytes
BYTES = [random.Random(n).randbytes(CHUNK) for n in range(96)]
SECONDS, WAYS, LONGEST = 1.0, 2.0, 4.0  # what is promised: a second, or two ways of a longer one, and no more than this
FIRST_FRAME = 16 << 10  # bytes: what the way is measured with


@dataclass
class Cost:
    """What was seen of one transfer with one cut."""

    window: int
    """The largest window before the cut, in bytes."""
    travelled: int
    size: int


def one_cut(rate: float, trip: float, at: float, seed: int) -> Cost:
    """Brings a model over a link of `rate` bytes a second that is cut at this share of it."""
    chunks = max(6, min(len(BYTES), int(20 * rate / CHUNK)))
    content = Content([b"manifest"], BYTES[:chunks])
    shelf, stock = MemoryShelf({content.name: content}), MemoryStock({content.name: content})
    sizes: list[int] = []

    async def serve(stream: FrameStream) -> None:
        await outcome_of(lambda: Pump(Session(HELLO), stream, giver=stock, clock=loop_time).run())

    async def attempt(road: FrameRoad, window: Window) -> None:
        def deliver(word: Word) -> None:
            if isinstance(word, Finished):
                pump.close()

        async with road.connect() as stream:
            pump = Pump(Session(HELLO, window=window), stream, taker=shelf, deliver=deliver, clock=loop_time)
            pump.take(content.offer())
            await pump.run()

    async def watch(window: Window) -> None:
        while True:
            sizes.append(window.size)
            await asyncio.sleep(0.2)

    async def main() -> int:
        shape = Shape(rate, trip / 2)
        road = FrameRoad(serve, up=shape, down=shape, seed=seed)
        road.script(Way.DOWN, [(int(content.size * at), Cut.RESET)])
        async with road.open(), asyncio.timeout(20_000), asyncio.TaskGroup() as group:
            window = Window()
            watching = group.create_task(watch(window))
            outcome = await outcome_of(lambda: attempt(road, window))
            watching.cancel()
            assert isinstance(outcome, RoadError)
            await attempt(road, Window())
        return road.travelled(Way.DOWN)

    travelled = in_virtual_time(main)
    return Cost(max(sizes), travelled, content.size)


@settings(max_examples=30, deadline=None)
@given(
    st.floats(3.9, 7.0).map(lambda power: 10**power),
    st.floats(-3.0, -0.2).map(lambda power: 10**power),
    st.floats(0.1, 0.95),
    st.integers(0, 2**32),
)
def test_a_cut_costs_a_window_at_most_and_a_window_is_about_a_second_of_the_link(
    rate: float, trip: float, at: float, seed: int
) -> None:
    cost = one_cut(rate, trip, at, seed)
    way = trip + FIRST_FRAME / rate + 0.01
    seconds = min(max(SECONDS, WAYS * way), LONGEST)
    assert cost.window <= max(CHUNK, 2 * rate * seconds), "the window does not follow the link"
    around = cost.size * 1.045 + 2 * (HANDSHAKE + 2_000)
    assert cost.travelled <= around + max(cost.window, CHUNK), "more than a window was sent again"

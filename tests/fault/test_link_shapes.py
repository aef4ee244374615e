"""Row 8 of the fault table: links of every shape carry what they can, and no quirk on the way makes anything hang.

Simulated time, real session and pump, chunks of the real size. The road has no TCP: what loss costs is measured with
the kernel's own in `benchmarks/links.py`; here it is whether our windows and deadlines fit the link.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

import pytest

from modelsyncd.codec.registry import Codec
from modelsyncd.errors import RoadError
from modelsyncd.link.attempt import outcome_of
from modelsyncd.link.backoff import Backoff
from modelsyncd.link.pump import FrameStream, Pump, Word
from modelsyncd.session.effects import Finished
from modelsyncd.session.frames import FEATURES, PROTOCOL, Hello
from modelsyncd.session.session import Session
from modelsyncd.session.window import FLOOR
from tests.fakes.conversation import Content
from tests.fakes.far_node import in_virtual_time, loop_time
from tests.fakes.link.frames import FrameRoad
from tests.fakes.link.shape import Mark, Shape, Stall, Way
from tests.fakes.wires import MemoryShelf, MemoryStock
from tests.fault.reach import FULL

CHUNK = 256 << 10  # bytes, as real ones
HELLO = Hello(PROTOCOL, "test", frozenset({Codec.STORED}), features=FEATURES)
KBIT, MBIT = 125.0, 125_000.0  # bytes a second
MOST = 48 << 20  # bytes of a model here
RNG = random.Random(8)
BYTES = [RNG.randbytes(CHUNK) for _ in range(MOST // CHUNK)]


@dataclass(frozen=True)
class Profile:
    """A link, and what it must reach of what a pipe of its rate would carry once the transfer is under way."""

    name: str
    rate: float
    round_trip: float
    jitter: float = 0.0
    share: float = 0.9
    buffer: int = 0
    pr: bool = False
    marks: tuple[tuple[int, Mark], ...] = ()
    lifetime: float = 0.0
    portal: float = 0.0

    @property
    def shape(self) -> Shape:
        return Shape(self.rate, self.round_trip / 2, self.jitter, self.buffer)

    @property
    def size(self) -> int:
        """Bytes of the model: some minutes of a slow link, and long enough for a fast one to get going."""
        return int(min(MOST, max(8 * CHUNK, self.rate * (60 + 30 * self.round_trip))))


def gaps(seconds: float, *at: int) -> tuple[tuple[int, Mark], ...]:
    return tuple((place, Stall(seconds)) for place in at)


PROFILES = [
    Profile("64 kbit/s, 1 ms", 64 * KBIT, 0.001),
    Profile("64 kbit/s, 100 ms", 64 * KBIT, 0.1),
    Profile("64 kbit/s, 600 ms", 64 * KBIT, 0.6, pr=True),
    Profile("64 kbit/s, 1500 ms", 64 * KBIT, 1.5),
    Profile("64 kbit/s, 1500 ms, jitter 500 ms", 64 * KBIT, 1.5, jitter=0.5),
    Profile("128 kbit/s, 300 ms", 128 * KBIT, 0.3),
    Profile("256 kbit/s, 600 ms", 256 * KBIT, 0.6, pr=True),
    Profile("256 kbit/s, 600 ms, jitter 200 ms", 256 * KBIT, 0.6, jitter=0.2),
    Profile("256 kbit/s, 1500 ms", 256 * KBIT, 1.5),
    Profile("512 kbit/s, 50 ms", 512 * KBIT, 0.05),
    Profile("512 kbit/s, 600 ms", 512 * KBIT, 0.6),
    Profile("1 Mbit/s, 100 ms", MBIT, 0.1),
    Profile("1 Mbit/s, 700 ms", MBIT, 0.7),
    Profile("2 Mbit/s, 40 ms", 2 * MBIT, 0.04),
    Profile("2 Mbit/s, 600 ms", 2 * MBIT, 0.6, pr=True),
    Profile("2 Mbit/s, 1500 ms", 2 * MBIT, 1.5),
    Profile("5 Mbit/s, 30 ms", 5 * MBIT, 0.03),
    Profile("5 Mbit/s, 30 ms, jitter 30 ms", 5 * MBIT, 0.03, jitter=0.03),
    Profile("10 Mbit/s, 20 ms", 10 * MBIT, 0.02, pr=True),
    Profile("10 Mbit/s, 300 ms", 10 * MBIT, 0.3),
    Profile("20 Mbit/s, 100 ms", 20 * MBIT, 0.1),
    Profile("20 Mbit/s, 100 ms, jitter 20 ms", 20 * MBIT, 0.1, jitter=0.02),
    Profile("20 Mbit/s, 250 ms", 20 * MBIT, 0.25),
    Profile("50 Mbit/s, 10 ms", 50 * MBIT, 0.01),
    Profile("50 Mbit/s, 80 ms", 50 * MBIT, 0.08),
    Profile("100 Mbit/s, 1 ms", 100 * MBIT, 0.001),
    Profile("100 Mbit/s, 30 ms", 100 * MBIT, 0.03),
    Profile("250 Mbit/s, 5 ms", 250 * MBIT, 0.005),
    Profile("1 Gbit/s, 1 ms", 1_000 * MBIT, 0.001),
    Profile("1 Gbit/s, 10 ms", 1_000 * MBIT, 0.01),
    Profile("handover: gaps of 30 s", 2 * MBIT, 0.05, share=0.0, marks=gaps(30, 1_000_000, 4_000_000), pr=True),
    Profile("handover at 64 kbit/s", 64 * KBIT, 0.6, share=0.0, marks=gaps(20, 300_000, 1_000_000)),
    Profile("gap of 45 s", 5 * MBIT, 0.1, share=0.0, marks=gaps(45, 2_000_000)),
    Profile("proxy that kills streams at 60 s", 2 * MBIT, 0.05, share=0.0, lifetime=60.0, pr=True),
    Profile("proxy that kills streams at 60 s, 256 kbit/s", 256 * KBIT, 0.6, share=0.0, lifetime=60.0),
    Profile("proxy that buffers 1 MB", 2 * MBIT, 0.05, buffer=1 << 20, pr=True),
    Profile("proxy that buffers 16 MB", MBIT, 0.1, buffer=16 << 20),
    Profile("bloated modem: 1 MB at 256 kbit/s", 256 * KBIT, 0.1, buffer=1 << 20),
    Profile("captive portal for five minutes", 5 * MBIT, 0.05, share=0.0, portal=300.0, pr=True),
    Profile("captive portal, then killed streams", 2 * MBIT, 0.05, share=0.0, portal=60.0, lifetime=60.0),
]
RUN = [profile for profile in PROFILES if FULL or profile.pr]


@dataclass
class Travelled:
    """How a transfer went."""

    seconds: float
    late_share: float
    connections: int
    carried: int


def travel(profile: Profile, content: Content) -> Travelled:
    """Brings the content to the node, however often it must connect."""
    shelf = MemoryShelf({content.name: content})
    stock = MemoryStock({content.name: content})
    marks_of_time: list[tuple[float, int]] = []

    async def serve(stream: FrameStream) -> None:
        try:
            await Pump(Session(HELLO), stream, giver=stock, clock=loop_time).run()
        except RoadError:
            return

    async def attempt(road: FrameRoad) -> None:
        def deliver(word: Word) -> None:
            if isinstance(word, Finished):
                pump.close()

        async with road.connect() as stream:
            pump = Pump(Session(HELLO), stream, taker=shelf, deliver=deliver, clock=loop_time)
            pump.take(content.offer())
            await pump.run()

    async def watch(road: FrameRoad) -> None:
        while True:
            marks_of_time.append((loop_time(), road.carried(Way.DOWN)))
            await asyncio.sleep(profile.size / profile.rate / 40)

    async def main() -> Travelled:
        road = FrameRoad(serve, up=profile.shape, down=profile.shape, seed=8)
        road.script(Way.DOWN, profile.marks)
        road.lifetime = profile.lifetime
        road.portal = profile.portal > 0
        asyncio.get_running_loop().call_later(profile.portal, lambda: setattr(road, "portal", False))
        backoff, rng = Backoff(), random.Random(8)
        async with road.open(), asyncio.timeout(100_000), asyncio.TaskGroup() as group:
            watching = group.create_task(watch(road))
            while not shelf.completed:
                outcome = await outcome_of(lambda: attempt(road))
                assert outcome is None or isinstance(outcome, RoadError), outcome
                await asyncio.sleep(0 if shelf.completed else backoff.next(rng.random()))
            watching.cancel()
        return Travelled(loop_time(), late_share(marks_of_time, profile), road.connections, road.carried(Way.DOWN))

    return in_virtual_time(main)


def late_share(seen: list[tuple[float, int]], profile: Profile) -> float:
    """What the second half of the transfer reached of the link's rate."""
    half = [(at, count) for at, count in seen if profile.size / 2 <= count < profile.size * 0.98]
    if len(half) < 2:
        return 0.0
    return (half[-1][1] - half[0][1]) / (half[-1][0] - half[0][0]) / profile.rate


@pytest.mark.parametrize("profile", RUN, ids=lambda profile: profile.name)
def test_a_link_carries_what_it_can_and_nothing_hangs(profile: Profile) -> None:
    content = Content([b"manifest"], BYTES[: profile.size // CHUNK])
    went = travel(profile, content)
    fluid = content.size / profile.rate
    assert went.late_share >= profile.share
    waits = profile.portal + sum(mark.seconds for _, mark in profile.marks if isinstance(mark, Stall))
    assert went.seconds <= 2.5 * fluid + waits + 60 * went.connections + 60 * (profile.portal > 0)
    ends = 1 + (int(went.seconds / profile.lifetime) if profile.lifetime else 0)
    assert went.connections <= ends, "a link that was only slow, late or away for a moment was hung up on"
    around = 1.02 if profile.rate >= MBIT else 1.04  # slow links carry small frames, so that words get between them
    again = went.carried - content.size * around - went.connections * 6_000
    assert again <= (went.connections - 1) * max(FLOOR, 2 * profile.rate)


def test_a_link_of_half_the_slowest_rate_still_gets_through() -> None:
    """A chunk takes more than the patience with a silent peer: its parts are steps forward."""
    profile = Profile("24 kbit/s", 24 * KBIT, 0.5)
    content = Content([b"manifest"], BYTES[:3])
    assert travel(profile, content).connections == 1


def test_forty_profiles_are_there() -> None:
    assert len({profile.name for profile in PROFILES}) == len(PROFILES) == 40

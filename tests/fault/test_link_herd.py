"""A hub that restarts under many nodes: they come back spread out, all of them are served, and there is no storm.

Time is simulated, each node's uplink is real, its steward is not. The hub can greet only so many a second, one after
the other, as one process can that must check certificates and read its catalogue for each.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import cast

import pytest

from edge_agent.steward import Steward
from edge_agent.uplink import Uplink
from modelsyncd.errors import ModelsyncError, RoadError
from modelsyncd.link.pump import FrameStream
from modelsyncd.session.faults import fault_of
from modelsyncd.session.frames import PROTOCOL, Desired, Hello, Refuse, Report
from modelsyncd.session.ports import TakerStore
from tests.fakes.far_node import in_virtual_time, loop_time
from tests.fakes.link.frames import FrameRoad
from tests.fakes.link.shape import Cut, Shape
from tests.fault.reach import FULL, reach

NODES = reach(pr=150, full=1_000)
HELD = 3_600.0  # seconds that the sessions have lasted
GREETING = 0.01  # seconds of the hub for each session that begins
HELLO = Hello(PROTOCOL, "test hub", frozenset())


class Idle:
    """A steward with nothing to do."""

    holds = ()
    fetching = False

    def __init__(self) -> None:
        self.changed = asyncio.Event()

    async def report(self) -> Report:
        return Report(0, ())

    def attach(self, _: object) -> None:
        """Nothing to do."""

    def detach(self) -> None:
        """Nothing to do."""

    def propose(self, _: object) -> None:
        """Nothing to do."""


@dataclass
class BusyHub:
    """Greets one node after the other; `up` is whether it runs."""

    up: bool = True
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    greeted: list[float] = field(default_factory=list)
    busy_until: float = 0.0
    here: int = 0

    async def serve(self, stream: FrameStream) -> None:
        """One session."""
        if not self.up:
            return
        self.busy_until = max(self.busy_until, loop_time()) + GREETING
        try:
            await asyncio.sleep(self.busy_until - loop_time())
            await stream.write(HELLO)
            await stream.write(Desired(1, ()))
            self.greeted.append(loop_time())
            self.here += 1
            await self.stopping.wait()
            await stream.write(Refuse(fault_of(RoadError("the hub stops"))))
        except ModelsyncError:
            return

    def stop(self) -> None:
        self.up, self.here = False, 0
        self.stopping.set()

    def start(self) -> None:
        self.up = True
        self.stopping = asyncio.Event()
        self.greeted.clear()


@dataclass
class Herd:
    """What was seen of a hub's restart."""

    back_at: float
    greeted: list[float]
    tries: list[float]

    @property
    def most_in_a_second(self) -> int:
        return max(Counter(int(at) for at in self.tries if at >= self.back_at).values())


def restart(seconds: float, *, orderly: bool, seed: int = 1) -> Herd:
    """A hub with all its nodes goes away for so long and comes back."""
    rng = random.Random(seed)

    async def main() -> Herd:
        hub = BusyHub()
        road = FrameRoad(hub.serve, up=Shape(delay=0.02), down=Shape(delay=0.02), seed=seed)
        async with road.open(), asyncio.TaskGroup() as group:
            nodes = [group.create_task(_node(road, random.Random(rng.random()))) for _ in range(NODES)]
            await _until(lambda: hub.here == NODES)
            await asyncio.sleep(HELD)
            hub.stop()
            if not orderly:
                road.cut(Cut.RESET)
            await asyncio.sleep(seconds)
            hub.start()
            road.tried_at.clear()
            back_at = loop_time()
            await _until(lambda: hub.here == NODES)
            for node in nodes:
                node.cancel()
            return Herd(back_at, list(hub.greeted), list(road.tried_at))

    return in_virtual_time(main)


async def _node(road: FrameRoad, rng: random.Random) -> None:
    steward = cast("Steward", Idle())
    store = cast("TakerStore", None)
    await Uplink(steward, road.connect, store, software="n", jitter=rng.random, clock=loop_time).run()


async def _until(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(7_200):
        while not condition():  # noqa: ASYNC110 - in simulated time, looking costs little
            await asyncio.sleep(0.25)


@pytest.mark.parametrize(
    ("seconds", "orderly"), [(2.0, True), (2.0, False), (30.0, True), *([(30.0, False), (600.0, True)] if FULL else [])]
)
def test_all_nodes_are_served_soon_after_a_restart_and_none_tries_in_a_storm(seconds: float, orderly: bool) -> None:
    herd = restart(seconds, orderly=orderly)
    assert len(herd.greeted) == NODES, "each node needed one greeting"
    last = max(herd.greeted) - herd.back_at
    assert last <= min(62.0, 10 + 4 * seconds) + NODES * GREETING
    assert herd.most_in_a_second <= max(20, 0.2 * NODES), "they came all at once"
    assert len(herd.tries) <= 1.1 * NODES, "nodes gave up tries that would have been served"

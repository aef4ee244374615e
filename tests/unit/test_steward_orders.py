"""What was decided before the hub said something new lets nothing travel after it."""

import asyncio
import threading
from dataclasses import replace
from pathlib import Path

from edge_agent.orders import Orders
from modelsyncd.manners import manners
from modelsyncd.plan import Priced
from modelsyncd.session.effects import Quoted
from modelsyncd.session.frames import Desired
from modelsyncd.session.progress import Progress
from tests.fakes.holdings import FakeHoldings, desired
from tests.unit.test_steward import HELMET, ONE, Node


class SlowDisk(FakeHoldings):
    """Says how full it is once the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.answer = threading.Event(), threading.Event()

    def disk(self) -> tuple[int, int]:
        self.asked.set()
        assert self.answer.wait(10)
        return super().disk()


async def test_a_pause_that_comes_while_the_disk_is_asked_lets_nothing_go(tmp_path: Path) -> None:
    slow = SlowDisk()
    async with Node(tmp_path, slow).running() as node:
        node.steward.attach(node.pump)
        node.steward.propose(desired(1, (HELMET, 1)))
        await node.until(lambda: ONE.manifest in node.pump.taking)
        node.steward.quoted(Quoted(ONE.manifest, Priced(alone=100, alone_wire=100), Progress(100), final=True))
        assert await asyncio.to_thread(slow.asked.wait, 5)
        node.steward.propose(replace(desired(2, (HELMET, 1)), manners=manners(paused=True)))
        slow.answer.set()
        await node.until(lambda: not node.pump.taking)
        assert not node.pump.went


class SlowOrders(Orders):
    """Saves once the test lets it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.slow = False
        self.saving, self.answer = threading.Event(), threading.Event()

    def save(self, desired: Desired) -> None:
        if self.slow:
            self.saving.set()
            assert self.answer.wait(10)
        super().save(desired)


async def test_a_pause_ends_what_travels_before_it_is_saved(tmp_path: Path) -> None:
    orders = SlowOrders(tmp_path)
    async with Node(tmp_path, FakeHoldings(), orders).running() as node:
        node.steward.attach(node.pump)
        node.steward.propose(desired(1, (HELMET, 1)))
        await node.until(lambda: ONE.manifest in node.pump.taking)
        orders.slow = True
        node.steward.propose(replace(desired(2, (HELMET, 1)), manners=manners(paused=True)))
        assert await asyncio.to_thread(orders.saving.wait, 5)
        assert not node.pump.taking
        assert orders.load() == desired(1, (HELMET, 1))
        orders.answer.set()

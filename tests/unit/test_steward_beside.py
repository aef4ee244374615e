"""A channel is switched while the disk is busy with something else, which is held here as long as the test wants."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.meanwhile import meanwhile
from edge_agent.stock import Stock
from modelsyncd.errors import DiskError
from modelsyncd.session.frames import Phase
from modelsyncd.store.version import Version
from tests.fakes.holdings import FakeHoldings, version
from tests.unit.test_trials_steward import HELMET, ONE, THREE, TWO, Node, wanting

FOUR = version(HELMET.model, 4)
PATIENCE = 60.0  # seconds


class HeldHoldings(FakeHoldings):
    """A disk whose deleting, or whose looking, takes until the test lets it end."""

    def __init__(self) -> None:
        super().__init__()
        self.slow = ""
        self.looks = 0
        self.there, self.go = threading.Event(), threading.Event()

    def observe(self) -> Stock:
        self.looks += 1
        found = super().observe()
        self._wait("observe")
        return found

    def prune(self, version: Version) -> None:
        self._wait("prune")
        super().prune(version)

    def _wait(self, name: str) -> None:
        if self.slow == name:
            self.there.set()
            assert self.go.wait(PATIENCE)

    @contextmanager
    def held(self, name: str) -> Iterator[threading.Event]:
        self.slow = name
        self.there.clear()
        self.go.clear()
        try:
            yield self.there
        finally:
            self.slow = ""
            self.go.set()


@pytest.fixture
def holdings() -> HeldHoldings:
    found = HeldHoldings()
    found.hold(ONE, TWO, THREE)
    return found


async def test_a_channel_leads_back_before_the_disk_has_been_looked_at(tmp_path: Path, holdings: HeldHoldings) -> None:
    async with Node(tmp_path, holdings).running() as node:
        await node.prove(1)
        await node.want(2, 2)
        await node.until_phase(Phase.CONFIRMING, 2)
        with holdings.held("observe") as there:
            node.steward.look()
            assert await asyncio.to_thread(there.wait, PATIENCE)
            assert node.switching.confirm(HELMET, 2, False, "no such layer", "job")
            await node.until_phase(Phase.ROLLED_BACK, 1)
            assert holdings.slow == "observe"
            assert not holdings.go.is_set()
        await node.want(3, 3)
        await node.until_phase(Phase.CONFIRMING, 3)  # what was seen before the switch did not count


async def test_a_version_that_is_gone_when_it_is_switched_to_does_not_keep_a_look_from_its_end(
    tmp_path: Path, holdings: HeldHoldings
) -> None:
    async with Node(tmp_path, holdings, gate=None).running() as node:
        await node.want(1, 1)
        await node.until_phase(Phase.ACTIVE, 1)
        with holdings.held("observe") as there:
            node.steward.look()
            assert await asyncio.to_thread(there.wait, PATIENCE)
            holdings.stock = replace(holdings.stock, held=holdings.stock.held - {TWO})  # as a chore does that has begun
            tried = holdings.calls.count("activate")
            await node.want(2, 2)
            await node.until(lambda: holdings.calls.count("activate") > tried)
        await node.until_phase(Phase.WANTED, 1)
        assert holdings.calls.count("activate") == tried + 1


async def test_a_person_rolls_back_while_a_large_version_is_deleted(tmp_path: Path, holdings: HeldHoldings) -> None:
    async with Node(tmp_path, holdings, gate=None).running() as node:
        await node.want(1, 1)
        await node.until_phase(Phase.ACTIVE, 1)
        holdings.hold(FOUR)
        with holdings.held("prune") as there:
            node.steward.propose(wanting(2, 2, keep=1))
            assert await asyncio.to_thread(there.wait, PATIENCE)
            assert node.steward.active(HELMET) is not None
            node.steward.propose(wanting(3, 1, keep=1))
            await node.until_phase(Phase.ACTIVE, 1)
            assert not holdings.go.is_set()
        await node.until(lambda: holdings.stock.held <= {ONE, TWO})
        assert holdings.stock.active[HELMET].version == ONE


async def test_the_error_of_work_on_the_disk_comes_out_as_it_is_once_a_turn_has_ended() -> None:
    kicked, ended, begun = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        kicked.set()
        await begun.wait()
        raise DiskError("can't read")

    async def turn() -> None:
        begun.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        ended.set()

    with pytest.raises(DiskError):
        await meanwhile(work, kicked, turn)
    assert ended.is_set()
    assert kicked.is_set()


async def test_work_that_nobody_interrupts_leaves_nothing_to_do() -> None:
    kicked = asyncio.Event()

    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    assert await meanwhile(work, kicked, asyncio.Event().wait) == 7
    assert not kicked.is_set()


async def test_a_node_that_has_what_it_should_looks_at_its_disk_no_more(tmp_path: Path, holdings: HeldHoldings) -> None:
    async with Node(tmp_path, holdings, gate=None).running() as node:
        await node.want(1, 1)
        await node.until_phase(Phase.ACTIVE, 1)
        looks = -1
        async with asyncio.timeout(PATIENCE):
            while looks != holdings.looks:  # until it has come to rest
                looks = holdings.looks
                for _ in range(200):
                    await asyncio.sleep(0)
                    await asyncio.to_thread(int)  # as long as a look takes
        assert looks < 50

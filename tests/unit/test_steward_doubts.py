"""A steward has versions read back before it switches to them, and looks and tries at once when it is hastened."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge_agent.goals import understand
from edge_agent.orders import Orders
from edge_agent.reconcile import Activate, Observed, Prove, Prune, reconcile
from edge_agent.steward import Steward
from edge_agent.watchers import Watchers
from modelsyncd.errors import DiskError
from modelsyncd.names import ModelName, ModelRef
from modelsyncd.session.frames import Fault, Phase
from modelsyncd.store.version import Version
from modelsyncd.wire.nouns import decode_release
from tests.fakes.holdings import FakeHoldings, FakePump, desired, version

HELMET = ModelRef(ModelName("acme", "helmet"), channel="stable")
CANARY = ModelRef(ModelName("acme", "helmet"), channel="canary")
VEST = ModelRef(ModelName("acme", "vest"), channel="stable")
ONE, TWO, THREE = (version(HELMET.model, number) for number in (1, 2, 3))
OTHER = version(VEST.model, 1)


class SlowHoldings(FakeHoldings):
    """Reading a version takes until the test lets it end."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = threading.Event()
        self.read = threading.Event()

    def prove(self, version: Version) -> None:
        self.reading.set()
        assert self.read.wait(10)
        super().prove(version)


@asynccontextmanager
async def running(folder: Path, holdings: FakeHoldings, now: Callable[[], float]) -> AsyncIterator[Steward]:
    steward = Steward(holdings, Orders(folder), Watchers(), clock=now)
    await steward.load()
    async with asyncio.TaskGroup() as group:
        run = group.create_task(steward.run())
        yield steward
        run.cancel()


async def until(steward: Steward, condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while True:
            changed = steward.changed
            if condition():
                return
            await changed.wait()


def number(steward: Steward, ref: ModelRef = HELMET) -> int:
    active = steward.active(ref)
    return active.number if active is not None else 0


def still() -> float:
    return 1_000.0


async def test_a_version_that_lay_for_a_while_is_read_and_then_switched_to(tmp_path: Path) -> None:
    holdings = FakeHoldings()
    holdings.hold(ONE)
    holdings.unproven = {ONE}
    async with running(tmp_path, holdings, still) as steward:
        steward.propose(desired(1, (HELMET, 1), (CANARY, 1)))
        await until(steward, lambda: number(steward) == number(steward, CANARY) == 1)
    assert [call for call in holdings.calls if call in ("prove", "activate")] == ["prove", "activate", "activate"]


async def test_others_are_fetched_and_switched_to_while_a_version_is_read(tmp_path: Path) -> None:
    holdings, pump = SlowHoldings(), FakePump()
    holdings.hold(ONE)
    holdings.unproven = {ONE}
    try:
        async with running(tmp_path, holdings, still) as steward:
            steward.attach(pump)
            steward.propose(desired(1, (HELMET, 1)))
            await asyncio.to_thread(holdings.reading.wait, 5)
            steward.propose(desired(2, (HELMET, 1), (VEST, 1)))
            await until(steward, lambda: OTHER.manifest in pump.taking)
            pump.settle(holdings, OTHER, steward.finished)
            await until(steward, lambda: number(steward, VEST) == 1)
            assert number(steward) == 0
            assert (await steward.report()).disk_free == 500
            holdings.read.set()
            await until(steward, lambda: number(steward) == 1)
        assert holdings.calls.count("prove") == 1
    finally:
        holdings.read.set()


async def test_a_version_that_is_found_damaged_is_fetched_at_once_and_no_setback(tmp_path: Path) -> None:
    holdings, pump = FakeHoldings(), FakePump()
    holdings.hold(ONE, TWO)
    async with running(tmp_path, holdings, still) as steward:
        steward.attach(pump)
        steward.propose(desired(1, (HELMET, 2)))
        await until(steward, lambda: number(steward) == 2)
        holdings.unproven, holdings.rotten = {ONE}, {ONE}
        steward.propose(desired(2, (HELMET, 1)))
        await until(steward, lambda: ONE.manifest in pump.taking)
        (standing,) = steward.standings()
        assert (standing.phase, standing.active, standing.fault) == (Phase.FETCHING, 2, None)
        pump.settle(holdings, ONE, steward.finished)
        await until(steward, lambda: number(steward) == 1)


async def test_a_disk_that_can_not_be_read_is_a_setback_and_the_old_version_stays(tmp_path: Path) -> None:
    holdings = FakeHoldings()
    holdings.hold(ONE, TWO)
    async with running(tmp_path, holdings, still) as steward:
        steward.propose(desired(1, (HELMET, 2)))
        await until(steward, lambda: number(steward) == 2)
        holdings.unproven = {ONE}
        holdings.broken["prove"] = DiskError("does not answer")
        steward.propose(desired(2, (HELMET, 1)))
        await until(steward, lambda: steward.standings()[0].phase is Phase.FAILED)
        assert number(steward) == 2
        assert holdings.calls.count("prove") == 1
        del holdings.broken["prove"]
        steward.hasten()
        await until(steward, lambda: number(steward) == 1)


async def test_what_failed_is_tried_at_once_when_the_steward_is_hastened(tmp_path: Path) -> None:
    holdings, pump = FakeHoldings(), FakePump()
    async with running(tmp_path, holdings, still) as steward:
        steward.attach(pump)
        steward.propose(desired(1, (HELMET, 1)))
        await until(steward, lambda: ONE.manifest in pump.taking)
        pump.fail(ONE.manifest, Fault("disk-full", "no room", retryable=True), steward.finished)
        await until(steward, lambda: steward.standings()[0].phase is Phase.FAILED)
        assert not pump.taking
        steward.hasten()
        await until(steward, lambda: ONE.manifest in pump.taking)
        pump.settle(holdings, ONE, steward.finished)
        await until(steward, lambda: number(steward) == 1)
    assert "inspect" in holdings.calls


@pytest.mark.parametrize(("proving", "actions"), [(frozenset(), (Prove(ONE),)), (frozenset({ONE}), ())])
def test_a_version_is_asked_for_once_however_many_channels_want_it_and_nothing_is_pruned_meanwhile(
    proving: frozenset[Version], actions: tuple[Prove, ...]
) -> None:
    goals = understand(desired(1, (HELMET, 1), (CANARY, 1), keep=1), decode_release, keep=None)
    held = frozenset({ONE, TWO, THREE})
    seen = Observed(held=held, active={HELMET: TWO, CANARY: TWO}, unproven=frozenset({ONE}), proving=proving)
    assert reconcile(goals, seen, 0.0).actions == actions


def test_a_damaged_version_counts_among_those_that_are_kept_and_is_pruned_like_them() -> None:
    goals = understand(desired(1, (HELMET, 3), keep=2), decode_release, keep=None)
    seen = Observed(held=frozenset({TWO, THREE}), damaged=frozenset({ONE}), active={HELMET: THREE})
    assert reconcile(goals, seen, 0.0).actions == (Prune(ONE),)
    seen = Observed(held=frozenset({ONE, THREE}), damaged=frozenset({TWO}), active={HELMET: THREE})
    assert reconcile(goals, seen, 0.0).actions == (Prune(ONE),)


def test_a_version_that_was_just_hashed_is_switched_to_at_once() -> None:
    goals = understand(desired(1, (HELMET, 1)), decode_release, keep=None)
    assert reconcile(goals, Observed(held=frozenset({ONE})), 0.0).actions == (Activate(HELMET, ONE),)

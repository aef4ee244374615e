"""The steward does what was decided, in order, tells those who wait, and rests in between."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.chores import CHORE_PAUSE
from edge_agent.orders import Orders
from edge_agent.steward import Steward
from edge_agent.watchers import Watchers
from modelsyncd.errors import DiskError, DiskFullError
from modelsyncd.names import ModelName, ModelRef
from modelsyncd.plan import Priced
from modelsyncd.session.effects import Quoted
from modelsyncd.session.frames import Fault, Hold, Phase, Report, Standing
from modelsyncd.session.progress import Progress
from tests.fakes.holdings import FakeHoldings, FakePump, desired, version

HELMET = ModelRef(ModelName("acme", "helmet"), channel="stable")
VEST = ModelRef(ModelName("acme", "vest"), channel="stable")
ONE, TWO, THREE = (version(HELMET.model, number) for number in (1, 2, 3))


class Node:
    """A steward with everything around it in the test's hands; its clock stands still until it is moved."""

    def __init__(self, folder: Path, holdings: FakeHoldings | None = None, orders: Orders | None = None) -> None:
        self.now = 1_000.0
        self.holdings = holdings or FakeHoldings()
        self.orders = orders or Orders(folder)
        self.watchers = Watchers()
        self.pump = FakePump()
        self.steward = Steward(
            self.holdings, self.orders, self.watchers, clock=lambda: self.now, wall=lambda: self.now + 1e9
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Node"]:
        await self.steward.load()
        async with asyncio.TaskGroup() as group:
            run = group.create_task(self.steward.run())
            yield self
            run.cancel()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(5):
            while True:
                changed = self.steward.changed
                if condition():
                    return
                await changed.wait()

    async def settle(self, which: object) -> None:
        assert which in (ONE, TWO, THREE)
        found = next(one for one in (ONE, TWO, THREE) if one == which)
        await self.until(lambda: found.manifest in self.pump.taking)
        self.pump.settle(self.holdings, found, self.steward.finished)

    def number(self, ref: ModelRef = HELMET) -> int:
        active = self.steward.active(ref)
        return active.number if active is not None else 0

    def standing(self, ref: ModelRef = HELMET) -> Standing:
        return next(one for one in self.steward.standings() if (one.model, one.channel) == (ref.model, ref.channel))


async def test_what_the_hub_wants_is_fetched_activated_and_told(tmp_path: Path) -> None:
    async with Node(tmp_path).running() as node:
        with node.watchers.watch(HELMET) as watch:
            node.steward.attach(node.pump)
            node.steward.propose(desired(1, (HELMET, 1)))
            await node.settle(ONE)
            switch = await anext(aiter(watch))
        assert (switch.active.number, switch.previous) == (1, 0)
        await node.until(lambda: node.standing().phase is Phase.ACTIVE)
        wanted = Standing(HELMET.model, "stable", Phase.ACTIVE, 1, 0, 1, 1_000, 1_000, 200, 500, since=1e9 + 1_000)
        assert node.standing() == wanted


async def test_a_switch_names_the_number_before(tmp_path: Path) -> None:
    async with Node(tmp_path).running() as node:
        node.steward.attach(node.pump)
        node.steward.propose(desired(1, (HELMET, 1)))
        await node.settle(ONE)
        await node.until(lambda: node.number() == 1)
        with node.watchers.watch(None) as watch:
            node.steward.propose(desired(2, (HELMET, 2)))
            await node.settle(TWO)
            switch = await anext(aiter(watch))
        assert (switch.active.number, switch.previous) == (2, 1)


async def test_with_the_hub_away_a_restarted_node_knows_what_it_follows_and_activates_what_is_whole(
    tmp_path: Path,
) -> None:
    Orders(tmp_path).save(desired(7, (HELMET, 1)))
    holdings = FakeHoldings()
    holdings.hold(ONE)
    async with Node(tmp_path, holdings).running() as node:
        await node.until(lambda: node.number() == 1)
        assert node.steward.generation == 7


async def test_a_desired_is_on_the_disk_before_it_is_followed(tmp_path: Path) -> None:
    async with Node(tmp_path).running() as node:
        node.steward.propose(desired(3, (HELMET, 1)))
        await node.until(lambda: node.steward.generation == 3)
        assert node.orders.load() == desired(3, (HELMET, 1))


async def test_a_broken_file_of_orders_does_not_stop_a_node(tmp_path: Path) -> None:
    (tmp_path / "desired.pb").write_bytes(b"\xff" * 40)
    async with Node(tmp_path).running() as node:
        assert node.steward.generation == 0
        node.steward.propose(desired(1, (HELMET, 1)))
        await node.until(lambda: node.steward.generation == 1)


async def test_an_older_desired_changes_nothing(tmp_path: Path) -> None:
    async with Node(tmp_path).running() as node:
        node.steward.propose(desired(5, (HELMET, 1)))
        node.steward.propose(desired(4, (VEST, 1)))
        await node.until(lambda: node.steward.generation == 5)
        assert node.steward.refs == [HELMET]


async def test_orders_that_can_not_be_saved_are_followed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object) -> None:
        raise DiskFullError("no room")

    node = Node(tmp_path)
    monkeypatch.setattr(node.orders, "save", full)
    async with node.running():
        node.steward.propose(desired(1, (HELMET, 1)))
        await node.until(lambda: node.steward.generation == 1)


async def test_a_failed_transfer_is_reported_with_its_next_try_and_tried_again_then(tmp_path: Path) -> None:
    async with Node(tmp_path).running() as node:
        node.steward.attach(node.pump)
        node.steward.propose(desired(1, (HELMET, 1)))
        await node.until(lambda: ONE.manifest in node.pump.taking)
        fault = Fault("disk-full", "no room", retryable=True)
        node.pump.fail(ONE.manifest, fault, node.steward.finished)
        await node.until(lambda: node.standing().phase is Phase.FAILED)
        assert node.standing().fault == fault
        assert node.standing().next_try == pytest.approx(1e9 + 1_002)
        node.now += 3
        node.steward.propose(desired(1, (HELMET, 1)))
        await node.settle(ONE)
        await node.until(lambda: node.number() == 1)
        assert node.standing().fault is None


async def test_a_session_that_breaks_is_no_setback_and_the_next_one_goes_on(tmp_path: Path) -> None:
    async with Node(tmp_path).running() as node:
        node.steward.attach(node.pump)
        node.steward.propose(desired(1, (HELMET, 1)))
        await node.until(lambda: ONE.manifest in node.pump.taking)
        node.steward.detach()
        await node.until(lambda: node.standing().phase is Phase.WANTED)
        node.pump = FakePump()
        node.steward.attach(node.pump)
        await node.settle(ONE)
        await node.until(lambda: node.number() == 1)


async def test_a_full_disk_at_the_switch_leaves_the_old_version_serving(tmp_path: Path) -> None:
    async with Node(tmp_path).running() as node:
        node.steward.attach(node.pump)
        node.steward.propose(desired(1, (HELMET, 1)))
        await node.settle(ONE)
        await node.until(lambda: node.number() == 1)
        node.holdings.broken["activate"] = DiskFullError("no room for a link")
        node.steward.propose(desired(2, (HELMET, 2)))
        await node.settle(TWO)
        await node.until(lambda: node.standing().phase is Phase.FAILED)
        assert (node.standing().active, node.standing().staged) == (1, 2)
        del node.holdings.broken["activate"]
        node.now += 3
        node.steward.propose(desired(2, (HELMET, 2)))
        await node.until(lambda: node.number() == 2)


async def test_what_is_no_longer_wanted_is_dropped_unlinked_and_pruned(tmp_path: Path) -> None:
    holdings = FakeHoldings()
    holdings.hold(ONE, TWO, THREE)
    async with Node(tmp_path, holdings).running() as node:
        node.steward.attach(node.pump)
        node.steward.propose(desired(1, (HELMET, 1), (VEST, 1)))
        await node.until(lambda: node.number() == 1)
        await node.until(lambda: node.pump.taking)
        node.steward.propose(desired(2, keep=1))
        await node.until(lambda: not node.pump.taking and not node.holdings.stock.active)
        await node.until(lambda: node.holdings.stock.held == {THREE})
        assert node.steward.refs == []


async def test_tidying_that_the_disk_refuses_waits_and_keeps_nobody_busy(tmp_path: Path) -> None:
    holdings = FakeHoldings()
    holdings.hold(ONE, TWO, THREE)
    async with Node(tmp_path, holdings).running() as node:
        node.holdings.broken["prune"] = DiskError("read-only")
        node.steward.propose(desired(1, (HELMET, 3), keep=1))
        await node.until(lambda: node.holdings.calls.count("prune") == 2)
        node.now += CHORE_PAUSE / 2
        node.steward.propose(desired(1, (HELMET, 3), keep=1))
        await node.until(lambda: node.number() == 3)
        del node.holdings.broken["prune"]
        node.now += CHORE_PAUSE
        node.steward.propose(desired(1, (HELMET, 3), keep=1))
        await node.until(lambda: node.holdings.stock.held == {THREE})
        assert node.holdings.calls.count("prune") == 4


async def test_progress_of_a_transfer_shows_in_its_standing(tmp_path: Path) -> None:
    async with Node(tmp_path).running() as node:
        node.pump.far = Progress(1_000, 100, 400, 200)
        node.steward.attach(node.pump)
        node.steward.propose(desired(1, (HELMET, 1)))
        await node.until(lambda: node.steward.fetching)
        standing = node.standing()
        assert standing.phase is Phase.FETCHING
        assert (standing.bytes_done, standing.bytes_had, standing.bytes_wire) == (400, 100, 200)


async def test_what_it_takes_is_said_before_it_has_leave_and_only_when_there_is_something_new(tmp_path: Path) -> None:
    async with Node(tmp_path).running() as node:
        node.pump.far = Progress(total=1_000, wire=10)
        node.steward.attach(node.pump)
        node.steward.propose(desired(1, (HELMET, 1)))
        await node.until(lambda: ONE.manifest in node.pump.taking)
        assert node.standing().hold is Hold.QUOTE
        node.steward.quoted(Quoted(ONE.manifest, Priced(alone=1_000, alone_wire=600), node.pump.far, final=True))
        await node.until(lambda: node.pump.went)
        assert node.pump.went == {ONE.manifest: 600}
        assert [word for word, _ in node.pump.log] == ["take", "say", "go"]
        report = node.pump.said[0]
        assert isinstance(report, Report)
        assert report.standings[0].forecast is not None
        assert (report.standings[0].forecast.wire, report.standings[0].forecast.revision) == (610, 1)
        assert node.standing().hold is Hold.NONE
        node.pump.far = Progress(total=1_000, done=500, wire=310)
        node.steward.quoted(Quoted(ONE.manifest, Priced(alone=500, alone_wire=301), node.pump.far, final=True))
        await node.until(lambda: node.pump.went[ONE.manifest] == 301)
        assert len(node.pump.said) == 1  # a hundredth more is nothing new
        node.steward.quoted(Quoted(ONE.manifest, Priced(alone=500, alone_wire=400), node.pump.far, final=True))
        await node.until(lambda: node.pump.went[ONE.manifest] == 400)
        assert len(node.pump.said) == 2
        forecast = node.standing().forecast
        assert forecast is not None
        assert (forecast.revision, forecast.spent, forecast.had) == (2, 310, 500)


async def test_what_is_more_urgent_is_named_as_what_holds_the_other_up(tmp_path: Path) -> None:
    async with Node(tmp_path).running() as node:
        node.steward.attach(node.pump)
        two = desired(1, (HELMET, 1), (VEST, 1))
        urgent = replace(two.assignments[1], priority=5)
        node.steward.propose(replace(two, assignments=(two.assignments[0], urgent)))
        await node.until(lambda: len(node.pump.taking) == 2)
        for manifest in node.pump.taking:
            node.steward.quoted(Quoted(manifest, Priced(alone=10, alone_wire=10), Progress(), final=True))
        await node.until(lambda: len(node.pump.went) == 2)
        assert (node.standing(HELMET).hold, node.standing(VEST).hold) == (Hold.PRIORITY, Hold.NONE)


async def test_since_is_when_phase_or_hold_became_what_they_are(tmp_path: Path) -> None:
    async with Node(tmp_path).running() as node:
        node.steward.propose(desired(1, (HELMET, 1)))
        await node.until(lambda: node.steward.generation == 1)
        assert (node.standing().hold, node.standing().since) == (Hold.OFFLINE, 1e9 + 1_000)
        node.now += 50
        assert node.standing().since == 1e9 + 1_000
        node.steward.attach(node.pump)
        await node.until(lambda: node.pump.taking)
        assert (node.standing().hold, node.standing().since) == (Hold.QUOTE, 1e9 + 1_050)


async def test_a_disk_that_does_not_answer_does_not_keep_a_report_from_being_made(tmp_path: Path) -> None:
    async with Node(tmp_path).running() as node:
        node.steward.propose(desired(1, (HELMET, 1)))
        await node.until(lambda: node.steward.generation == 1)
        assert (await node.steward.report()).disk_free == 500
        node.holdings.broken["disk"] = DiskError("gone")
        assert (await node.steward.report()).disk_free == 0
        assert len((await node.steward.report()).standings) == 1

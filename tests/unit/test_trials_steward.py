"""A steward tries versions on channels with a gate, hears one verdict, and leads channels back from what failed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from edge_agent.gates import Gate
from edge_agent.orders import Orders
from edge_agent.steward import Steward
from edge_agent.switching import Switching
from edge_agent.trial_file import FILE, TrialFile
from edge_agent.trials import Failed, Known, Trial
from edge_agent.watchers import Watchers
from modelsyncd.errors import DiskError, DiskFullError
from modelsyncd.names import ModelName, ModelRef
from modelsyncd.session.frames import Desired, Phase, Standing
from tests.fakes.holdings import FakeHoldings, desired, version

HELMET = ModelRef(ModelName("acme", "helmet"), channel="stable")
CANARY = ModelRef(ModelName("acme", "helmet"), channel="canary")
ONE, TWO, THREE = (version(HELMET.model, number) for number in (1, 2, 3))
CONFIRM = Gate(confirm=True, deadline=3_600.0)


class Node:
    """A steward over a store in memory, and a file of trials; its clock stands still until it is moved."""

    def __init__(self, folder: Path, holdings: FakeHoldings | None = None, gate: Gate | None = CONFIRM) -> None:
        self.now = 1_000.0
        self.wall = 1e9
        if holdings is None:
            holdings = FakeHoldings()
            holdings.hold(ONE, TWO, THREE)
        self.holdings = holdings
        self.watchers = Watchers()
        self.switching = Switching(
            holdings,
            self.watchers,
            TrialFile(folder),
            {HELMET: gate} if gate is not None else {},
            clock=lambda: self.now,
            wall=lambda: self.wall,
        )
        self.steward = Steward(
            holdings, Orders(folder), self.watchers, clock=lambda: self.now, switching=self.switching
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Node]:
        await self.steward.load()
        async with asyncio.TaskGroup() as group:
            run = group.create_task(self.steward.run())
            yield self
            run.cancel()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(60):
            while True:
                changed = self.steward.changed
                if condition():
                    return
                await changed.wait()

    async def until_phase(self, phase: Phase, active: int) -> None:
        await self.until(lambda: (self.standing().phase, self.standing().active) == (phase, active))

    def standing(self, ref: ModelRef = HELMET) -> Standing:
        found = [one for one in self.steward.standings() if (one.model, one.channel) == (ref.model, ref.channel)]
        return found[0] if found else Standing(ref.model, ref.channel or "", Phase.WANTED)

    async def want(self, generation: int, number: int, *, retry: int = 0) -> None:
        self.steward.propose(wanting(generation, number, retry))

    async def prove(self, number: int, generation: int | None = None) -> None:
        await self.want(generation or number, number)
        await self.until_phase(Phase.CONFIRMING, number)
        assert self.switching.confirm(HELMET, number, True, "", "job")
        await self.until_phase(Phase.ACTIVE, number)

    async def fail(self, number: int, back: int, generation: int | None = None) -> None:
        await self.want(generation or number, number)
        await self.until_phase(Phase.CONFIRMING, number)
        assert self.switching.confirm(HELMET, number, False, "no such layer", "job")
        await self.until_phase(Phase.ROLLED_BACK, back)


def wanting(generation: int, number: int, retry: int = 0, keep: int = 5) -> Desired:
    said = desired(generation, (HELMET, number), keep=keep)
    return replace(said, assignments=tuple(replace(one, retry=retry) for one in said.assignments))


async def test_a_version_is_on_trial_until_a_job_says_that_it_works(tmp_path: Path) -> None:
    async with Node(tmp_path).running() as node:
        await node.prove(1)
        await node.want(2, 2)
        await node.until_phase(Phase.CONFIRMING, 2)
        trial = node.switching.trial(HELMET)
        assert trial is not None
        assert (trial.number, trial.seconds_left) == (2, 3_600.0)
        assert TrialFile(tmp_path).load().trials[HELMET] == Trial(TWO, ONE, 1e9, 3_600.0)
        assert node.switching.confirm(HELMET, 2, True, "", "job")
        await node.until_phase(Phase.ACTIVE, 2)
        await node.until(lambda: TrialFile(tmp_path).load() == Known())
        assert node.switching.trial(HELMET) is None


async def test_one_that_fails_gives_way_to_the_one_before_and_jobs_and_hub_are_told(tmp_path: Path) -> None:
    async with Node(tmp_path).running() as node:
        await node.prove(1)
        with node.watchers.watch(HELMET) as watch:
            events = aiter(watch)
            await node.want(2, 2)
            there = await anext(events)
            await node.until_phase(Phase.CONFIRMING, 2)
            node.switching.confirm(HELMET, 2, False, "no such layer", "uid 7")
            back = await anext(events)
        assert (there.active.number, there.previous) == (2, 1)
        assert (back.active.number, back.previous) == (1, 2)
        await node.until_phase(Phase.ROLLED_BACK, 1)
        fault = node.standing().fault
        assert fault is not None
        assert fault.code == "gate-failed"
        assert fault.message == "acme/helmet:2 did not prove itself on this node: no such layer (uid 7)"
        assert fault.safe == "acme/helmet:1 is active again"
        failed = node.switching.failed(HELMET)
        assert failed is not None
        assert (failed.number, failed.at) == (2, 1e9)


async def test_the_first_verdict_is_the_only_one(tmp_path: Path) -> None:
    async with Node(tmp_path).running() as node:
        await node.prove(1)
        await node.want(2, 2)
        await node.until_phase(Phase.CONFIRMING, 2)
        assert not node.switching.confirm(HELMET, 1, False, "", "job"), "not about what is on trial"
        assert not node.switching.confirm(CANARY, 2, False, "", "job"), "no gate there"
        assert node.switching.confirm(HELMET, 2, False, "", "job")
        assert not node.switching.confirm(HELMET, 2, True, "", "job")
        await node.until_phase(Phase.ROLLED_BACK, 1)
        assert not node.switching.confirm(HELMET, 2, True, "", "job")
        assert not node.switching.confirm(HELMET, 1, False, "", "job"), "nobody tries what proved itself"


async def test_nothing_but_somebodys_word_or_another_release_has_a_version_tried_again(tmp_path: Path) -> None:
    node = Node(tmp_path)
    async with node.running():
        await node.prove(1)
        await node.fail(2, back=1)
        await node.want(4, 2)
        node.steward.hasten()
        await node.until(lambda: node.steward.generation == 4)
        assert node.standing().phase is Phase.ROLLED_BACK
    again = Node(tmp_path, node.holdings)
    async with again.running():
        await again.until_phase(Phase.ROLLED_BACK, 1)
        await again.want(5, 2, retry=1)
        await again.until_phase(Phase.CONFIRMING, 2)
        again.switching.confirm(HELMET, 2, False, "", "job")
        await again.until_phase(Phase.ROLLED_BACK, 1)
        assert again.switching.retry(HELMET) == 2
        assert again.switching.retry(HELMET) == 0
        await again.until_phase(Phase.CONFIRMING, 2)
        again.switching.confirm(HELMET, 2, False, "", "job")
        await again.until_phase(Phase.ROLLED_BACK, 1)
        await again.want(6, 3, retry=1)
        await again.until_phase(Phase.CONFIRMING, 3)


async def test_a_newer_release_takes_over_a_trial_and_the_way_back_leads_to_what_proved_itself(tmp_path: Path) -> None:
    async with Node(tmp_path).running() as node:
        await node.prove(1)
        await node.want(2, 2)
        await node.until_phase(Phase.CONFIRMING, 2)
        await node.want(3, 3)
        await node.until_phase(Phase.CONFIRMING, 3)
        assert node.holdings.stock.previous[HELMET] == ONE
        assert node.switching.confirm(HELMET, 3, False, "", "job")
        await node.until_phase(Phase.ROLLED_BACK, 1)
        assert node.switching.failed(HELMET) == Failed(THREE, ONE, "no reason given (job)", 1e9)


async def test_going_back_at_the_hub_ends_a_trial_at_once(tmp_path: Path) -> None:
    async with Node(tmp_path).running() as node:
        await node.prove(1)
        await node.want(2, 2)
        await node.until_phase(Phase.CONFIRMING, 2)
        node.holdings.unproven = {ONE}  # and nothing is read for that
        await node.want(3, 1)
        await node.until_phase(Phase.ACTIVE, 1)
        await node.until(lambda: TrialFile(tmp_path).load() == Known())
        assert not node.switching.confirm(HELMET, 2, False, "", "job")
        assert "prove" not in node.holdings.calls


async def test_the_first_version_of_a_channel_that_fails_leaves_nothing(tmp_path: Path) -> None:
    async with Node(tmp_path).running() as node:
        await node.fail(1, back=0)
        assert node.steward.active(HELMET) is None
        fault = node.standing().fault
        assert fault is not None
        assert fault.safe == "nothing is active"
        await node.prove(2)


async def test_after_a_restart_a_trial_has_what_is_left_of_its_time(tmp_path: Path) -> None:
    node = Node(tmp_path)
    async with node.running():
        await node.prove(1)
        await node.want(2, 2)
        await node.until_phase(Phase.CONFIRMING, 2)
    again = Node(tmp_path, node.holdings)
    again.wall += 600.0
    async with again.running():
        await again.until_phase(Phase.CONFIRMING, 2)
        trial = again.switching.trial(HELMET)
        assert trial is not None
        assert trial.seconds_left == 3_000.0


async def test_a_trial_whose_time_was_over_while_the_node_was_off_has_it_again_twice_and_fails_then(
    tmp_path: Path,
) -> None:
    node = Node(tmp_path)
    async with node.running():
        await node.prove(1)
        await node.want(2, 2)
        await node.until_phase(Phase.CONFIRMING, 2)
    for starts in (2, 3):
        node = Node(tmp_path, node.holdings)
        node.wall += 7_200.0 * starts
        await node.steward.load()
        assert TrialFile(tmp_path).load().trials[HELMET] == Trial(TWO, ONE, node.wall, 3_600.0, 0, starts)
        async with node.running():
            await node.until_phase(Phase.CONFIRMING, 2)
            trial = node.switching.trial(HELMET)
            assert trial is not None
            assert trial.seconds_left == 3_600.0
    late = Node(tmp_path, node.holdings)
    late.wall += 90_000.0
    async with late.running():
        await late.until_phase(Phase.ROLLED_BACK, 1)
    failed = TrialFile(tmp_path).load().failures[HELMET]
    assert [(one.number, one.why) for one in failed] == [(2, "the agent was down when its 3600 s were over, 3 times")]


async def test_what_is_tried_again_after_an_absence_may_prove_itself(tmp_path: Path) -> None:
    node = Node(tmp_path)
    async with node.running():
        await node.prove(1)
        await node.want(2, 2)
        await node.until_phase(Phase.CONFIRMING, 2)
    late = Node(tmp_path, node.holdings)
    late.wall += 7_200.0
    async with late.running():
        await late.until_phase(Phase.CONFIRMING, 2)
        assert late.switching.confirm(HELMET, 2, True, "", "job")
        await late.until_phase(Phase.ACTIVE, 2)


async def test_a_trial_begins_not_again_where_the_disk_can_not_count_it(tmp_path: Path) -> None:
    class Full(TrialFile):
        def save(self, known: Known) -> None:
            raise DiskFullError("no room")

    node = Node(tmp_path)
    async with node.running():
        await node.prove(1)
        await node.want(2, 2)
        await node.until_phase(Phase.CONFIRMING, 2)
    late = Node(tmp_path, node.holdings)
    late.switching._file = Full(tmp_path)
    late.wall += 7_200.0
    async with late.running():
        await late.until_phase(Phase.ROLLED_BACK, 1)


async def test_a_node_without_the_hubs_last_word_judges_what_is_on_trial_all_the_same(tmp_path: Path) -> None:
    node = Node(tmp_path, gate=Gate(confirm=True, deadline=3_600.0))
    async with node.running():
        await node.prove(1)
        await node.want(2, 2)
        await node.until_phase(Phase.CONFIRMING, 2)
    (tmp_path / "desired.pb").unlink()
    late = Node(tmp_path, node.holdings)
    async with late.running():
        await late.until(lambda: late.switching.trial(HELMET))
        assert late.switching.confirm(HELMET, 2, False, "", "job")
        await late.until(lambda: late.holdings.stock.active[HELMET].number == 1)


async def test_without_a_gate_nothing_is_tried_and_nothing_written(tmp_path: Path) -> None:
    async with Node(tmp_path, gate=None).running() as node:
        await node.want(1, 1)
        await node.until_phase(Phase.ACTIVE, 1)
        assert not (tmp_path / FILE).exists()


async def test_a_gate_that_is_taken_out_of_the_settings_ends_its_trial(tmp_path: Path) -> None:
    node = Node(tmp_path)
    async with node.running():
        await node.want(1, 1)
        await node.until_phase(Phase.CONFIRMING, 1)
    again = Node(tmp_path, node.holdings, gate=None)
    async with again.running():
        await again.until_phase(Phase.ACTIVE, 1)
        await again.until(lambda: TrialFile(tmp_path).load() == Known())


async def test_a_disk_that_is_full_begins_no_trial_and_holds_no_way_back_up(tmp_path: Path) -> None:
    class Full(TrialFile):
        full = False

        def save(self, known: Known) -> None:
            if self.full:
                raise DiskFullError("no room")
            super().save(known)

    node = Node(tmp_path)
    file = node.switching._file = Full(tmp_path)
    async with node.running():
        await node.prove(1)
        file.full = True
        await node.want(2, 2)
        await node.until_phase(Phase.FAILED, 1)
        assert "try_out" not in node.holdings.calls
        file.full = False
        node.steward.hasten()
        await node.until_phase(Phase.CONFIRMING, 2)
        file.full = True
        node.switching.confirm(HELMET, 2, False, "", "job")
        await node.until_phase(Phase.ROLLED_BACK, 1)
        file.full = False
        node.steward.hasten()
        await node.until(lambda: TrialFile(tmp_path).load().failures)


async def test_a_switch_that_the_disk_refuses_is_no_verdict(tmp_path: Path) -> None:
    async with Node(tmp_path).running() as node:
        await node.prove(1)
        node.holdings.broken["activate"] = DiskError("can't write")
        await node.want(2, 2)
        await node.until_phase(Phase.FAILED, 1)
        del node.holdings.broken["activate"]
        node.steward.hasten()
        await node.until_phase(Phase.CONFIRMING, 2)
        assert node.switching.failed(HELMET) is None


async def test_a_gate_whose_time_is_over_says_so(tmp_path: Path) -> None:
    async with Node(tmp_path, gate=Gate(confirm=True, deadline=0.01)).running() as node:
        await node.want(1, 1)
        await node.until_phase(Phase.ROLLED_BACK, 0)
        failed = node.switching.failed(HELMET)
        assert failed is not None
        assert failed.why == "no job confirmed it within 0.01 s"


async def test_a_job_that_can_not_use_a_version_says_so_during_any_trial(tmp_path: Path) -> None:
    gate = Gate(command=("/bin/sleep", "3600"), deadline=3_600.0)
    async with Node(tmp_path, gate=gate).running() as node:
        await node.want(1, 1)
        await node.until_phase(Phase.CONFIRMING, 1)
        assert not node.switching.confirm(HELMET, 1, True, "", "job"), "nobody waits for that word"
        assert node.switching.confirm(HELMET, 1, False, "", "job")
        await node.until_phase(Phase.ROLLED_BACK, 0)


async def test_nothing_counts_as_rolled_back_before_the_channel_leads_back(tmp_path: Path) -> None:
    async with Node(tmp_path).running() as node:
        await node.prove(1)
        await node.want(2, 2)
        await node.until_phase(Phase.CONFIRMING, 2)
        node.holdings.broken["go_back"] = DiskError("can't write")
        assert node.switching.confirm(HELMET, 2, False, "", "job")
        await node.until(lambda: TrialFile(tmp_path).load().failures)
        assert (node.standing().phase, node.standing().fault) == (Phase.CONFIRMING, None)
        del node.holdings.broken["go_back"]
        node.steward.hasten()
        await node.until_phase(Phase.ROLLED_BACK, 1)

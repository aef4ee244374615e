"""What ends a trial, or a hook, oddly: each leaves the agent running and every word that was taken where it was."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge_agent.commands import Ended, check_command
from edge_agent.gates import Gate, judge
from edge_agent.hooks import Hook, Hooks
from edge_agent.stock import Stock
from edge_agent.switching import Switching
from edge_agent.trial_file import TrialFile
from edge_agent.trials import Known, Trial, Try
from edge_agent.watchers import Active, Switch, Watchers
from modelsyncd.errors import BadInputError, DiskError
from modelsyncd.names import ModelName, ModelRef
from tests.fakes.holdings import FakeHoldings, version
from tests.fakes.jobs import eventually

HELMET = ModelRef(ModelName("acme", "helmet"), channel="stable")
VEST = ModelRef(ModelName("acme", "vest"), channel="stable")
ONE, TWO = version(HELMET.model, 1), version(HELMET.model, 2)
OTHER = version(VEST.model, 1)
GATES = {ref: Gate(confirm=True, deadline=3_600.0) for ref in (HELMET, VEST)}


class SlowFile(TrialFile):
    """A disk that keeps the writer waiting until the test says so, and may refuse then."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.begun, self.go = threading.Event(), threading.Event()
        self.refuses = False
        self.go.set()

    def save(self, known: Known) -> None:
        self.begun.set()
        assert self.go.wait(60)
        if self.refuses:
            raise DiskError("input/output error")
        super().save(known)


@asynccontextmanager
async def switching(file: TrialFile) -> AsyncIterator[Switching]:
    holdings = FakeHoldings()
    holdings.hold(ONE, TWO, OTHER)
    found = Switching(holdings, Watchers(), file, GATES, wall=lambda: 1e9)
    await found.load(lambda: None)
    yield found


def active(ref: ModelRef, number: int) -> Switch:
    one = version(ref.model, number)
    return Switch(Active(ref, number, one.manifest, one.manifest, Path("/m"), Path("/c")), 0)


async def test_a_word_about_one_channel_stays_when_another_ones_trial_can_not_be_saved(tmp_path: Path) -> None:
    file = SlowFile(tmp_path)
    async with switching(file) as found:
        stock = await found.make(Try(VEST, OTHER, None), Stock())
        file.begun.clear()
        file.go.clear()
        async with asyncio.TaskGroup() as group:
            trying = group.create_task(_refused(found, Try(HELMET, TWO, ONE), stock))
            await asyncio.to_thread(file.begun.wait, 60)
            assert found.confirm(VEST, 1, False, "no such layer", "job")
            file.refuses = True
            file.go.set()
            assert await trying
        failed = found.failed(VEST)
        assert failed is not None
        assert failed.number == 1
        assert set(found.tried.known.trials) == set()
        assert found.failed(HELMET) is None


async def _refused(found: Switching, move: Try, stock: Stock) -> bool:
    try:
        await found.make(move, stock)
    except DiskError:
        return True
    return False


async def test_what_was_on_trial_before_is_on_trial_again_when_the_next_one_can_not_be_saved(tmp_path: Path) -> None:
    file = SlowFile(tmp_path)
    async with switching(file) as found:
        stock = await found.make(Try(HELMET, ONE, None), Stock())
        file.refuses = True
        assert await _refused(found, Try(HELMET, TWO, None), stock)
        assert found.tried.known.trials == {HELMET: Trial(ONE, None, 1e9, 3_600.0)}


async def test_a_jobs_word_is_durable_once_it_is_settled(tmp_path: Path) -> None:
    async with switching(TrialFile(tmp_path)) as found:
        await found.make(Try(HELMET, TWO, ONE), Stock())
        assert found.confirm(HELMET, 2, True, "", "job")
        await found.settled()
        assert TrialFile(tmp_path).load() == Known()


async def test_a_gate_whose_time_was_over_before_it_could_ask_says_so(tmp_path: Path) -> None:
    mark = tmp_path / "asked"
    gate = Gate(command=("/usr/bin/touch", str(mark)), deadline=5.0)
    verdict = await judge(gate, active(HELMET, 2), 0.0)
    assert (verdict.works, verdict.why) == (False, "the agent was down when its 5 s were over")


def test_an_end_by_a_signal_without_a_name_is_told_by_its_number() -> None:
    assert Ended(-9, "").how == "ended by SIGKILL"
    assert Ended(-40, "").how == "ended by signal 40"


def test_a_command_with_a_character_that_no_command_can_have_is_refused() -> None:
    with pytest.raises(BadInputError, match="NUL"):
        check_command(["/bin/echo", "a\0b"], "a hook's command")


async def test_a_hook_that_ends_in_any_way_leaves_the_next_one_its_turn(tmp_path: Path) -> None:
    mark = tmp_path / "second"
    hooks = Hooks(
        {
            "acme/*": Hook(after_switch=("/bin/sh", "-c", "kill -40 $$"), timeout=30.0),
            "acme/helmet": Hook(after_switch=("/bin/sh", "-c", f"echo done > {mark}"), timeout=30.0),
        }
    )
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        run = group.create_task(hooks.run())
        hooks.call(active(HELMET, 1))
        await eventually(mark.exists)
        assert not run.done()
        run.cancel()

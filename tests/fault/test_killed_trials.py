"""A node is killed between any two steps of its trials: it ends in a right one, and no version gets two verdicts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.memory_disk import memory_disk
from tests.fakes.trial_tale import TrialTale
from tests.fault.deaths import Death, passings, survive
from tests.fault.reach import FULL

STEPS = 89  # failpoints that this life passes
TALE = TrialTale()


@pytest.fixture
def disk() -> Iterator[Path]:
    with memory_disk() as folder:
        yield folder


def test_this_life_passes_so_many_points(disk: Path) -> None:
    assert passings(TALE, disk / "life").total() == STEPS


@pytest.mark.slow
@pytest.mark.parametrize("nth", range(1, STEPS + 1, 1 if FULL else 3))
def test_whoever_is_killed_at_any_step_of_a_trial_ends_in_a_right_phase(disk: Path, nth: int) -> None:
    assert survive(TALE, disk / "life", Death(f"any=kill@{nth}")) == 1


@pytest.mark.slow
@pytest.mark.parametrize("nth", range(4, STEPS - 20, 1 if FULL else 12))
def test_whoever_is_killed_again_while_it_recovers_does_so_all_the_same(disk: Path, nth: int) -> None:
    assert survive(TALE, disk / "life", Death(f"any=kill@{nth}"), Death("any=kill@2"), Death("any=kill@5")) == 3

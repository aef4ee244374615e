"""A node's and a hub's stores are killed at each failpoint, and live on: nothing is half-seen, lost, or sent twice.

One oracle looks after each death: what can be seen is whole, and what somebody was told is so. Then the life is led to
its end without anybody's help.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path

import pytest

from modelsyncd.store.failpoints import Point
from tests.fakes.hub_tale import HubTale, WornTale
from tests.fakes.memory_disk import memory_disk
from tests.fakes.node_tale import MendingTale, NodeTale
from tests.fakes.outbox_tale import OutboxTale
from tests.fakes.trial_tale import TrialTale
from tests.fault.deaths import Death, Tale, passings, survive
from tests.fault.reach import FULL, seeds

TALES: tuple[Tale, ...] = (NodeTale(), MendingTale(), TrialTale(), OutboxTale(), HubTale(), WornTale())
NEEDS_A_NETWORK = {Point.NODE_KEY_KEPT, Point.INVITE_KEPT, Point.ENROLMENT_ANSWERED, Point.IDENTITY_KEPT}
"""These are passed by the process that enrols: `test_killed_enrolling.py` kills it there."""
PASSINGS = (1, 2, 3, 5, 8, 13, 21, 34, 55) if FULL else (1,)
POINTS = [point for point in Point if point not in NEEDS_A_NETWORK]


@pytest.fixture
def disk() -> Iterator[Path]:
    with memory_disk() as folder:
        yield folder


@pytest.fixture(scope="module")
def passed() -> Mapping[str, Counter[Point]]:
    """How often each life passes each point."""
    with memory_disk() as folder:
        return {tale.name: passings(tale, folder / tale.name) for tale in TALES}


def test_every_point_is_passed_in_one_of_these_lives(passed: Mapping[str, Counter[Point]]) -> None:
    everywhere = sum(passed.values(), Counter[Point]())
    assert set(everywhere) == set(POINTS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("nth", "point"),
    [pytest.param(nth, point, id=f"{point.word}@{nth}") for nth, point in product(PASSINGS, POINTS)],
)
def test_whoever_is_killed_at_a_point_leaves_nothing_half_seen_and_goes_on_by_itself(
    disk: Path, passed: Mapping[str, Counter[Point]], nth: int, point: Point
) -> None:
    concerned = [tale for tale in TALES if passed[tale.name][point] >= nth]
    if nth > 1 and not concerned:
        pytest.skip("no life passes it so often")
    for tale in concerned if FULL else concerned[:1]:
        assert survive(tale, disk / tale.name, Death(f"{point.word}=kill@{nth}")) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "tale"),
    [pytest.param(seed, tale, id=f"{tale.name}-{seed}") for seed, tale in product(seeds(pr=1, full=500), TALES)],
)
def test_whoever_is_killed_three_times_while_it_recovers_does_so_all_the_same(
    disk: Path, passed: Mapping[str, Counter[Point]], seed: int, tale: Tale
) -> None:
    rng = random.Random(seed)
    many = passed[tale.name].total()
    later = [Death(f"any=kill@{rng.randint(1, many // 3)}") for _ in range(2)]
    first = Death(f"any=kill@{rng.randint(1, many)}")
    assert survive(tale, disk / "life", first, *later) >= 1

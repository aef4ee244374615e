"""A node's and a hub's stores are killed at any instant of each phase of their lives, and live on.

An instant is a call or a return, so a death may fall between any two system calls and inside any transaction.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path

import pytest

from tests.fakes.hub_tale import HubTale, WornTale
from tests.fakes.memory_disk import memory_disk
from tests.fakes.node_tale import MendingTale, NodeTale
from tests.fault.deaths import Death, Tale, phases, survive
from tests.fault.reach import seeds

TALES: tuple[Tale, ...] = (NodeTale(), MendingTale(), HubTale(), WornTale())
PHASES = {
    "node": ("open", "download", "install", "switch", "prune"),
    "mending": ("open", "verify", "download", "mend"),
    "hub": ("open", "enrol", "push", "commit", "move", "codings", "gc", "sweep", "close"),
    "worn hub": ("open", "scrub"),
}
CASES = [
    pytest.param(tale, phase, seed, id=f"{tale.name}-{phase}-{seed}")
    for seed, tale in product(seeds(pr=1, full=1_000), TALES)
    for phase in PHASES[tale.name]
]


@pytest.fixture
def disk() -> Iterator[Path]:
    with memory_disk() as folder:
        yield folder


@pytest.fixture(scope="module")
def instants() -> Mapping[str, Mapping[str, list[range]]]:
    with memory_disk() as folder:
        return {tale.name: phases(tale, folder / tale.name) for tale in TALES}


def test_the_phases_are_those_of_the_lives(instants: Mapping[str, Mapping[str, list[range]]]) -> None:
    assert all(set(PHASES[name]) <= set(found) for name, found in instants.items())
    assert set(PHASES["node"]) == set(instants["node"])
    assert set(PHASES["hub"]) == set(instants["hub"])


@pytest.mark.slow
@pytest.mark.parametrize(("tale", "phase", "seed"), CASES)
def test_whoever_is_killed_at_any_instant_leaves_nothing_half_seen_and_goes_on_by_itself(
    disk: Path, instants: Mapping[str, Mapping[str, list[range]]], tale: Tale, phase: str, seed: int
) -> None:
    death = Death.within(instants[tale.name][phase], random.Random(f"{tale.name}-{phase}-{seed}"))
    survive(tale, disk / "life", death)

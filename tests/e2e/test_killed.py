"""kill -9 in the middle of a transfer, at random points: nothing half is ever shown, and little travels twice."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

from tests.e2e.content import folder, tree
from tests.e2e.processes import Ctl, HubProgram
from tests.e2e.travel import RATE, SIZE, check_cost, check_pushed, pushing, syncing
from tests.fakes.link.relay import tcp_link
from tests.fakes.link.shape import Way

SEEDS = [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3))]


def point(seed: int, least: float = 0.45, most: float = 0.9) -> int:
    """A byte of the transfer, far enough in that sending everything again would be seen."""
    return int(SIZE * random.Random(seed).uniform(least, most))


@pytest.mark.parametrize("seed", SEEDS)
def test_an_agent_that_is_killed_goes_on_from_what_it_had_written(
    own_hub: HubProgram, tmp_path: Path, seed: int
) -> None:
    with syncing(own_hub, tmp_path) as sync:
        sync.link.reach(Way.DOWN, point(seed))
        sync.agent.kill()
        sync.check_nothing_shown()
        sync.agent.start()
        sync.end()
        check_cost(sync.link, Way.DOWN, faults=1)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_hub_that_is_killed_while_a_node_fetches_is_waited_for(
    own_hub: HubProgram, tmp_path: Path, seed: int
) -> None:
    with syncing(own_hub, tmp_path) as sync:
        sync.link.reach(Way.DOWN, point(seed))
        own_hub.kill()
        own_hub.restart()
        sync.end()
        check_cost(sync.link, Way.DOWN, faults=1)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_hub_that_is_killed_while_somebody_pushes_keeps_what_was_durable(
    own_hub: HubProgram, tmp_path: Path, seed: int
) -> None:
    with pushing(own_hub, tmp_path) as push:
        push.link.reach(Way.UP, point(seed))
        own_hub.kill()
        own_hub.restart()
        assert own_hub.ctl.json("list")["models"] == []
        assert push.end()["number"] == 1
        check_cost(push.link, Way.UP, faults=1)
        check_pushed(push, tmp_path)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_push_that_is_killed_goes_on_when_it_is_given_again(own_hub: HubProgram, tmp_path: Path, seed: int) -> None:
    with pushing(own_hub, tmp_path) as push:
        push.link.reach(Way.UP, point(seed))
        push.kill()
        assert own_hub.ctl.json("list")["models"] == []
        push.start()
        assert push.end()["number"] == 1
        check_cost(push.link, Way.UP, faults=1)
        check_pushed(push, tmp_path)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_pull_that_is_killed_leaves_nothing_in_its_place_and_goes_on(
    hub: HubProgram, tmp_path: Path, seed: int
) -> None:
    model = f"killed/pull-{seed}"
    origin = folder(tmp_path / "origin", seed=100 + seed, size=SIZE)
    hub.ctl.json("push", str(origin), model)
    dest = tmp_path / "dest"
    with tcp_link(hub.address, RATE) as link:
        far = Ctl(hub.context, {"MODELSYNCD_HUB": link.address})
        process = subprocess.Popen(far.command("pull", model, str(dest), "--json"), env=os.environ | far.environment)
        link.reach(Way.DOWN, point(seed))
        process.kill()
        process.wait()
        assert not dest.exists()
        far.json("pull", model, str(dest))
        check_cost(link, Way.DOWN, faults=1)
    assert tree(dest) == tree(origin)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dest", "origin"]


@pytest.mark.slow
def test_hub_and_agent_that_are_killed_again_and_again_end_with_everything_whole(
    own_hub: HubProgram, tmp_path: Path
) -> None:
    rng = random.Random(4)
    with syncing(own_hub, tmp_path) as sync:
        for share in (0.15, 0.3, 0.5, 0.7):
            sync.link.reach(Way.DOWN, int(SIZE * share))
            victim = rng.choice([own_hub, sync.agent])
            victim.kill()
            sync.check_nothing_shown()
            if victim is own_hub:
                own_hub.restart()
            else:
                sync.agent.start()
        sync.end()
        check_cost(sync.link, Way.DOWN, faults=4)

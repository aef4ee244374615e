"""Real programs are killed at failpoints and at random times, and started again: nobody does anything else for them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, product
from pathlib import Path
from unittest.mock import patch

import pytest

from modelsyncd.store.failpoints import VARIABLE, Point
from tests.e2e.content import change, folder, tree
from tests.e2e.fleet import number_at, until_active
from tests.e2e.processes import AgentProgram, HubProgram, Program
from tests.e2e.travel import REF, check_cost, syncing
from tests.e2e.waiting import until
from tests.fakes.link.shape import Way
from tests.fakes.oracle import whole_versions
from tests.fault.reach import FULL, seeds

SIZE = 700_000  # bytes of a model: a few chunks
AGENT = [
    *(Point.CHUNKS_SYNCED, Point.CHANNEL_SWITCHED, Point.CACHE_BARE, Point.ORDERS_KEPT, Point.STAGING_MADE),
    *(Point.CHUNKS_WRITTEN, Point.ROWS_WRITTEN, Point.ROWS_KEPT, Point.SEEDS_COPIED, Point.FILE_SEALED),
    *(Point.STAGING_SEALED, Point.MANIFEST_KEPT, Point.PIECES_DROPPED, Point.RELEASE_KEPT, Point.VERSION_NAMED),
    *(Point.VERSION_UNSETTLED, Point.CACHE_SETTLED, Point.LINK_MADE, Point.LINK_SWITCHED, Point.PREVIOUS_NOTED),
    *(Point.ORDERS_HEARD, Point.FILE_WRITTEN, Point.FILE_RENAMED, Point.NAME_WAITS, Point.NAME_GIVEN),
    *(Point.TREE_DOOMED, Point.VERSION_REMOVED, Point.VERSION_PRUNED, Point.PAPERS_REMOVED, Point.CACHE_DROPPED),
]
"""Points of an agent's life with its hub; those of mending and throwing away are left to the stores' own lives."""
ENROLS = (Point.NODE_KEY_KEPT, Point.INVITE_KEPT, Point.ENROLMENT_ANSWERED, Point.IDENTITY_KEPT)
"""Points of the process that an agent starts to be let in; it dies there, and the agent does not."""
HUB = [
    *(Point.RECORDS_SYNCED, Point.RELEASE_COMMITTED, Point.AUTHORITY_KEPT, Point.CONTEXT_WAITS, Point.TABLES_MADE),
    *(Point.CATALOGUE_OPEN, Point.STORE_CLAIMED, Point.PACKS_RECOVERED, Point.PACK_BEGUN, Point.RECORDS_WRITTEN),
    *(Point.CHUNKS_INDEXED, Point.CHANGE_MADE, Point.CHANGE_KEPT, Point.RELEASE_WHOLE, Point.RELEASE_ENTERED),
]
DEAD, SWITCHED = "dead", "switched"
NTH = (1, 2, 3) if FULL else (1,)
SAMPLE = None if FULL else 2  # the first of each list; the stores' own lives pass all of them in CI


def wishes(points: list[Point]) -> list[str]:
    return [f"{point.word}=kill@{nth}" for nth, point in product(NTH, points[:SAMPLE])]


def start_with(program: Program, wish: str) -> None:
    """Starts it with a failpoint; it may be dead before it is ready."""
    with patch.dict(os.environ, {VARIABLE: wish}):
        try:
            program.start()
        except AssertionError:
            assert program.process is not None
            assert died(program), program.log.read_text()


def died(program: Program) -> bool:
    """Whether it is dead by now, by SIGKILL."""
    assert program.process is not None
    return program.process.poll() == -signal.SIGKILL


def comes_to(agent: AgentProgram, ref: str, number: int) -> str:
    """What comes first: the channel leads to this number, or the agent is dead."""
    return until(
        lambda: DEAD if died(agent) else SWITCHED if number_at(agent, ref) == number else None,
        f"{ref} leads to {number}, or the agent is dead",
    )


@dataclass
class Shelf:
    """Three releases at a hub, and channels for everybody."""

    hub: HubProgram
    origins: list[Path]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    place = tmp_path_factory.mktemp("shelf")
    hub = HubProgram.at(place / "hub")
    hub.start()
    origins = []
    for seed in (1, 2, 3):
        origin = folder(place / f"origin-{seed}", size=SIZE)
        origins.append(change(origin, seed=seed, at=200_000 * seed))
        hub.ctl.json("push", str(origins[-1]), "acme/helmet")
    yield Shelf(hub, origins)
    hub.kill()


NAMES = count(1)


@pytest.mark.slow
@pytest.mark.parametrize("wish", wishes(AGENT))
def test_an_agent_that_is_killed_at_a_point_comes_to_hold_what_it_should(
    shelf: Shelf, tmp_path: Path, wish: str
) -> None:
    hub, name = shelf.hub, f"n{next(NAMES)}"
    ref = f"acme/helmet@{name}"
    agent = AgentProgram.invited(hub, name, tmp_path / name)
    agent.command += ["--keep", "1"]
    hub.ctl.json("promote", "acme/helmet:1", name)
    hub.ctl.json("assign", ref, "--node", name)
    start_with(agent, wish)
    wanted = 1
    for wanted in (1, 2, 1, 3):
        if wanted > 1 or number_at(agent, ref) > 1:
            hub.ctl.json("promote", f"acme/helmet:{wanted}", name)
        if comes_to(agent, ref, wanted) == DEAD:
            break
    if wish.endswith("@1"):
        until(lambda: died(agent), f"the agent to die at {wish}")  # what it removes, it removes after the last switch
    whole_versions(agent.data)
    agent.kill()
    agent.start()
    try:
        assert tree(until_active(agent, ref, wanted)) == tree(shelf.origins[wanted - 1])
        whole_versions(agent.data)
    finally:
        agent.kill()


@pytest.mark.slow
@pytest.mark.parametrize("point", ENROLS if FULL else ENROLS[-1:], ids=lambda point: point.word)
def test_an_agent_asks_again_to_be_let_in_when_the_process_that_asks_is_killed(
    shelf: Shelf, tmp_path: Path, point: Point
) -> None:
    agent = AgentProgram.invited(shelf.hub, name := f"n{next(NAMES)}", tmp_path / name)
    shelf.hub.ctl.json("promote", "acme/helmet:1", name)
    shelf.hub.ctl.json("assign", f"acme/helmet@{name}", "--node", name)
    start_with(agent, f"{point.word}=kill")
    try:
        until(lambda: "enrolment.failed" in agent.log.read_text(), "the first try to fail")
        assert agent.running
        if point is not Point.NODE_KEY_KEPT:  # with its key it passes there no more
            agent.kill()
            agent.start()
        assert tree(until_active(agent, f"acme/helmet@{name}", 1)) == tree(shelf.origins[0])
    finally:
        agent.kill()


@pytest.mark.slow
@pytest.mark.parametrize("wish", wishes(HUB))
def test_a_hub_that_is_killed_at_a_point_loses_no_push_and_a_push_under_way_ends_well(
    tmp_path: Path, wish: str
) -> None:
    hub = HubProgram.at(tmp_path / "hub")
    origin = folder(tmp_path / "origin", seed=1, size=SIZE)
    start_with(hub, wish)
    if died(hub):
        hub.start()
    push = subprocess.Popen(
        [*hub.ctl.command("push", str(origin), "acme/helmet", "--channel", "stable"), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        until(lambda: died(hub) or push.poll() is not None, "the hub to die, or the push to end", seconds=60)
        if died(hub):
            hub.restart()
        _, said = push.communicate(timeout=90)
        assert push.returncode == 0, said
        assert hub.ctl.json("push", str(origin), "acme/helmet")["number"] == 1
        history = hub.ctl.json("history", "acme/helmet")
        assert [release["number"] for release in history["releases"]] == [1]
        hub.ctl.json("verify")
        hub.ctl.json("pull", "acme/helmet@stable", str(tmp_path / "dest"))
        assert tree(tmp_path / "dest") == tree(origin)
    finally:
        push.kill()
        hub.kill()


@pytest.mark.slow
@pytest.mark.parametrize("seed", seeds(pr=1, full=200))
def test_agent_and_hub_that_are_killed_at_random_times_send_little_twice(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    hub = HubProgram.at(tmp_path / "hub")
    hub.start()
    try:
        with syncing(hub, tmp_path) as sync:
            kills = 3
            for _ in range(kills):
                sync.link.reach(Way.DOWN, sync.link.carried(Way.DOWN) + rng.randrange(1, 4_000_000))
                victim = rng.choice([hub, sync.agent])
                victim.kill()
                sync.check_nothing_shown()
                victim.restart() if isinstance(victim, HubProgram) else victim.start()
            sync.end()
            check_cost(sync.link, Way.DOWN, faults=kills)
    finally:
        hub.kill()


@pytest.mark.slow
def test_what_came_of_a_version_before_the_agent_was_killed_serves_the_version_that_replaced_it(tmp_path: Path) -> None:
    hub = HubProgram.at(tmp_path / "hub")
    hub.start()
    try:
        with syncing(hub, tmp_path) as sync:
            sync.link.reach(Way.DOWN, 12_000_000)
            sync.agent.kill()
            change(sync.origin, at=0)
            hub.ctl.json("push", str(sync.origin), "far/model", "--channel", "stable")
            sync.agent.start()
            assert tree(until_active(sync.agent, REF, 2)) == tree(sync.origin)
            assert set(whole_versions(sync.agent.data)) == {"far/model:2"}
            check_cost(sync.link, Way.DOWN, faults=1)
    finally:
        hub.kill()

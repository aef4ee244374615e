"""Row 9 of the fault table: a link that is down for minutes, a day or a season, and then back. Nobody has to act.

Time is simulated, the uplink and the store are real. What is tried meanwhile is counted: waits grow to a minute, no
further, and nothing gives up.
"""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise
from pathlib import Path

import pytest

from modelsyncd.link.backoff import Backoff
from tests.fakes import far_person
from tests.fakes.far_node import WINDOW, FarNode, GivingHub, far_node, in_virtual_time, loop_time
from tests.fakes.hub_store import hub_store
from tests.fakes.link.frames import CONNECT, HANDSHAKE, KEEPALIVE, FrameRoad
from tests.fakes.link.shape import Cut, Shape, Way
from tests.fakes.oracle import whole_versions
from tests.fakes.versions import Published, content_of, published
from tests.fault.reach import FULL, seeds

STEP = 16 << 10  # bytes of a chunk
LINK = Shape(rate=1e6, delay=0.03)
CAP = 60.0  # seconds: the longest wait between two tries
MINUTES, DAY = 16 * 60.0, 86_400.0
ABSENCES = [MINUTES, DAY, *([90 * DAY] if FULL else [4 * DAY])]
TRANSFER = 5.0  # seconds that what is left takes, connecting included


def a_model(seed: int) -> Published:
    files = {"model.bin": random.Random(seed).randbytes(STEP * 24 - 7)}
    return published(files, step=STEP)


async def go_away(road: FrameRoad, how: Cut, seconds: float) -> float:
    """The link goes, with whatever is on it, and comes back; when that was."""
    road.away = True
    road.cut(how)
    await asyncio.sleep(seconds)
    road.away = False
    return loop_time()


def check_patience(road: FrameRoad, since: float, seconds: float) -> None:
    """Raises AssertionError unless it was tried all the time, and never more often than promised."""
    tried = [at for at in road.tried_at if since + KEEPALIVE < at < since + seconds]
    gaps = [later - earlier for earlier, later in pairwise(tried)]
    assert max(gaps) <= CAP + CONNECT + 1
    assert len(tried) <= seconds / (CONNECT + 0.5) + 10
    assert sum(gaps) / len(gaps) >= (CAP / 2 + CONNECT) * (0.7 if len(gaps) > 30 else 0.4)


@pytest.mark.parametrize("seconds", ABSENCES)
@pytest.mark.parametrize("seed", seeds(pr=1, full=50))
def test_a_node_goes_on_by_itself_within_a_minute_of_the_links_return(
    tmp_path: Path, seconds: float, seed: int
) -> None:
    what, rng = a_model(seed), random.Random(seed)
    hub = GivingHub()
    hub.want(what)
    road = FrameRoad(hub.serve, up=LINK, down=LINK, seed=seed)
    how, half_way = rng.choice([Cut.RESET, Cut.SILENCE, Cut.HALF]), STEP * rng.randint(2, 20)

    async def main() -> None:
        async with road.open(), far_node(tmp_path, road, seed=seed) as node:
            while road.carried(Way.DOWN) < half_way:  # noqa: ASYNC110 - in simulated time, looking costs little
                await asyncio.sleep(0.01)
            gone = loop_time()
            back = await go_away(road, how, seconds)
            assert whole_versions(tmp_path) == {}
            active = await node.until_active(what, 3_600)
            assert active - back <= CAP + CONNECT + TRANSFER
            check_patience(road, gone, seconds)

    in_virtual_time(main)
    assert set(whole_versions(tmp_path)) == {"acme/helmet:1"}
    size = what.manifest.content_size + len(what.manifest_bytes)
    assert road.carried(Way.DOWN) <= size * 1.02 + WINDOW + (1 + road.connections) * (HANDSHAKE + 1_500)


def test_who_knows_that_the_network_is_back_need_not_wait(tmp_path: Path) -> None:
    what = a_model(1)
    hub = GivingHub()
    hub.want(what)
    road = FrameRoad(hub.serve, up=LINK, down=LINK)

    async def returns(node: FarNode) -> float:
        back = await go_away(road, Cut.RESET, 3_600 + random.Random(len(road.tried_at)).random() * 100)
        node.uplink.hurry()
        return await node.until_active(what, 3_600) - back

    async def main() -> float:
        road.away = True
        async with road.open(), far_node(tmp_path, road) as node:
            return await returns(node)

    assert in_virtual_time(main) <= TRANSFER


def test_a_try_that_the_old_network_has_lost_does_not_keep_the_new_one_waiting(tmp_path: Path) -> None:
    what = a_model(1)
    hub = GivingHub()
    hub.want(what)
    road = FrameRoad(hub.serve, up=LINK, down=LINK)
    road.away = True

    async def main() -> float:
        async with road.open(), far_node(tmp_path, road) as node:
            while road.tries < 4:  # noqa: ASYNC110 - in simulated time, looking costs little
                await asyncio.sleep(0.05)
            road.away = False  # the fourth try hangs until it is over, but for the news
            node.uplink.hurry()
            return await node.until_active(what, 3_600) - road.tried_at[3]

    assert in_virtual_time(main) <= TRANSFER


def test_news_of_networks_without_end_never_keep_a_node_from_connecting(tmp_path: Path) -> None:
    what = a_model(1)
    hub = GivingHub()
    hub.want(what)
    road = FrameRoad(hub.serve, up=Shape(rate=1e6, delay=0.75), down=Shape(rate=1e6, delay=0.75))

    async def tell(node: FarNode) -> None:
        while True:
            node.uplink.hurry()
            await asyncio.sleep(0.3)  # far more often than a try takes

    async def main() -> float:
        async with road.open(), far_node(tmp_path, road) as node, asyncio.TaskGroup() as group:
            telling = group.create_task(tell(node))
            active = await node.until_active(what, 3_600)
            telling.cancel()
            return active

    assert in_virtual_time(main) <= 60
    assert road.connections == 1


def test_a_hurry_during_a_session_does_not_take_the_spread_out_of_the_wait_after_it(tmp_path: Path) -> None:
    what = a_model(1)
    hub = GivingHub()
    hub.want(what)
    road = FrameRoad(hub.serve, up=LINK, down=LINK)

    async def main() -> float:
        async with road.open(), far_node(tmp_path, road, backoff=Backoff(floor=20.0)) as node:
            await node.until_active(what, 3_600)
            node.uplink.hurry()
            road.cut(Cut.RESET)
            cut_at = loop_time()
            while road.tries < 2:  # noqa: ASYNC110 - in simulated time, looking costs little
                await asyncio.sleep(0.05)
            return road.tried_at[1] - cut_at

    assert in_virtual_time(main) >= 20.0


@pytest.mark.parametrize("seconds", ABSENCES[:2])
def test_a_push_and_a_pull_wait_as_long_as_it_takes(tmp_path: Path, seconds: float) -> None:
    what = a_model(1)
    store = hub_store(tmp_path)
    giver = GivingHub()
    giver.want(what)
    up = FrameRoad(far_person.taking(store), up=LINK, down=LINK)
    down = FrameRoad(giver.serve, up=LINK, down=LINK)

    async def main() -> None:
        async with up.open(), down.open(), asyncio.TaskGroup() as group:
            pushing = group.create_task(far_person.push(up, what))
            pulling = group.create_task(far_person.pull(down, what, tmp_path / "dest"))
            while min(up.carried(Way.UP), down.carried(Way.DOWN)) < 8 * STEP:  # noqa: ASYNC110 - in simulated time, looking costs little
                await asyncio.sleep(0.01)
            leaving = [group.create_task(go_away(road, Cut.SILENCE, seconds)) for road in (up, down)]
            await leaving[0]
            back = await leaving[1]
            assert not (tmp_path / "dest").exists()
            assert (await pushing).created
            await pulling
            assert loop_time() - back <= CAP + CONNECT + TRANSFER

    try:
        in_virtual_time(main)
    finally:
        store.close()
    assert content_of(tmp_path / "dest") == dict(what.files)

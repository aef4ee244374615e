"""Row 7 of the fault table: links that are cut at any byte, in any way, any number of times, whichever way bytes go.

The road is a fake in simulated time (`tests/fakes/link/frames.py`), all else is real: session, pump, uplink, the node's
store on a disk, the hub's catalogue and packs, a pull's folder. A seed names one course of events.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from modelsyncd.codec.registry import READABLE, decode
from modelsyncd.session.events import Encoded
from modelsyncd.session.frames import Part
from tests.fakes import far_person
from tests.fakes.far_node import WINDOW, FarNode, GivingHub, far_node, in_virtual_time
from tests.fakes.hub_store import HubStore, hub_store
from tests.fakes.link.frames import HANDSHAKE, FrameRoad
from tests.fakes.link.shape import Corrupt, Cut, Mark, Shape, Way
from tests.fakes.oracle import whole_versions
from tests.fakes.versions import Published, content_of, published
from tests.fault.reach import seeds

STEP = 16 << 10  # bytes of a chunk
CHUNKS = 40
WORDS = 1_500  # bytes of one session that are not chunks: Hello, Desired, Report, Want, Settle
OVERHEAD = 1.02
LINK = Shape(rate=1e6, delay=0.25, jitter=0.02)  # so long that all of a window is on its way
DAYS = 2e5  # seconds in simulated time, which is nearly free
KINDS: Sequence[Mark] = (*Cut, Corrupt())


def a_model(seed: int) -> Published:
    files = {"model.bin": random.Random(seed).randbytes(STEP * CHUNKS - 7), "labels/en.txt": b"a\nb\n"}
    return published(files, step=STEP)


def cuts_of(seed: int, size: int, most: int = 500) -> list[tuple[int, Mark]]:
    """From one cut to hundreds, at any bytes, each in a way of its own; every other seed, only a few."""
    rng = random.Random(seed)
    count = rng.randint(1, 8) if seed % 2 else rng.choice((20, 50, 100, most))
    return [(at, rng.choice(KINDS)) for at in sorted(rng.sample(range(1, size), count))]


def allowed(what: Published, road: FrameRoad) -> int:
    """Bytes that may be carried: the model, 2 % around it, and for each cut a window and a new beginning."""
    size = what.manifest.content_size + len(what.manifest_bytes)
    return int(size * OVERHEAD) + road.cuts * WINDOW + (road.tries + 1) * (HANDSHAKE + WORDS)


def check_cost(what: Published, road: FrameRoad, way: Way, seed: int) -> None:
    sent = road.travelled(way)
    assert what.manifest.content_size < sent <= allowed(what, road), f"seed {seed}: {road.cuts} cuts"


def a_road(seed: int, serve: object, what: Published, way: Way) -> FrameRoad:
    assert callable(serve)
    road = FrameRoad(serve, up=LINK, down=LINK, seed=seed)
    road.script(way, cuts_of(seed, what.manifest.content_size))
    other = Way.UP if way is Way.DOWN else Way.DOWN
    road.script(other, cuts_of(seed + 1, 8_000, most=20)[:20])
    return road


@pytest.mark.parametrize("seed", seeds(pr=16, full=3_000))
def test_a_node_gets_its_model_over_any_cuts_and_at_most_a_window_of_each_travels_again(
    tmp_path: Path, seed: int
) -> None:
    what = a_model(seed)
    hub = GivingHub()
    hub.want(what)
    road = a_road(seed, hub.serve, what, Way.DOWN)

    async def watch(node: FarNode) -> None:
        while True:  # the oracle, at every change that a job could see
            assert set(whole_versions(tmp_path)) <= {"acme/helmet:1"}
            await node.steward.changed.wait()

    async def main() -> None:
        async with road.open(), far_node(tmp_path, road, seed=seed) as node, asyncio.TaskGroup() as group:
            watching = group.create_task(watch(node))
            await node.until_active(what, DAYS)
            watching.cancel()

    in_virtual_time(main)
    assert set(whole_versions(tmp_path)) == {"acme/helmet:1"}
    check_cost(what, road, Way.DOWN, seed)


@pytest.mark.parametrize("seed", seeds(pr=6, full=1_000))
def test_a_push_ends_well_over_any_cuts_and_is_published_once(tmp_path: Path, seed: int) -> None:
    what = a_model(seed)
    store = hub_store(tmp_path)
    road = a_road(seed, far_person.taking(store), what, Way.UP)

    async def main() -> None:
        async with road.open():
            settled = await far_person.push(road, what, seed=seed)
            assert settled.number == 1
        check_held(await held_by(store, what), what)

    try:
        in_virtual_time(main)
        assert store.catalog.models.next_number(what.version.model) == 2
    finally:
        store.close()
    check_cost(what, road, Way.UP, seed)


@pytest.mark.parametrize("seed", seeds(pr=6, full=1_000))
def test_a_pull_ends_well_over_any_cuts_and_shows_nothing_before(tmp_path: Path, seed: int) -> None:
    what, dest = a_model(seed), tmp_path / "dest"
    hub = GivingHub()
    hub.want(what)
    road = a_road(seed, hub.serve, what, Way.DOWN)

    async def watch() -> None:
        while not dest.exists():  # noqa: ASYNC110 - in simulated time, looking costs nothing
            await asyncio.sleep(0.5)
        assert content_of(dest) == dict(what.files)

    async def main() -> None:
        async with road.open(), asyncio.TaskGroup() as group:
            group.create_task(watch())
            await far_person.pull(road, what, dest, seed=seed)

    in_virtual_time(main)
    assert content_of(dest) == dict(what.files)
    check_cost(what, road, Way.DOWN, seed)


def test_what_a_broken_attempt_brought_is_a_seed_for_the_next_version(tmp_path: Path) -> None:
    old = a_model(1)
    kept = {**old.files, "model.bin": old.files["model.bin"][: STEP * 30] + random.Random(9).randbytes(STEP * 10)}
    new = published(kept, 2, step=STEP)
    hub = GivingHub()
    hub.want(old)
    road = FrameRoad(hub.serve, up=LINK, down=LINK)
    road.script(Way.DOWN, [(STEP * 20 + HANDSHAKE, Cut.SILENCE)])

    async def main() -> int:
        async with road.open(), far_node(tmp_path, road) as node:
            while road.cuts == 0:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.1)
            hub.want(new)  # while nobody hears it
            before = len(hub.given)
            await node.until_active(new, DAYS)
            return len([1 for manifest, part, _ in hub.given[before:] if part is Part.CONTENT])

    fetched = in_virtual_time(main)
    in_window = WINDOW // STEP
    assert 10 + 10 <= fetched <= 10 + 10 + in_window + 2, "what had arrived of the old version was fetched again"
    assert set(whole_versions(tmp_path)) == {"acme/helmet:2"}


async def held_by(store: HubStore, what: Published) -> list[bytes]:
    """Every chunk of the content, as the hub would give it."""
    ordinals = range(len(what.chunks))
    loaded: list[Encoded] = []
    while len(loaded) < len(ordinals):
        loaded += await store.offers().load(what.offer.manifest, Part.CONTENT, ordinals[len(loaded) :], READABLE, ())
    return [bytes(decode(one.codec, one.payload, len(what.chunks[one.ordinal]))) for one in loaded]


def check_held(held: list[bytes], what: Published) -> None:
    assert held == what.chunks, "the hub holds other bytes"

"""A node makes room by itself, loses as little as can be, and says why when it can't."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge_agent.activate import TreeStore
from edge_agent.orders import Orders
from edge_agent.shelf import NodeShelf
from edge_agent.steward import Steward
from edge_agent.uplink import Uplink
from edge_agent.watchers import Watchers
from modelsyncd.errors import ConflictError
from modelsyncd.names import ModelRef
from modelsyncd.session.frames import Assignment, Desired, Phase, Standing
from modelsyncd.store.cache import Cache
from modelsyncd.store.tree import EdgeTree
from modelsyncd.store.version import Version
from modelsyncd.wire import nouns
from tests.fakes.node_hub import NodeHub
from tests.fakes.versions import HELMET, Published, published

STABLE = ModelRef(HELMET, channel="stable")
SIZE = 400_000
VERSIONS = [published({"model.bin": random.Random(seed).randbytes(SIZE)}, seed) for seed in range(1, 6)]
ONE, TWO, THREE, FOUR, FIVE = VERSIONS


class Node:
    """One life of an agent, with a clock for uses that each switch moves by a day."""

    def __init__(self, root: Path, quota: int = 0, pins: frozenset[ModelRef] = frozenset()) -> None:
        self.now = 1e9
        self.tree = EdgeTree(root, nouns)
        self.tree.prepare()
        self.cache = Cache(root / "cache.db")
        self.shelf = NodeShelf(self.tree, self.cache)
        self.store = TreeStore(self.tree, self.cache, self.shelf.forget, quota=quota, pins=pins, wall=lambda: self.now)
        self.leases = self.store.leases
        self.hub = NodeHub()
        self.steward = Steward(
            self.store,
            Orders(root),
            Watchers(),
            lent=lambda transfers: self.shelf.lent(transfers) | self.leases.manifests(),
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self.steward.load()
        uplink = Uplink(self.steward, self.hub.connect, self.shelf, software="test node", jitter=lambda: 0.0)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self.steward.run()), group.create_task(uplink.run())]
                yield
                for task in tasks:
                    task.cancel()
        finally:
            self.shelf.close()
            self.cache.close()

    async def follow(self, what: Published) -> None:
        self.now += 86_400
        self.hub.want(what, keep=9)
        await self.until(lambda: self.active() == what.version)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while True:
                news = self.steward.changed
                if condition():
                    return
                await news.wait()

    def active(self) -> Version | None:
        active = self.steward.active(STABLE)
        return active.version if active is not None else None

    def standing(self) -> Standing:
        return self.steward.standings()[0]

    @property
    def numbers(self) -> set[int]:
        return {version.number for version in self.tree.versions()}


async def test_what_was_used_longest_ago_goes_and_no_more_than_that(tmp_path: Path) -> None:
    node = Node(tmp_path, quota=4 * SIZE + 300_000)
    async with node.running():
        for what in (ONE, TWO, THREE):
            await node.follow(what)
        await node.follow(ONE)
        await node.follow(FOUR)
        assert node.numbers == {1, 2, 3, 4}, "all of it fits"
        assert (await node.steward.report()).quota == 4 * SIZE + 300_000
        await node.follow(FIVE)
        assert node.numbers == {1, 3, 4, 5}, "two was used longest ago"


async def test_uses_are_remembered_over_a_restart_and_without_the_cache(tmp_path: Path) -> None:
    first = Node(tmp_path)
    async with first.running():
        for what in (TWO, ONE, THREE, FOUR):
            await first.follow(what)
    (tmp_path / "cache.db").unlink()
    second = Node(tmp_path, quota=4 * SIZE + 300_000)
    second.now, second.hub = first.now, first.hub
    async with second.running():
        await second.follow(FIVE)
        assert second.numbers == {1, 3, 4, 5}


async def test_what_is_pinned_or_leased_stays_and_what_can_not_fit_is_refused_before_its_first_byte(
    tmp_path: Path,
) -> None:
    node = Node(tmp_path, quota=4 * SIZE + 300_000, pins=frozenset({ModelRef(HELMET, number=1)}))
    async with node.running():
        for what in (ONE, TWO, THREE, FOUR):
            await node.follow(what)
        node.hub.given.clear()
        with node.leases.hold(TWO.version):
            node.hub.want(FIVE, keep=9)
            await node.until(lambda: node.standing().phase is Phase.FAILED)
            assert node.numbers == {1, 2, 3, 4}
            assert node.hub.given == []
            assert node.active() == FOUR.version
            fault = node.standing().fault
            assert fault is not None
            assert fault.code == "disk-full"
            assert "acme/helmet:5" in fault.message
            for reason in ("acme/helmet:1", "(pinned)", "(in use)", "(active on stable)", "(before on stable)"):
                assert reason in fault.message
            assert "raise the quota by" in fault.hint
        node.steward.hasten()
        await node.until(lambda: node.active() == FIVE.version)
        assert node.numbers == {1, 3, 4, 5}


async def test_a_version_that_somebody_holds_since_it_was_decided_that_it_goes_stays(tmp_path: Path) -> None:
    node = Node(tmp_path)
    async with node.running():
        for what in (ONE, TWO, THREE):
            await node.follow(what)
        with node.leases.hold(ONE.version), pytest.raises(ConflictError):
            node.store.prune(ONE.version)
        assert node.tree.holds(ONE.version)
        node.store.prune(ONE.version)
        assert not node.tree.holds(ONE.version)


async def test_the_hub_may_pin_and_allow_less_than_the_node_does(tmp_path: Path) -> None:
    node = Node(tmp_path)
    async with node.running():
        for what in (ONE, TWO, THREE, FOUR):
            await node.follow(what)
        node.hub.has[FIVE.version.manifest] = FIVE
        generation = node.hub.wanted.generation + 1
        wanted = (Assignment(HELMET, "stable", FIVE.offer),)
        pins = (ModelRef(HELMET, number=1),)
        node.steward.propose(Desired(generation, wanted, keep=9, pins=pins, quota=4 * SIZE + 300_000))
        await node.until(lambda: node.active() == FIVE.version)
        assert node.numbers == {1, 3, 4, 5}


async def test_what_is_counted_is_what_du_counts(tmp_path: Path) -> None:
    node = Node(tmp_path)
    async with node.running():
        for what in (ONE, TWO):
            await node.follow(what)
        os.sync()
        node.store.inspect()
        room = node.store.observe().room
        assert room is not None
        folders = [str(node.tree.layout.version(what.version)) for what in (ONE, TWO)]
        folders += [str(tmp_path / name) for name in ("manifests", "releases")]
        assert room.used == _du(folders)
        assert 2 * SIZE <= room.used <= 2 * SIZE + 200_000


def _du(folders: list[str]) -> int:
    said = subprocess.run(["du", "-sk", *folders], capture_output=True, text=True, check=True).stdout
    return sum(int(line.split()[0]) * 1_024 for line in said.splitlines())

"""A node's uplink, steward and real store with a hub in memory: what is wanted arrives, whatever breaks on the way."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from edge_agent import reconcile, uplink
from edge_agent.activate import TreeStore
from edge_agent.facts import NodeFacts
from edge_agent.orders import Orders
from edge_agent.shelf import NodeShelf
from edge_agent.steward import Steward
from edge_agent.uplink import Uplink
from edge_agent.watchers import Watchers
from modelsyncd.errors import ConflictError, DamageError, DiskFullError, RoadError
from modelsyncd.names import ModelName, ModelRef
from modelsyncd.release import SignedRelease
from modelsyncd.session.effects import Keep
from modelsyncd.session.frames import Assignment, Offer, Part, Phase
from modelsyncd.session.ports import Keeping
from modelsyncd.store.cache import Cache
from modelsyncd.store.tree import EdgeTree
from modelsyncd.wire import nouns
from modelsyncd.wire.nouns import encode_release
from tests.fakes.node_hub import NodeHub
from tests.fakes.versions import HELMET, STEP, Published, changed, content_of, published, some_files

STABLE = ModelRef(HELMET, channel="stable")
CHUNKS = 40
FILES = some_files(random.Random(1), CHUNKS)
ONE = published(FILES)
TWO = published(changed(FILES, "model.bin", 3 * STEP, b"new"), 2)


class MoodyShelf(NodeShelf):
    """A shelf whose disk is full when the test says so."""

    full = False

    async def keep(self, batch: object) -> Keeping:
        if self.full:
            raise DiskFullError("no room left", safe="what was stored before is untouched")
        assert isinstance(batch, list)
        kept: list[Keep] = batch
        return await super().keep(kept)


@dataclass
class Node:
    root: Path
    steward: Steward
    uplink: Uplink
    shelf: MoodyShelf
    watchers: Watchers

    async def until_active(self, what: Published) -> None:
        async with asyncio.timeout(20):
            while True:
                changed_event = self.steward.changed
                active = self.steward.active(ModelRef(what.version.model, channel="stable"))
                if active is not None and active.version == what.version:
                    assert content_of(active.path) == dict(what.files)
                    assert active.channel_path.resolve() == active.path.resolve()
                    return
                await changed_event.wait()

    async def until_unstaged(self, what: Published) -> None:
        """What nobody wants any more is deleted by itself: nothing else need happen first."""
        staged = self.root / "staging" / what.version.manifest.hex()
        async with asyncio.timeout(20):
            while staged.exists():
                await self.steward.changed.wait()


@asynccontextmanager
async def running(root: Path, hub: NodeHub, facts: NodeFacts | None = None) -> AsyncIterator[Node]:
    """A node on the files at `root` until the block ends; then it is gone as after a kill, but for open files."""
    tree = EdgeTree(root, nouns)
    tree.prepare()
    cache = Cache(root / "cache.db")
    shelf, watchers = MoodyShelf(tree, cache), Watchers()
    steward = Steward(TreeStore(tree, cache, shelf.forget), Orders(root), watchers, facts=facts)
    await steward.load()
    link = Uplink(steward, hub.connect, shelf, software="test node", jitter=lambda: 0.0, facts=facts)
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(steward.run()), group.create_task(link.run())]
            yield Node(root, steward, link, shelf, watchers)
            for task in tasks:
                task.cancel()
    finally:
        shelf.close()
        cache.close()


async def test_what_the_hub_wants_arrives_is_switched_in_and_reported(tmp_path: Path) -> None:
    hub = NodeHub()
    async with running(tmp_path, hub) as node:
        hub.want(ONE)
        await node.until_active(ONE)
        standing = await hub.reported(lambda one: one.phase is Phase.ACTIVE)
    assert (standing.desired, standing.active, standing.staged) == (1, 1, 0)
    assert standing.bytes_done == standing.bytes_total == ONE.manifest.content_size
    assert standing.bytes_wire > 0
    assert hub.reports[-1].disk_free > 0
    assert hub.reports[-1].disk_used >= ONE.manifest.content_size


async def test_what_the_node_is_is_said_first_and_again_when_it_becomes_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uplink, "LOOK_EVERY", 0.01)
    hub = NodeHub()
    has: dict[str, tuple[str, ...]] = {"runtimes": ("torch",)}
    async with running(tmp_path, hub, NodeFacts({"tier": ["small"]}, lambda: dict(has))):
        await hub.until(lambda: hub.reports)
        assert hub.hellos[-1].facts == {"runtimes": ("torch",), "tier": ("small",)}
        assert {report.facts is None for report in hub.reports} == {True}
        has["runtimes"] = ("onnxruntime", "torch")
        await hub.until(lambda: hub.reports[-1].facts == {"runtimes": has["runtimes"], "tier": ("small",)})
        has["runtimes"] = ("torch",)
        await hub.until(lambda: hub.reports[-1].facts == hub.hellos[-1].facts)


async def test_what_does_not_fit_the_node_any_more_is_not_fetched(tmp_path: Path) -> None:
    hub = NodeHub()
    fits = replace(ONE.release.variants[0], selector={"runtimes": "onnxruntime"})
    offer = Offer(SignedRelease(encode_release(replace(ONE.release, variants=(fits,)))), ONE.version.manifest)
    hub.has[ONE.version.manifest] = ONE
    wanted = Assignment(HELMET, "stable", offer)
    async with running(tmp_path, hub, NodeFacts({}, lambda: {"runtimes": ("torch",)})) as node:
        hub.say(replace(hub.wanted, assignments=(wanted,), labels={}))
        standing = await hub.reported(lambda one: one.phase is Phase.REFUSED)
        assert standing.fault is not None
        assert (standing.fault.code, standing.desired) == ("no-variant", 1)
        assert hub.given == []
        hub.say(replace(hub.wanted, assignments=(wanted,), labels={"runtimes": "onnxruntime"}))
        await node.until_active(ONE)


async def test_an_update_takes_only_what_is_new(tmp_path: Path) -> None:
    hub = NodeHub()
    async with running(tmp_path, hub) as node:
        hub.want(ONE)
        await node.until_active(ONE)
        hub.given.clear()
        hub.want(TWO)
        await node.until_active(TWO)
    assert [ordinal for _, part, ordinal in hub.given if part is Part.CONTENT] == [4]


async def half_way(hub: NodeHub) -> None:
    """Returns once 20 chunks were given, and the node has said that they are durable."""
    hub.gate = asyncio.Semaphore(20)
    hub.want(ONE)
    await hub.reported(lambda one: one.bytes_done >= 19 * STEP)


def content_given(hub: NodeHub) -> list[int]:
    return sorted(ordinal for _, part, ordinal in hub.given if part is Part.CONTENT)


async def test_a_session_that_breaks_in_the_middle_goes_on_and_nothing_travels_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uplink, "REPORT_PAUSE", 0.02)
    hub = NodeHub()
    async with running(tmp_path, hub) as node:
        await half_way(hub)
        hub.gate = None
        await hub.cut()
        await node.until_active(ONE)
    assert len(hub.hellos) == 2
    assert content_given(hub) == list(range(CHUNKS + 1))


async def test_a_node_that_is_killed_in_the_middle_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uplink, "REPORT_PAUSE", 0.02)
    hub = NodeHub()
    async with running(tmp_path, hub):
        await half_way(hub)
    hub.gate = None
    async with running(tmp_path, hub) as node:
        await node.until_active(ONE)
    assert content_given(hub) == list(range(CHUNKS + 1))


async def test_a_hub_that_is_away_is_called_until_it_is_back(tmp_path: Path) -> None:
    hub = NodeHub(away=RoadError("no route"))
    hub.want(ONE)
    async with running(tmp_path, hub) as node:
        await hub.until(lambda: hub.tries >= 2)
        hub.away = None
        node.uplink.hurry()
        await node.until_active(ONE)


async def test_a_restarted_node_serves_and_knows_what_it_follows_with_the_hub_away(tmp_path: Path) -> None:
    hub = NodeHub()
    hub.want(ONE)
    async with running(tmp_path, hub) as node:
        await node.until_active(ONE)
    hub.away = RoadError("no route")
    async with running(tmp_path, hub) as node:
        await node.until_active(ONE)
        assert node.steward.generation == 1
        assert node.steward.standings()[0].phase is Phase.ACTIVE


async def test_a_node_tells_the_hub_what_it_holds(tmp_path: Path) -> None:
    hub = NodeHub()
    hub.want(ONE)
    async with running(tmp_path, hub) as node:
        await node.until_active(ONE)
        await hub.cut()
        await hub.until(lambda: len(hub.hellos) == 2)
    assert hub.hellos[1].holds == (ONE.version.manifest,)
    assert hub.hellos[1].software == "test node"


async def test_a_transfer_that_the_hub_refuses_is_reported_with_its_next_try(tmp_path: Path) -> None:
    hub = NodeHub(broken=DamageError("chunk 7 is damaged at the hub"))
    hub.want(ONE)
    async with running(tmp_path, hub) as node:
        standing = await hub.reported(lambda one: one.phase is Phase.FAILED)
        assert standing.fault is not None
        assert standing.fault.code == "damage"
        assert standing.next_try > 0
        hub.broken = None
        hub.want(ONE)  # somebody acted: the hub has something new to say
        await node.until_active(ONE)
        assert (await hub.reported(lambda one: one.phase is Phase.ACTIVE)).fault is None


async def test_a_full_disk_leaves_the_old_version_serving_and_heals_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "RETRY_FLOOR", 0.02)
    hub = NodeHub()
    hub.want(ONE)
    async with running(tmp_path, hub) as node:
        await node.until_active(ONE)
        node.shelf.full = True
        hub.want(TWO)
        standing = await hub.reported(lambda one: one.phase is Phase.FAILED)
        assert standing.fault is not None
        assert (standing.active, standing.fault.code) == (1, "disk-full")
        await node.until_active(ONE)
        node.shelf.full = False
        await node.until_active(TWO)


async def test_a_version_that_is_not_wanted_any_more_stops_travelling(tmp_path: Path) -> None:
    hub = NodeHub(gate=asyncio.Semaphore(3))
    hub.want(ONE)
    async with running(tmp_path, hub) as node:
        await hub.reported(lambda one: one.phase is Phase.FETCHING)
        other = published({"a": b"other", "b": b""}, model=ModelName("acme", "vest"))
        assert hub.gate is not None
        hub.want(other)
        for _ in range(CHUNKS):
            hub.gate.release()
        await node.until_active(other)
        assert node.steward.active(STABLE) is None
        await hub.reported(lambda one: one.phase is Phase.ACTIVE)
        assert len(hub.reports[-1].standings) == 1
        await node.until_unstaged(ONE)


async def test_progress_is_reported_while_bytes_travel_and_nothing_while_they_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uplink, "REPORT_PAUSE", 0.02)
    hub = NodeHub(gate=asyncio.Semaphore(0))
    hub.want(ONE)
    async with running(tmp_path, hub) as node:
        await hub.reported(lambda one: one.phase is Phase.FETCHING)
        assert hub.gate is not None
        seen = 0
        for _ in range(3):
            for _ in range(CHUNKS // 5):
                hub.gate.release()
            seen = (await hub.reported(lambda one, before=seen: one.bytes_done > before)).bytes_done  # type: ignore[misc]
        for _ in range(CHUNKS):
            hub.gate.release()
        await node.until_active(ONE)
        await hub.reported(lambda one: one.phase is Phase.ACTIVE)
        told = len(hub.reports)
        await asyncio.sleep(0.1)
        assert len(hub.reports) == told


async def test_a_hub_that_turns_a_node_out_is_called_less_and_less_often(tmp_path: Path) -> None:
    hub = NodeHub(away=ConflictError("another session of this node began"))
    async with running(tmp_path, hub):
        waits = []
        began = asyncio.get_running_loop().time()
        for tries in (2, 3):
            await hub.until(lambda tries=tries: hub.tries >= tries)  # type: ignore[misc]
            waits.append(asyncio.get_running_loop().time() - began)
    assert waits[0] >= 0.4
    assert waits[1] >= 0.8


async def test_versions_beyond_keep_go_and_a_channel_that_is_unassigned_loses_its_link(tmp_path: Path) -> None:
    three = published(changed(FILES, "model.bin", 0, b"third"), 3)
    hub = NodeHub()
    async with running(tmp_path, hub) as node:
        for version in (ONE, TWO, three):
            hub.want(version)
            await node.until_active(version)
        folders = tmp_path / "models" / "acme" / "helmet" / "versions"
        async with asyncio.timeout(10):
            while len(node.steward.holds) != 2:
                await node.steward.changed.wait()
        assert sorted(path.name[0] for path in folders.iterdir()) == ["2", "3"]
        hub.want()
        async with asyncio.timeout(10):
            while node.steward.refs:
                await node.steward.changed.wait()
        assert not (tmp_path / "models" / "acme" / "helmet" / "stable").is_symlink()
        assert len(list(folders.iterdir())) == 2

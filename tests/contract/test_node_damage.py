"""What rots on a node is found before a channel is switched to it, fetched again by the chunk, and never handed out."""

from __future__ import annotations

import asyncio
import errno
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge_agent.activate import TreeStore
from edge_agent.orders import Orders
from edge_agent.shelf import NodeShelf
from edge_agent.steward import Steward
from edge_agent.uplink import Uplink
from edge_agent.watchers import Watchers
from modelsyncd.digest import Digest
from modelsyncd.errors import ConflictError, DamageError, DiskError, DiskFullError, NotFoundError, RoadError
from modelsyncd.names import ModelRef
from modelsyncd.session.frames import Part
from modelsyncd.store.cache import Cache
from modelsyncd.store.folder import Folder
from modelsyncd.store.tree import EdgeTree
from modelsyncd.wire import nouns
from tests.fakes.node_hub import NodeHub
from tests.fakes.versions import HELMET, STEP, Published, changed, content_of, fetch, published, some_files

STABLE = ModelRef(HELMET, channel="stable")
CANARY = ModelRef(HELMET, channel="canary")
FILES = some_files(random.Random(3), 20)
ONE = published(FILES)
TWO = published(changed(FILES, "model.bin", 3 * STEP, b"new"), 2)
(ALONE,) = (ordinal for ordinal, chunk in enumerate(ONE.chunks) if chunk not in TWO.chunks)


class Node:
    """One life of an agent's store."""

    def __init__(self, root: Path) -> None:
        self.tree = EdgeTree(root, nouns)
        self.tree.prepare()
        self.cache = Cache(root / "cache.db")
        self.shelf = NodeShelf(self.tree, self.cache)
        self.store = TreeStore(self.tree, self.cache)

    def file(self, what: Published, path: str = "model.bin") -> Path:
        return self.tree.layout.version(what.version) / path

    def close(self) -> None:
        self.store.stop()
        self.shelf.close()
        self.cache.close()

    async def install(self, *several: Published) -> None:
        for what in several:
            await fetch(self.shelf, what)
        self.store.observe()

    def leads_to(self, ref: ModelRef = STABLE) -> int:
        version = self.tree.active(ref)
        return version.number if version is not None else 0


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path)
    yield node
    node.close()


def spoil(path: Path, offset: int = 3 * STEP) -> None:
    """Turns one bit, as a rule in the chunk that no other version has."""
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 1]))


# --- before a switch ---


async def test_a_version_that_was_left_is_read_back_before_a_channel_goes_back_to_it(node: Node) -> None:
    await node.install(ONE, TWO)
    node.store.activate(STABLE, ONE.version)
    node.store.activate(STABLE, TWO.version)
    spoil(node.file(ONE))
    with pytest.raises(DamageError) as caught:
        node.store.activate(STABLE, ONE.version)
    assert "in 1 places" in caught.value.message
    assert node.leads_to() == 2
    stock = node.store.observe()
    assert stock.held == {TWO.version}
    assert stock.damaged == {ONE.version}
    again = await fetch(node.shelf, ONE)
    assert again.content() == [ALONE]
    node.store.activate(STABLE, ONE.version)
    assert node.leads_to() == 1
    assert content_of(node.file(ONE).parent) == FILES


async def test_what_was_just_installed_is_not_read_again(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    await node.install(ONE)
    read = _count_reads(node, monkeypatch)
    node.store.activate(STABLE, ONE.version)
    node.store.activate(CANARY, ONE.version)
    assert read == []


async def test_a_version_is_read_once_for_all_channels_that_go_back_to_it(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    await node.install(ONE, TWO)
    for version in (ONE.version, TWO.version):
        node.store.activate(STABLE, version)
        node.store.activate(CANARY, version)
    read = _count_reads(node, monkeypatch)
    node.store.activate(STABLE, ONE.version)
    node.store.activate(CANARY, ONE.version)
    assert read == [1]


async def test_after_a_restart_nothing_counts_as_read(tmp_path: Path) -> None:
    first = Node(tmp_path)
    await first.install(ONE)
    first.close()
    spoil(first.file(ONE))
    second = Node(tmp_path)
    second.store.observe()
    with pytest.raises(DamageError):
        second.store.activate(STABLE, ONE.version)
    assert second.leads_to() == 0
    second.close()


def _count_reads(node: Node, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of versions that are read whole from now on."""
    read: list[int] = []
    real = node.tree.verify

    def counted(version: object, pause: object) -> object:
        read.append(version.number)  # type: ignore[attr-defined]
        return real(version, pause)  # type: ignore[arg-type]

    monkeypatch.setattr(node.tree, "verify", counted)
    return read


async def test_reading_ends_when_the_agent_stops_and_switches_nothing(tmp_path: Path) -> None:
    first = Node(tmp_path)
    await first.install(ONE)
    first.close()
    second = Node(tmp_path)
    second.store.observe()
    second.store.stop()
    with pytest.raises(ConflictError):
        second.store.activate(STABLE, ONE.version)
    assert second.leads_to() == 0
    assert second.tree.holds(ONE.version)
    second.close()


async def test_a_version_that_was_removed_while_it_was_read_is_gone_and_not_marked(node: Node) -> None:
    await node.install(ONE, TWO)
    node.tree.hashed.forget(ONE.version)
    node.tree.remove(ONE.version)
    with pytest.raises(NotFoundError):
        node.store.prove(ONE.version)
    assert not node.tree.layout.damage_mark(ONE.version).exists()


async def test_a_process_that_may_open_no_more_files_does_not_take_that_for_damage(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    await node.install(ONE)
    node.tree.hashed.forget(ONE.version)

    def starved(*_: object) -> bytes:
        raise DiskError("too many open files") from OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(Folder, "read", starved)
    with pytest.raises(DiskError):
        node.store.activate(STABLE, ONE.version)
    assert node.tree.holds(ONE.version)


# --- at the start ---


@pytest.mark.parametrize("how", ["shorter", "longer", "gone", "link", "folder"])
async def test_a_file_of_a_wrong_shape_makes_a_version_damaged_at_the_start(tmp_path: Path, how: str) -> None:
    first = Node(tmp_path)
    await first.install(ONE)
    first.store.activate(STABLE, ONE.version)
    first.close()
    file = first.file(ONE)
    file.chmod(0o644)
    if how == "shorter":
        file.write_bytes(file.read_bytes()[:-1])
    elif how == "longer":
        file.write_bytes(file.read_bytes() + b"x")
    else:
        file.rename(tmp_path / "elsewhere")
    if how == "link":
        file.symlink_to(tmp_path / "elsewhere")
    elif how == "folder":
        file.mkdir()
    second = Node(tmp_path)
    stock = second.store.observe()
    assert stock.held == frozenset()
    assert stock.damaged == {ONE.version}
    assert second.leads_to() == 1, "a job may be using what is right of it"
    assert second.tree.layout.damage_mark(ONE.version).exists()
    again = await fetch(second.shelf, ONE)
    assert len(again.content()) <= (20 if how in ("gone", "link", "folder") else 1)
    assert second.store.observe().held == {ONE.version}
    assert content_of(second.file(ONE).parent) == FILES
    second.close()


async def test_a_full_disk_that_takes_no_mark_keeps_no_agent_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Node(tmp_path)
    await first.install(ONE, TWO)
    first.close()
    first.file(ONE).unlink()
    second = Node(tmp_path)

    def full(_: object) -> None:
        raise DiskFullError("no room for a mark")

    monkeypatch.setattr(second.tree, "quarantine", full)
    assert second.store.observe().held == {TWO.version}
    second.close()


async def test_papers_that_rot_make_a_version_damaged_and_come_again_without_its_content(tmp_path: Path) -> None:
    first = Node(tmp_path)
    await first.install(ONE)
    first.close()
    spoil(first.tree.layout.manifest(ONE.offer.manifest), 30)
    second = Node(tmp_path)
    assert second.store.observe().held == frozenset()
    again = await fetch(second.shelf, ONE)
    assert again.chunks == [(Part.MANIFEST, 0)]
    assert second.store.observe().held == {ONE.version}
    second.close()


async def test_what_a_healthy_version_holds_too_mends_a_damaged_one_without_the_hub(node: Node) -> None:
    await node.install(ONE, TWO)
    node.tree.hashed.forget(ONE.version)
    spoil(node.file(ONE), 5 * STEP)
    with pytest.raises(DamageError):
        node.store.activate(STABLE, ONE.version)
    assert (await fetch(node.shelf, ONE)).content() == []
    node.store.activate(STABLE, ONE.version)
    assert content_of(node.file(ONE).parent) == FILES


async def test_another_look_from_scratch_finds_what_somebody_deleted_meanwhile(node: Node) -> None:
    await node.install(ONE)
    node.file(ONE, "labels/en.txt").unlink()
    assert node.store.observe().held == {ONE.version}, "each look costs a few links, not each file"
    assert node.store.inspect().damaged == {ONE.version}


# --- with a hub ---


@asynccontextmanager
async def running(root: Path, hub: NodeHub) -> AsyncIterator[tuple[Node, Steward]]:
    node = Node(root)
    steward = Steward(node.store, Orders(root), Watchers())
    await steward.load()
    link = Uplink(steward, hub.connect, node.shelf, software="test node", jitter=lambda: 0.0)
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(steward.run()), group.create_task(link.run())]
            yield node, steward
            for task in tasks:
                task.cancel()
    finally:
        node.close()


async def until_active(steward: Steward, what: Published) -> None:
    async with asyncio.timeout(20):
        while True:
            changed_event = steward.changed
            active = steward.active(STABLE)
            if active is not None and active.version == what.version:
                assert content_of(active.path) == dict(what.files)
                return
            await changed_event.wait()


def content_given(hub: NodeHub) -> list[tuple[Digest, int]]:
    return [(manifest, ordinal) for manifest, part, ordinal in hub.given if part is Part.CONTENT]


async def test_a_rollback_to_what_rotted_brings_the_bad_chunk_again_and_then_switches(tmp_path: Path) -> None:
    hub = NodeHub()
    async with running(tmp_path, hub) as (node, steward):
        for what in (ONE, TWO):
            hub.want(what)
            await until_active(steward, what)
        spoil(node.file(ONE))
        hub.given.clear()
        hub.gate = asyncio.Semaphore(0)
        hub.want(ONE)
        await hub.until(lambda: not node.tree.holds(ONE.version) and steward.fetching)
        assert node.leads_to() == 2
        serving = steward.active(STABLE)
        assert serving is not None
        assert serving.number == 2
        hub.gate.release()
        await until_active(steward, ONE)
    assert content_given(hub) == [(ONE.offer.manifest, ALONE)]


async def test_a_rollback_that_finds_damage_while_the_hub_is_away_waits_with_the_old_version_active(
    tmp_path: Path,
) -> None:
    hub = NodeHub()
    async with running(tmp_path, hub) as (node, steward):
        for what in (ONE, TWO):
            hub.want(what)
            await until_active(steward, what)
        spoil(node.file(ONE))
        hub.gate = asyncio.Semaphore(0)
        hub.want(ONE)
        await hub.until(lambda: steward.fetching)
        hub.away = RoadError("away")
        await hub.cut()
        tries = hub.tries
        await hub.until(lambda: hub.tries > tries + 1)
        assert node.leads_to() == 2
        assert not node.tree.holds(ONE.version)
        hub.away = hub.gate = None
        await until_active(steward, ONE)
        assert content_of(node.file(ONE).parent) == FILES


async def test_damage_that_another_process_marks_is_mended_at_once_when_the_agent_is_hastened(tmp_path: Path) -> None:
    hub = NodeHub()
    async with running(tmp_path, hub) as (node, steward):
        hub.want(ONE)
        await until_active(steward, ONE)
        spoil(node.file(ONE))
        hub.given.clear()
        EdgeTree(tmp_path, nouns).quarantine(ONE.version)
        steward.hasten()
        await hub.until(lambda: hub.given)
        await until_active(steward, ONE)
        assert content_of(node.file(ONE).parent) == FILES
    assert content_given(hub) == [(ONE.offer.manifest, ALONE)]

"""What lies still on a node is read back in the background, slowly, on from where it stood; rot is marked at once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_agent.activate import TreeStore
from edge_agent.scrub import FILE, SAVED, STRIDE, Scrub
from edge_agent.shelf import NodeShelf
from modelsyncd.daemon.rounds import RECOVERY
from modelsyncd.errors import DiskError
from modelsyncd.store.cache import Cache
from modelsyncd.store.reread import FLOOR, ROUND, Mark, MarkFile, Reread, rate_for
from modelsyncd.store.tree import EdgeTree
from modelsyncd.wire import nouns
from tests.fakes.versions import STEP, Published, fetch, published

SIZE = 3 * STRIDE + 5
FILES = {"model.bin": random.Random(7).randbytes(SIZE)}
ONE = published(FILES)
TWO = published({"model.bin": random.Random(8).randbytes(STRIDE)}, 2)


class Node:
    """A store whose scrub runs on a clock that only its own sleeps move."""

    def __init__(self, root: Path) -> None:
        self.tree = EdgeTree(root, nouns)
        self.tree.prepare()
        self.cache = Cache(root / "cache.db")
        self.shelf = NodeShelf(self.tree, self.cache)
        self.store = TreeStore(self.tree, self.cache)
        self.now = 1e9
        self.slept: list[float] = []
        self.told: list[int] = []
        self.still = asyncio.Event()
        self.still.set()
        self.moved = asyncio.Event()

    def scrub(self, rate: int | None = None, size: int = 0) -> Scrub:
        return Scrub(
            self.tree,
            self.tell,
            rate=rate,
            size=lambda: size,
            quiet=self.quiet,
            wall=lambda: self.now,
            sleep=self.sleep,
        )

    def tell(self) -> None:
        self.told.append(1)
        self.moved.set()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        self.moved.set()
        await asyncio.sleep(0)

    async def quiet(self) -> None:
        self.moved.set()
        await self.still.wait()

    async def run(self, until: Callable[[], object], scrub: Scrub) -> None:
        """Lets it run until something is true."""
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            task = group.create_task(scrub.run())
            while not until():
                self.moved.clear()
                await self.moved.wait()
            task.cancel()

    @property
    def mark(self) -> Mark | None:
        return MarkFile(self.tree.layout.root / FILE).load()

    def over(self) -> bool:
        return self.mark is not None and self.mark.over

    def spoil(self, what: Published, offset: int) -> None:
        path = self.tree.layout.version(what.version) / "model.bin"
        path.chmod(0o644)
        with path.open("r+b") as file:
            file.seek(offset)
            byte = file.read(1)
            file.seek(offset)
            file.write(bytes([byte[0] ^ 1]))

    def close(self) -> None:
        self.shelf.close()
        self.cache.close()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path)
    yield node
    node.close()


async def test_rot_is_marked_and_told_before_the_round_is_over_and_only_the_bad_chunk_comes_again(node: Node) -> None:
    await fetch(node.shelf, ONE)
    await fetch(node.shelf, TWO)
    node.spoil(ONE, 2 * STRIDE)
    await node.run(node.over, node.scrub())
    assert node.told == [1]
    assert node.store.observe().damaged == {ONE.version}
    assert node.tree.holds(TWO.version)
    assert (await fetch(node.shelf, ONE)).content() == [2 * STRIDE // STEP]
    assert node.tree.holds(ONE.version)


@pytest.mark.parametrize("papers", ["manifests", "releases"])
async def test_papers_that_rot_are_found_too(node: Node, papers: str) -> None:
    await fetch(node.shelf, TWO)
    (path,) = (node.tree.layout.root / papers).iterdir()
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    await node.run(node.over, node.scrub())
    assert node.store.observe().damaged == {TWO.version}
    await fetch(node.shelf, TWO)
    assert node.tree.holds(TWO.version)
    assert node.tree.signed(TWO.version)
    assert node.tree.has_manifest(TWO.version.manifest)


async def test_it_reads_no_faster_than_it_may(node: Node) -> None:
    await fetch(node.shelf, ONE)
    await node.run(node.over, node.scrub(rate=1_000))
    assert sum(one for one in node.slept if one < ROUND / 2) == pytest.approx(SIZE / 1_000)


@pytest.mark.parametrize(("asked", "total", "rate"), [(None, 0, FLOOR), (None, 10**13, 16_534_391), (5, 10**13, 5)])
def test_without_a_rate_the_whole_store_is_read_in_a_week_but_no_slower_than_a_disk_notices(
    asked: int | None, total: int, rate: int
) -> None:
    assert rate_for(asked, total) == rate


async def test_a_rate_of_nothing_reads_nothing(node: Node) -> None:
    await asyncio.wait_for(node.scrub(rate=0).run(), 5)
    assert node.mark is None


async def test_while_bytes_travel_nothing_is_read(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    await fetch(node.shelf, ONE)
    node.still.clear()
    steps: list[int] = []
    real = Reread.step

    def counted(self: Reread, first: int, size: int) -> tuple[int, int]:
        steps.append(first)
        return real(self, first, size)

    monkeypatch.setattr(Reread, "step", counted)

    def patient() -> bool:
        if not node.still.is_set():
            assert steps == []
            node.still.set()
        return node.over()

    await node.run(patient, node.scrub())
    assert len(steps) == 4


async def test_a_restart_goes_on_where_it_stood(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    await fetch(node.shelf, ONE)
    await fetch(node.shelf, TWO)
    slow = int(2 * STRIDE / SAVED)  # the mark is saved after every other stride
    await node.run(lambda: node.mark is not None, node.scrub(rate=slow))
    assert node.mark is not None
    began = node.mark.began
    read: list[tuple[int, int]] = []
    real = Reread.step

    def counted(self: Reread, first: int, size: int) -> tuple[int, int]:
        read.append((self._version.number, first))
        return real(self, first, size)

    monkeypatch.setattr(Reread, "step", counted)
    await node.run(node.over, node.scrub(rate=slow))
    assert read[0] == (1, 2 * STRIDE // STEP)
    assert read[-1] == (2, 0)
    assert node.mark == Mark(began, over=True)


async def test_the_next_round_begins_a_week_after_the_last_one_began(node: Node) -> None:
    await fetch(node.shelf, TWO)
    await node.run(node.over, node.scrub())
    first = node.mark
    assert first is not None
    node.spoil(TWO, 0)
    await node.run(lambda: node.told, node.scrub())
    assert node.now >= first.began + ROUND


@pytest.mark.parametrize("how", ["other bytes", "empty", "from the future"])
async def test_a_mark_that_is_broken_or_from_a_wrong_clock_begins_the_round_anew(node: Node, how: str) -> None:
    await fetch(node.shelf, TWO)
    path = node.tree.layout.root / FILE
    if how == "from the future":
        MarkFile(path).save(Mark(node.now + 10 * 365 * 86_400, over=True))
    else:
        path.write_bytes(b"" if how == "empty" else b"0123456789abcdef 1e9 over \n")
    node.spoil(TWO, 0)
    await node.run(lambda: node.told, node.scrub())
    assert not any(one > ROUND / 2 for one in node.slept)


async def test_a_version_that_goes_while_it_is_read_is_no_damage(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    await fetch(node.shelf, ONE)
    real = Reread.step

    def raced(self: Reread, first: int, size: int) -> tuple[int, int]:
        if first and node.tree.holds(ONE.version):
            node.tree.remove(ONE.version)
            self.close()
        return real(self, first, size)

    monkeypatch.setattr(Reread, "step", raced)
    await node.run(node.over, node.scrub())
    assert node.told == []
    assert not node.tree.layout.damage_mark(ONE.version).exists()


async def test_a_version_that_this_process_may_not_read_keeps_no_other_from_being_read(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fetch(node.shelf, ONE)
    await fetch(node.shelf, TWO)
    node.spoil(TWO, 0)
    real = Reread.step

    def starved(self: Reread, first: int, size: int) -> tuple[int, int]:
        if self._version == ONE.version:
            raise DiskError("too many open files")
        return real(self, first, size)

    monkeypatch.setattr(Reread, "step", starved)
    await node.run(node.over, node.scrub())
    assert node.store.observe().damaged == {TWO.version}


async def test_what_nobody_thought_of_is_tried_again_and_takes_no_agent_down(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fetch(node.shelf, TWO)
    node.spoil(TWO, 0)
    real = MarkFile.load
    tries: list[int] = []

    def odd(self: MarkFile) -> Mark | None:
        tries.append(1)
        if len(tries) == 1:
            raise ZeroDivisionError
        return real(self)

    monkeypatch.setattr(MarkFile, "load", odd)
    await node.run(lambda: node.told, node.scrub())
    assert node.slept[0] == RECOVERY

"""A node's store dies, or its disk fills up, at each single step; afterwards every version is whole or not there.

The steps are the system calls that change the disk. A child process ends itself at the n-th of them, without a word to
anybody, as `kill -9` would end it; n runs until a child comes through.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_agent.shelf import NodeShelf
from modelsyncd.errors import DiskFullError
from modelsyncd.manifest import ChunkTable
from modelsyncd.names import ModelRef
from modelsyncd.session.frames import Part
from modelsyncd.store.cache import Cache
from modelsyncd.store.tree import EdgeTree
from modelsyncd.wire import nouns
from tests.fakes.memory_disk import memory_disk
from tests.fakes.versions import HELMET, STEP, Fetched, changed, content_of, fetch, published

STEPS = ("pwrite", "fdatasync", "fsync", "rename", "ftruncate", "mkdir", "unlink", "rmdir", "symlink", "fchmod")
STABLE = ModelRef(HELMET, channel="stable")
BATCH = 2
FILES = {"model.bin": random.Random(11).randbytes(8 * STEP), "labels/en.txt": b"helmet\n"}
OLD = published({**FILES, "labels/en.txt": b"hat\n"}, 1)
FIRST = published(FILES, 2)
SECOND = published(changed(FILES, "model.bin", STEP, random.Random(12).randbytes(5 * STEP)), 3)
DIED = 9


@pytest.fixture
def disk() -> Iterator[Path]:
    with memory_disk() as folder:
        yield folder


class Node:
    """One life of an agent's store."""

    def __init__(self, root: Path) -> None:
        self.tree = EdgeTree(root, nouns)
        self.tree.prepare()
        self.cache = Cache(root / "cache.db")
        self.shelf = NodeShelf(self.tree, self.cache)

    async def update(self, told: Callable[[], None] = lambda: None) -> Fetched:
        """Fetches the second version, switches to it and prunes the old one; returns what travelled."""
        fetched = await fetch(self.shelf, SECOND, batch=BATCH, then=lambda _: told())
        self.tree.activate(STABLE, SECOND.version)
        if self.tree.holds(OLD.version):
            self.tree.remove(OLD.version)
        return fetched

    def close(self) -> None:
        self.shelf.close()
        self.cache.close()


async def make(root: Path) -> None:
    """A node with an old version, and the first one active."""
    node = Node(root)
    await fetch(node.shelf, OLD)
    await fetch(node.shelf, FIRST)
    node.tree.activate(STABLE, FIRST.version)
    node.close()


def at_step(number: int, act: Callable[[], None]) -> Callable[[], int]:
    """Makes `act` happen at that step of this process; the answer tells how many steps there were so far."""
    count = 0

    def wrap(real: Callable[..., object]) -> Callable[..., object]:
        def step(*arguments: object, **named: object) -> object:
            nonlocal count
            count += 1
            if count == number:
                act()
            return real(*arguments, **named)

        return step

    for name in STEPS:
        setattr(os, name, wrap(getattr(os, name)))
    return lambda: count


def assert_all_that_is_visible_is_whole(root: Path) -> None:
    """The oracle: looks at the disk as a job would, before anything repairs it."""
    model = root / "models/acme/helmet"
    whole = {one.version.folder_name: one.files for one in (OLD, FIRST, SECOND)}
    for folder in (model / "versions").iterdir():
        if not folder.name.startswith("."):
            assert content_of(folder) == whole[folder.name]
    assert content_of(model / "stable") in (FIRST.files, SECOND.files)


def assert_rows_speak_of_what_is_there(root: Path) -> None:
    """A row that says that a chunk is durable comes after its bytes."""
    cache = Cache(root / "cache.db")
    recorded = cache.recorded(SECOND.offer.manifest)
    cache.close()
    staging = root / "staging" / SECOND.offer.manifest.hex()
    folder = staging if staging.exists() else root / "models/acme/helmet/versions" / SECOND.version.folder_name
    for chunk in ChunkTable(SECOND.manifest):
        if chunk.ordinal in recorded:
            plain = (folder / SECOND.manifest.files[chunk.file].path).read_bytes()
            assert plain[chunk.offset : chunk.offset + chunk.size] == SECOND.chunks[chunk.ordinal]


def die_at(number: int, root: Path) -> tuple[bool, int]:
    """Lets a child update and die at a step; returns whether it did, and how many batches it was told are durable."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            at_step(number, lambda: os._exit(DIED))
            asyncio.run(Node(root).update(lambda: _tell(writing)))
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        batches = len(told.read())
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == DIED, batches


def _tell(descriptor: int) -> None:
    os.write(descriptor, b".")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_at_any_step_nothing_is_half_visible_and_nothing_travels_twice(disk: Path) -> None:
    lengths = set()
    for number in range(1, 1_000):
        root = disk / str(number)
        asyncio.run(make(root))
        died, batches = die_at(number, root)
        if not died:
            break
        assert_all_that_is_visible_is_whole(root)
        assert_rows_speak_of_what_is_there(root)
        node = Node(root)
        fetched = asyncio.run(node.update())
        _assert_up_to_date(node)
        node.close()
        # what was durable in the child's own words does not travel again; some of what was in flight need not either
        again = fetched.content()
        assert len(again) <= max(0, len(changed_chunks()) - batches_of_content(batches) * BATCH)
        assert batches == 0 or (Part.MANIFEST, 0) not in fetched.chunks
        lengths.add(len(again))
    assert number > 50, "the steps were not seen"
    assert len(lengths) > 2, "no child died in the middle of the content"


def changed_chunks() -> list[int]:
    return [ordinal for ordinal, plain in enumerate(SECOND.chunks) if plain not in FIRST.chunks]


def batches_of_content(batches: int) -> int:
    """The first batch is the manifest."""
    return max(0, batches - 1)


def _assert_up_to_date(node: Node) -> None:
    assert node.tree.active(STABLE) == SECOND.version
    assert node.tree.previous(STABLE) == FIRST.version
    assert content_of(node.tree.layout.channel(STABLE)) == SECOND.files
    assert node.tree.versions() == [FIRST.version, SECOND.version]
    assert node.tree.observed().staged == frozenset()


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_disk_that_is_full_at_any_step_is_said_so_and_the_next_try_goes_on(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for number in range(1, 1_000):
        root = disk / str(number)
        await make(root)
        node = Node(root)
        for name in STEPS:
            monkeypatch.setattr(os, name, getattr(os, name))  # remembered, to be put back
        at_step(number, full)
        failed = None
        try:
            await node.update()
        except DiskFullError as error:
            failed = error
        finally:
            monkeypatch.undo()
        assert_all_that_is_visible_is_whole(root)
        if failed is not None:
            assert failed.safe
            assert failed.hint
            await node.update()  # in the same life: somebody made room
        _assert_up_to_date(node)
        node.close()
        if failed is None:
            break
    assert number > 50, "the steps were not seen"


async def test_a_file_system_that_is_too_small_is_said_before_the_first_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make(tmp_path)
    node = Node(tmp_path)
    real = os.statvfs(tmp_path)
    fields = list(real)
    fields[4] = 3
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(fields))
    with pytest.raises(DiskFullError) as caught:
        await node.update()
    assert "are needed" in caught.value.message
    assert content_of(node.tree.layout.channel(STABLE)) == FIRST.files
    assert (await node.shelf.survey(SECOND.offer, Part.MANIFEST)).ordinals == (), "the manifest is here to stay"
    monkeypatch.undo()
    await node.update()
    _assert_up_to_date(node)
    node.close()

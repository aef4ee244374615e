"""A job that has a version's file mapped or open reads what it opened, whatever becomes of the version meanwhile."""

from __future__ import annotations

import mmap
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_agent.shelf import NodeShelf
from modelsyncd.names import ModelRef
from modelsyncd.session.frames import Part
from modelsyncd.store.cache import Cache
from modelsyncd.store.tree import EdgeTree
from modelsyncd.wire import nouns
from tests.fakes.versions import HELMET, Published, changed, content_of, fetch, published, some_files

RNG = random.Random(20)
OLD = published(some_files(RNG), 1)
NEW = published(changed(OLD.files, "model.bin", 9_000, b"better"), 2)
STABLE = ModelRef(HELMET, channel="stable")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[tuple[EdgeTree, NodeShelf]]:
    tree = EdgeTree(tmp_path, nouns)
    tree.prepare()
    cache = Cache(tmp_path / "cache.db")
    shelf = NodeShelf(tree, cache)
    yield tree, shelf
    shelf.close()
    cache.close()


@contextmanager
def mapped(path: Path) -> Iterator[mmap.mmap]:
    """The file as a job maps it: read-only, through the channel's link."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        yield view


async def active(tree: EdgeTree, shelf: NodeShelf, what: Published) -> Path:
    """Fetches and switches to it; returns where the channel leads."""
    await fetch(shelf, what)
    tree.activate(STABLE, what.version)
    return tree.layout.version(what.version)


async def test_a_mapped_file_stays_as_it_was_when_the_channel_goes_on_and_the_version_is_pruned(
    node: tuple[EdgeTree, NodeShelf],
) -> None:
    tree, shelf = node
    folder = await active(tree, shelf, OLD)
    with mapped(folder / "model.bin") as view:
        await active(tree, shelf, NEW)
        assert bytes(view) == OLD.files["model.bin"]
        third = published(changed(NEW.files, "model.bin", 100, b"third"), 3)
        await active(tree, shelf, third)
        tree.remove(OLD.version)
        assert not folder.exists()
        assert bytes(view) == OLD.files["model.bin"]


async def test_mending_a_version_puts_another_file_in_place_and_leaves_the_mapped_one_alone(
    node: tuple[EdgeTree, NodeShelf],
) -> None:
    tree, shelf = node
    folder = await active(tree, shelf, OLD)
    path = folder / "model.bin"
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(5_000)
        file.write(b"rot")
    with mapped(path) as view:
        rotten = bytes(view)
        inode = path.stat().st_ino
        tree.quarantine(OLD.version)
        await fetch(shelf, OLD)
        assert content_of(folder) == OLD.files
        assert path.stat().st_ino != inode
        assert bytes(view) == rotten


async def test_a_chunk_that_is_fetched_never_changes_a_byte_of_an_older_version(
    node: tuple[EdgeTree, NodeShelf],
) -> None:
    tree, shelf = node
    folder = await active(tree, shelf, OLD)
    seen: list[bytes] = []
    with mapped(folder / "model.bin") as view:
        await fetch(shelf, NEW, batch=1, then=lambda _: seen.append(bytes(view)))
        assert bytes(view) == OLD.files["model.bin"]
    assert seen
    assert set(seen) == {OLD.files["model.bin"]}
    assert not (await shelf.survey(NEW.offer, Part.CONTENT)).ordinals

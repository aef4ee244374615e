"""A node's whole store, and the life it leads: orders are saved, versions fetched, switched to, and pruned.

Each thing that somebody may count on from then on is told, so a test that takes the disk away at any moment knows what
must be there.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from edge_agent.activate import TreeStore
from edge_agent.orders import Orders
from edge_agent.shelf import NodeShelf
from modelsyncd.manifest import ChunkTable
from modelsyncd.names import ModelRef
from modelsyncd.session.frames import Assignment, Desired, Part
from modelsyncd.store.cache import Cache
from modelsyncd.store.tree import EdgeTree
from modelsyncd.wire import nouns
from tests.fakes.versions import HELMET, Published, changed, published

STABLE = ModelRef(HELMET, channel="stable")


@dataclass(frozen=True, slots=True)
class Ordered:
    """The node follows the orders with this number, after any restart."""

    number: int


@dataclass(frozen=True, slots=True)
class Kept:
    """These chunks never travel again."""

    number: int
    part: Part
    ordinals: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Active:
    """The channel leads to this release, or to a later one."""

    number: int


Word = Ordered | Kept | Active


@dataclass(frozen=True)
class Story:
    """Releases 1 to 3 of one model; the node has the first one when it begins."""

    releases: tuple[Published, ...]
    batch: int = 3

    def release(self, number: int) -> Published:
        return self.releases[number - 1]


def story(chunks: int, *, step: int, batch: int, changes: int = 6) -> Story:
    """The second release has so many chunks; the third differs from it in a few places, and in one more file."""
    rng = random.Random(chunks)
    first = {"model.bin": rng.randbytes(4 * step), "labels/en.txt": b"hat\n"}
    second = {"model.bin": rng.randbytes((chunks - 1) * step - 100), "labels/en.txt": b"helmet\n", "empty": b""}
    third = second
    for at in rng.sample(range(chunks - 2), changes):
        third = changed(third, "model.bin", at * step, rng.randbytes(step))
    third = {**third, "labels/de.txt": b"Helm\n"}
    every = (first, second, third)
    return Story(tuple(published(files, number, step=step) for number, files in enumerate(every, 1)), batch)


class NodeLife:
    """One process's view of a node's folder."""

    def __init__(self, root: Path, story: Story, told: Callable[[Word], None] = lambda _: None) -> None:
        self.story = story
        self.told = told
        self.fetched: list[tuple[int, Part, int]] = []
        """What travelled: number of the release, part, ordinal."""
        self.tree = EdgeTree(root, nouns)
        self.tree.prepare()
        self.cache = Cache(root / "cache.db")
        self.shelf = NodeShelf(self.tree, self.cache)
        self.store = TreeStore(self.tree, self.cache, self.shelf.forget)
        self.orders = Orders(root)

    @classmethod
    def begin(cls, root: Path, story: Story) -> None:
        """A node that has the first release, and has stopped."""
        node = cls(root, story)
        with patch.object(asyncio, "to_thread", here):
            asyncio.run(node.follow(1))
        node.close()

    def live(self) -> None:
        """Whatever is left to do: up to the third release, with the first one gone."""
        with patch.object(asyncio, "to_thread", here):
            asyncio.run(self._live())

    async def _live(self) -> None:
        orders = self.orders.load()
        for number in range(2 if orders is None else max(2, orders.generation), 4):
            await self.follow(number)
        self.store.observe()
        first = self.story.release(1).version
        shown = self.tree.observed()
        if first in shown.held | shown.damaged:  # as `reconcile` counts what is spare
            self.store.prune(first)

    async def follow(self, number: int) -> None:
        """What the hub wants now, from its word to the switch."""
        what = self.story.release(number)
        self.orders.save(Desired(number, (Assignment(HELMET, "stable", what.offer),)))
        self.told(Ordered(number))
        for part in Part:
            missing = (await self.shelf.survey(what.offer, part)).ordinals
            for start in range(0, len(missing), self.story.batch):
                await self._keep(what, number, part, missing[start : start + self.story.batch])
        await self.shelf.complete(what.offer)
        self.store.observe()
        self.store.activate(STABLE, what.version)
        self.told(Active(number))

    async def _keep(self, what: Published, number: int, part: Part, ordinals: Sequence[int]) -> None:
        keeping = await self.shelf.keep(what.keeps(part, ordinals))
        assert keeping.kept == tuple(ordinals)
        self.fetched += [(number, part, ordinal) for ordinal in ordinals]
        self.told(Kept(number, part, keeping.kept))

    def close(self) -> None:
        self.shelf.close()
        self.cache.close()

    def check_rows(self) -> None:
        """Raises AssertionError when a row says of a chunk that it is durable, and its bytes are not there."""
        for what in self.story.releases:
            recorded = self.cache.recorded(what.offer.manifest)
            folders = [self.tree.layout.staged(what.offer.manifest), self.tree.layout.version(what.version)]
            files = {
                (index, folder): (folder / file.path).read_bytes()
                for index, file in enumerate(what.manifest.files if recorded else ())
                for folder in folders
                if (folder / file.path).is_file()
            }
            for chunk in ChunkTable(what.manifest):
                if chunk.ordinal in recorded:
                    lies = [files.get((chunk.file, folder), b"")[chunk.offset :][: chunk.size] for folder in folders]
                    assert what.chunks[chunk.ordinal] in lies, f"a row claims chunk {chunk.ordinal}"


async def here(work: Callable[..., object], *arguments: object) -> object:
    """What `asyncio.to_thread` does, without the thread: half of the time of a test with thousands of lives."""
    return work(*arguments)

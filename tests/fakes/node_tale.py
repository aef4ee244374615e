"""Lives of a node's store that can be led on from wherever they were cut off, for tests that kill them.

What the hub says last is on the disk (`desired.pb`), so a node that is started again knows which deed it was at.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

from edge_agent.activate import TreeStore
from edge_agent.orders import Orders
from edge_agent.shelf import NodeShelf
from modelsyncd.errors import DamageError
from modelsyncd.session.frames import Assignment, Desired, Part
from modelsyncd.store import failpoints
from modelsyncd.store.cache import Cache
from modelsyncd.store.tree import EdgeTree
from modelsyncd.wire import nouns
from tests.fakes.node_life import STABLE, story
from tests.fakes.oracle import whole_versions
from tests.fakes.versions import HELMET, Published, content_of

Tell = Callable[..., None]
STEP = 1_024  # bytes of a chunk
BATCH = 3  # chunks that are on their way at once: the window
STORY = story(14, step=STEP, batch=BATCH, changes=4)
SHOWN = (0, 1, 1, 2, 3, 2, 0, 3, 3)  # what the channel leads to after so many deeds; 0 for nothing
DEEDS = len(SHOWN) - 1
HALF_DEED = 2  # fetches some of a version, and throws it away


class Node:
    """One process's view of a node's folder."""

    def __init__(self, root: Path, tell: Tell) -> None:
        self.tell = tell
        tell("phase", "open")
        self.tree = EdgeTree(root, nouns)
        self.tree.prepare()
        self.cache = Cache(root / "cache.db")
        self.shelf = NodeShelf(self.tree, self.cache)
        self.store = TreeStore(self.tree, self.cache, self.shelf.forget)
        self.orders = Orders(root)

    async def fetch(self, what: Published, deed: int, batches: int = 1_000) -> None:
        """Takes what is missing, so many batches of it."""
        self.tell("phase", "download")
        for part in Part:
            missing = (await self.shelf.survey(what.offer, part)).ordinals
            for start in range(0, min(len(missing), batches * BATCH), BATCH):
                some = list(missing[start : start + BATCH])
                self.tell("took", deed, part.name, some)
                keeping = await self.shelf.keep(what.keeps(part, some))
                assert keeping.kept == tuple(some)
                self.tell("kept", deed, part.name, some)

    async def follow(self, number: int, deed: int) -> None:
        """Fetches a release, and switches to it."""
        what = STORY.release(number)
        if not self.tree.holds(what.version):
            await self.fetch(what, deed)
            self.tell("phase", "install")
            await self.shelf.complete(what.offer)
        self.tell("phase", "switch")
        self.store.observe()
        self.store.activate(STABLE, what.version)

    def prune(self, *numbers: int) -> None:
        """Removes these releases, as far as they are here."""
        self.tell("phase", "prune")
        self.store.observe()
        for number in numbers:
            version = STORY.release(number).version
            if self.tree.holds(version):
                self.store.prune(version)

    def tidy(self) -> None:
        """Throws away what is staged and not wanted, as an agent does whenever it looks around."""
        for manifest in self.tree.staged():
            self.store.discard(manifest)

    def close(self) -> None:
        self.shelf.close()
        self.cache.close()


class NodeTale:
    """From an empty folder: three releases, one of them begun and thrown away before, back, away, back again."""

    name = "node"

    def begin(self, root: Path) -> None:
        root.mkdir()

    def live(self, root: Path, tell: Tell) -> None:
        with patch.object(asyncio, "to_thread", _here):
            asyncio.run(self._live(root, tell))

    async def _live(self, root: Path, tell: Tell) -> None:
        node = Node(root, tell)
        known = node.orders.load()
        for deed in range(known.generation if known else 1, DEEDS + 1):
            number = SHOWN[deed]
            places = (Assignment(HELMET, "stable", STORY.release(number).offer),) if number else ()
            node.orders.save(Desired(deed, places))
            tell("ordered", deed)
            await self._do(node, deed)
            tell("done", deed)
        node.close()

    async def _do(self, node: Node, deed: int) -> None:
        number = SHOWN[deed]
        if deed == HALF_DEED:
            what = STORY.release(2)
            await node.fetch(what, deed, batches=2)
            node.tell("phase", "prune")
            node.store.discard(what.offer.manifest)
        elif number:
            await node.follow(number, deed)
        else:
            node.store.unlink(STABLE)
        if deed == 4:
            node.prune(1)
        if deed == DEEDS:
            node.prune(2)
            node.tidy()

    def check(self, root: Path, told: Sequence[Sequence[Any]]) -> None:
        whole_versions(root)
        done = max((word[1] for word in told if word[0] == "done"), default=0)
        assert _shown(root) in {SHOWN[done], SHOWN[min(done + 1, DEEDS)]}, f"after {done} deeds"
        orders = Orders(root).load()
        ordered = max((word[1] for word in told if word[0] == "ordered"), default=0)
        assert (orders.generation if orders else 0) >= ordered, "a word of the hub was lost"
        _check_travels(told)

    def check_end(self, root: Path, told: Sequence[Sequence[Any]]) -> None:
        assert set(whole_versions(root)) == {"acme/helmet:3"}
        assert content_of(root / "models/acme/helmet/stable") == STORY.release(3).files
        assert list((root / "staging").iterdir()) == []
        assert len(list((root / "manifests").iterdir())) == len(list((root / "releases").iterdir())) == 1
        with closing(sqlite3.connect(root / "cache.db")) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


class MendingTale:
    """A node whose version has lost bytes, and whose cache is no database any more."""

    name = "mending"
    what = STORY.release(2)

    def begin(self, root: Path) -> None:
        root.mkdir()
        node = Node(root, lambda *_: None)
        with patch.object(asyncio, "to_thread", _here):
            asyncio.run(node.follow(2, 0))
        node.close()
        folder = root / "models/acme/helmet/versions" / self.what.version.folder_name
        for path, damage in (("model.bin", _flipped), ("labels/en.txt", _cut)):
            (folder / path).chmod(0o644)
            (folder / path).write_bytes(damage(self.what.files[path]))
        for notes in root.glob("cache.db*"):
            notes.unlink()
        (root / "cache.db").write_bytes(random.Random(7).randbytes(8_192))

    def live(self, root: Path, tell: Tell) -> None:
        with patch.object(asyncio, "to_thread", _here):
            asyncio.run(self._live(root, tell))

    async def _live(self, root: Path, tell: Tell) -> None:
        node = Node(root, tell)
        tell("phase", "verify")
        with suppress(DamageError):
            node.store.prove(self.what.version)
        if not node.tree.holds(self.what.version):
            await node.fetch(self.what, 1)
            tell("phase", "mend")
            await node.shelf.complete(self.what.offer)
        node.tidy()
        node.close()

    def check(self, root: Path, told: Sequence[Sequence[Any]]) -> None:
        assert _shown(root) == 2
        for path, plain in content_of(root / "models/acme/helmet/stable").items():
            right = self.what.files[path]
            assert plain in (right, _flipped(right), _cut(right)), f"{path} is neither old nor right"
        _check_travels(told)

    def check_end(self, root: Path, told: Sequence[Sequence[Any]]) -> None:
        assert set(whole_versions(root)) == {"acme/helmet:2"}
        assert list((root / "staging").iterdir()) == []
        assert list(root.glob("models/acme/helmet/versions/*.damaged")) == []
        assert (root / "cache.db.damaged").exists()


def _check_travels(told: Sequence[Sequence[Any]]) -> None:
    """What was told to be durable never travels again, and a life that ends costs a window at most."""
    kept: set[tuple[int, str, int]] = set()
    taken: set[tuple[int, str, int]] = set()
    again = 0
    deaths = sum(word[0] == "died" for word in told)
    for word, each in _travels(told):
        if word == "kept":
            kept.add(each)
            continue
        assert each not in kept, f"{each} was durable, and travels again"
        again += each in taken
        taken.add(each)
    assert again <= deaths * BATCH, f"{again} chunks travelled again, after {deaths} deaths"


def _travels(told: Sequence[Sequence[Any]]) -> Iterator[tuple[str, tuple[int, str, int]]]:
    for word, *rest in told:
        if word in ("took", "kept") and rest[0] != HALF_DEED:
            yield from ((word, (rest[0], rest[1], ordinal)) for ordinal in rest[2])


def _shown(root: Path) -> int:
    link = root / "models/acme/helmet/stable"
    return int(link.readlink().name.partition("-")[0]) if link.is_symlink() else 0


def _flipped(plain: bytes) -> bytes:
    return plain[:1_500] + bytes([plain[1_500] ^ 1]) + plain[1_501:] if len(plain) > 1_500 else plain


def _cut(plain: bytes) -> bytes:
    return plain[:-1]


async def _here(work: Callable[..., object], *arguments: object) -> object:
    """What `asyncio.to_thread` does, without the thread: what a forked child does is the same each time."""
    return work(*arguments)


@contextmanager
def laid_store(root: Path) -> Iterator[TreeStore]:
    """A node's store with every release of the story whole on its disk, and none of them active."""
    node = Node(root, lambda *_: None)

    async def fetch() -> None:
        for what in STORY.releases:
            await node.fetch(what, 0)
            await node.shelf.complete(what.offer)

    asyncio.run(fetch())
    node.store.observe()
    try:
        yield node.store
    finally:
        failpoints.watch(None)
        node.close()

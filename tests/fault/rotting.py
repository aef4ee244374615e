"""A node with something of everything on its disk, and a life of an agent that begins there after a bit was turned."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.activate import TreeStore
from edge_agent.orders import Orders
from edge_agent.scrub import Scrub
from edge_agent.shelf import NodeShelf
from edge_agent.steward import Steward
from edge_agent.uplink import Uplink
from edge_agent.watchers import Watchers
from modelsyncd.names import ModelRef
from modelsyncd.session.frames import Part
from modelsyncd.store.cache import Cache
from modelsyncd.store.reread import Mark, MarkFile
from modelsyncd.store.tree import EdgeTree
from modelsyncd.wire import nouns
from tests.fakes.node_hub import NodeHub
from tests.fakes.oracle import whole_versions
from tests.fakes.versions import HELMET, STEP, Published, changed, fetch, published

STABLE = ModelRef(HELMET, channel="stable")
CHUNKS = 10
_RNG = random.Random(4)
_FILES = {"model.bin": _RNG.randbytes(CHUNKS * STEP), "names.txt": b"helmet\nhat\n"}
_TWO = changed(_FILES, "model.bin", 2 * STEP, _RNG.randbytes(2 * STEP))
_THREE = changed(_TWO, "model.bin", 5 * STEP, _RNG.randbytes(4 * STEP))
_FOUR = changed(_THREE, "model.bin", 0, _RNG.randbytes(STEP))
ONE, TWO, THREE, FOUR = (published(files, number) for number, files in enumerate((_FILES, _TWO, _THREE, _FOUR), 1))
LACKING = 8
"""The chunk that the newest version lacks at first, and nothing on the node has."""
SEEDED = 7
"""The chunk that it lacks, and what was half fetched of another version has."""


async def make(root: Path) -> None:
    """One was active and two is; three is wanted and half here; a part of four is here, and nobody wants it."""
    hub = NodeHub()
    hub.want(THREE, keep=9)
    tree = EdgeTree(root, nouns)
    tree.prepare()
    cache = Cache(root / "cache.db")
    shelf = NodeShelf(tree, cache)
    for what in (ONE, TWO):
        await fetch(shelf, what)
        tree.activate(STABLE, what.version)
    await _keep(shelf, THREE, (5, 6))
    await _keep(shelf, FOUR, (SEEDED,))
    Orders(root).save(hub.wanted)
    MarkFile(root / "scrub.mark").save(Mark(0.0, over=True))
    shelf.close()
    cache.close()


async def _keep(shelf: NodeShelf, what: Published, ordinals: tuple[int, ...]) -> None:
    for part in Part:
        missing = (await shelf.survey(what.offer, part)).ordinals
        wanted = missing if part is Part.MANIFEST else ordinals
        await shelf.keep(what.keeps(part, wanted))


@dataclass
class Life:
    """What came over the link in a life, and how often the hub was called."""

    given: list[tuple[int, Part, int]] = field(default_factory=list)
    tries: int = 0
    damaged_at_end: list[str] = field(default_factory=list)

    def content(self, what: Published) -> list[int]:
        return sorted(
            ordinal for number, part, ordinal in self.given if part is Part.CONTENT and number == _number(what)
        )

    def papers(self) -> int:
        return sum(1 for _, part, _ in self.given if part is Part.MANIFEST)


def _number(what: Published) -> int:
    return what.version.number


async def live(root: Path) -> Life:
    """Starts an agent there, has it follow three, then two, then one, and reads everything back; then all is right.

    Raises AssertionError when it is not, or TimeoutError.
    """
    hub = NodeHub()
    hub.want(THREE, keep=9)
    for what in (ONE, TWO):
        hub.has[what.version.manifest] = what
    async with _running(root, hub) as (steward, scrub, tree):
        await _until_active(steward, tree, THREE)
        for what in (TWO, ONE):
            hub.want(what, keep=9)
            await _until_active(steward, tree, what)
        await scrub()
        # what was found wrong and nobody wants any more comes right when it is wanted again
        for what in (THREE, TWO, ONE):
            if not tree.holds(what.version):
                hub.want(what, keep=9)
                await _until_active(steward, tree, what)
        await scrub()
        numbers = {one.version.manifest: _number(one) for one in (ONE, TWO, THREE, FOUR)}
        life = Life([(numbers[manifest], part, ordinal) for manifest, part, ordinal in hub.given], hub.tries)
    assert set(whole_versions(root)) == {"acme/helmet:1", "acme/helmet:2", "acme/helmet:3"}
    assert not list((root / "models").rglob("*.damaged"))
    return life


@asynccontextmanager
async def _running(root: Path, hub: NodeHub) -> AsyncIterator[tuple[Steward, Callable[[], Awaitable[None]], EdgeTree]]:
    tree = EdgeTree(root, nouns)
    tree.prepare()
    cache = Cache(root / "cache.db")
    shelf = NodeShelf(tree, cache)
    store = TreeStore(tree, cache, shelf.forget)
    steward = Steward(store, Orders(root), Watchers(), lent=shelf.lent)
    await steward.load()
    uplink = Uplink(steward, hub.connect, shelf, software="test node", jitter=lambda: 0.0)

    async def scrub() -> None:
        over = asyncio.Event()

        async def sleep(seconds: float) -> None:
            if seconds > 3_000:
                over.set()
                await asyncio.Event().wait()

        MarkFile(root / "scrub.mark").save(Mark(0.0))
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            task = group.create_task(Scrub(tree, steward.look, sleep=sleep).run())
            await over.wait()
            task.cancel()

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(steward.run()), group.create_task(uplink.run())]
            yield steward, scrub, tree
            for task in tasks:
                task.cancel()
    finally:
        store.stop()
        shelf.close()
        cache.close()


async def _until_active(steward: Steward, tree: EdgeTree, what: Published) -> None:
    async with asyncio.timeout(20):
        while True:
            news = steward.changed
            active = steward.active(STABLE)
            if active is not None and active.version == what.version and tree.active(STABLE) == what.version:
                return
            await news.wait()


# --- what lies there ---


def folder_of(root: Path, what: Published) -> Path:
    return root / "models/acme/helmet/versions" / what.version.folder_name


def turn(path: Path, at: int, bit: int) -> None:
    """Turns one bit of a file, whatever its mode."""
    mode = path.stat().st_mode
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1 << bit]))
    path.chmod(mode)


def turn_anywhere(path: Path, rng: random.Random) -> int:
    """Turns one bit of a file; at which byte."""
    at = rng.randrange(path.stat().st_size)
    turn(path, at, rng.randrange(8))
    return at


def data_of(path: Path) -> Iterator[int]:
    """The chunks of a staged file that have bytes."""
    for ordinal in range(CHUNKS):
        with path.open("rb") as file:
            file.seek(ordinal * STEP)
            if any(file.read(STEP)):
                yield ordinal


def turn_in_row(path: Path, rng: random.Random) -> str:
    """Turns one bit of one number or name in a row of the cache; returns where."""
    with sqlite3.connect(path) as connection:
        table, column = rng.choice(
            [
                ("source", "manifest"),
                ("source", "whole"),
                ("source", "id"),
                ("chunk", "digest"),
                ("chunk", "source"),
                ("chunk", "file"),
                ("chunk", "offset"),
                ("staged", "source"),
                ("staged", "ordinal"),
            ]
        )
        keys = {"source": "id", "chunk": "digest, source", "staged": "source, ordinal"}[table]
        rows = connection.execute(f"SELECT {keys}, {column} FROM {table}").fetchall()  # noqa: S608
        *key, value = rng.choice(rows)
        if isinstance(value, bytes):
            at = rng.randrange(len(value))
            value = value[:at] + bytes([value[at] ^ 1 << rng.randrange(8)]) + value[at + 1 :]
        else:
            value ^= 1 << rng.randrange(62)
        where = " AND ".join(f"{name} = ?" for name in keys.split(", "))
        with suppress(sqlite3.IntegrityError):
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (value, *key))  # noqa: S608
    connection.close()
    return f"{table}.{column}"


def turn_in_link(link: Path, rng: random.Random) -> None:
    """Turns one bit of what a link leads to; a name can't have every byte."""
    target = bytearray(str(link.readlink()).encode())
    while True:
        at, bit = rng.randrange(len(target)), rng.randrange(7)
        turned = bytes([*target[:at], target[at] ^ 1 << bit, *target[at + 1 :]])
        if b"\0" not in turned:
            break
    link.unlink()
    link.symlink_to(turned.decode())


def copy(source: Path, target: Path) -> Path:
    """A node's folder once more, holes and links kept."""
    shutil.copytree(source, target, symlinks=True)
    return target

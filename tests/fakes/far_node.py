"""A node with a real uplink, steward and store, a hub that gives, and a bad road between them, in simulated time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from edge_agent.activate import TreeStore
from edge_agent.orders import Orders
from edge_agent.shelf import NodeShelf
from edge_agent.steward import Steward
from edge_agent.uplink import Uplink
from edge_agent.watchers import Watchers
from modelsyncd.codec.registry import READABLE, Codec, encode
from modelsyncd.digest import Digest
from modelsyncd.errors import ModelsyncError
from modelsyncd.link.backoff import Backoff
from modelsyncd.link.pump import FrameStream, Pump, Word
from modelsyncd.manifest import pieces
from modelsyncd.names import ModelRef
from modelsyncd.session.events import Encoded
from modelsyncd.session.frames import PROTOCOL, Assignment, Desired, Hello, Part
from modelsyncd.session.session import Session
from modelsyncd.session.window import Window
from modelsyncd.store.cache import Cache
from modelsyncd.store.tree import EdgeTree
from modelsyncd.wire import nouns
from tests.fakes.link.frames import FrameRoad
from tests.fakes.versions import Published
from tests.fakes.world.clock import VirtualLoop

T = TypeVar("T")

WINDOW = 48 << 10  # bytes: what a small model's window is kept to
DISK = 0.002  # seconds until work in a thread begins


def small_window() -> Window:
    """A window of a few chunks, so that a small model meets many of them."""
    return Window(first=WINDOW, floor=WINDOW // 4, cap=WINDOW)


def in_virtual_time(main: Callable[[], Coroutine[Any, Any, T]], disk: float = DISK) -> T:
    """Runs it to its end; waiting takes no time. Raises StuckError when all wait for nothing."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(lambda: disk)) as runner:
        return runner.run(main())


def loop_time() -> float:
    """Now, on the loop's clock."""
    return asyncio.get_running_loop().time()


@dataclass
class GivingHub:
    """Gives a node what it has. `errors` is what ended its sessions."""

    has: dict[Digest, Published] = field(default_factory=dict)
    wanted: Desired = field(default_factory=lambda: Desired(0, ()))
    errors: list[ModelsyncError] = field(default_factory=list)
    sessions: int = 0
    given: list[tuple[Digest, Part, int]] = field(default_factory=list)
    codecs: frozenset[Codec] = READABLE

    def want(self, *versions: Published) -> None:
        """What every node should hold from the next session on."""
        for version in versions:
            self.has[version.version.manifest] = version
        assignments = tuple(Assignment(one.version.model, "stable", one.offer) for one in versions)
        self.wanted = Desired(self.wanted.generation + 1, assignments, keep=2)

    async def serve(self, stream: FrameStream) -> None:
        """One session."""
        self.sessions += 1

        def hear(word: Word) -> None:
            if isinstance(word, Hello):
                pump.say(self.wanted)

        pump = Pump(Session(Hello(PROTOCOL, "test hub", READABLE)), stream, giver=self, deliver=hear, clock=loop_time)
        try:
            await pump.run()
        except ModelsyncError as error:
            self.errors.append(error)

    async def load(
        self,
        manifest: Digest,
        part: Part,
        ordinals: Sequence[int],
        codecs: frozenset[Codec],
        bases: Sequence[Digest],
        *,
        rate: float = 0.0,
    ) -> Sequence[Encoded]:
        """These chunks."""
        await asyncio.sleep(0)
        version = self.has[manifest]
        chunks: Sequence[bytes | memoryview] = (
            pieces(version.manifest_bytes) if part is Part.MANIFEST else version.chunks
        )
        self.given += [(manifest, part, ordinal) for ordinal in ordinals]
        found = []
        for ordinal in ordinals:
            codec, payload = encode(chunks[ordinal], codecs)
            found.append(Encoded(ordinal, codec, bytes(payload)))
        return found


@dataclass
class FarNode:
    """A node at the other end of a road."""

    root: Path
    steward: Steward
    uplink: Uplink

    async def until_active(self, what: Published, seconds: float) -> float:
        """Returns when this version is active: the loop's time then. Raises TimeoutError."""
        ref = ModelRef(what.version.model, channel="stable")
        async with asyncio.timeout(seconds):
            while True:
                changed = self.steward.changed
                active = self.steward.active(ref)
                if active is not None and active.version == what.version:
                    return loop_time()
                await changed.wait()


@asynccontextmanager
async def far_node(
    root: Path,
    road: FrameRoad,
    *,
    seed: int = 1,
    window: Callable[[], Window] = small_window,
    backoff: Backoff | None = None,
) -> AsyncIterator[FarNode]:
    """A node on the files at `root` until the block ends."""
    rng = random.Random(seed)
    tree = EdgeTree(root, nouns)
    tree.prepare()
    cache = Cache(root / "cache.db")
    shelf = NodeShelf(tree, cache)
    steward = Steward(TreeStore(tree, cache, shelf.forget), Orders(root), Watchers(), jitter=rng.random)
    await steward.load()
    uplink = Uplink(
        steward,
        road.connect,
        shelf,
        software="far node",
        jitter=rng.random,
        clock=loop_time,
        window=window,
        backoff=backoff,
    )
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(steward.run()), group.create_task(uplink.run())]
            yield FarNode(root, steward, uplink)
            for task in tasks:
                task.cancel()
    finally:
        shelf.close()
        cache.close()

"""Whatever happens in whatever order, each thing that was published arrives once, and in order for each model."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.outbox.box import NodeOutbox
from edge_agent.outbox.words import Publication
from modelsyncd.digest import Digest
from modelsyncd.names import ModelName, parse_model
from modelsyncd.store.tree import EdgeTree
from modelsyncd.wire import nouns
from tests.fakes.hub_of_words import HubOfWords
from tests.fakes.node_life import here

MODELS = [parse_model(f"acme/{name}") for name in ("helmet", "vest")]


class World:
    """A node's outbox that may be killed, and a hub that may be away, refuse, or take what others publish, too."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root = root
        self.rng = random.Random(seed)
        self.hub = HubOfWords()
        self.stored: dict[ModelName, list[Digest]] = defaultdict(list)
        self.online = False
        self.now = 0.0
        self.box: NodeOutbox | None = None
        self.running: asyncio.Task[None] | None = None

    async def start(self, group: asyncio.TaskGroup) -> None:
        """A new process on the same files; what was in memory is gone."""
        if self.running is not None:
            self.running.cancel()
            await asyncio.wait([self.running])
        self.hub.offers.clear()
        self.online = False
        tree = EdgeTree(self.root, nouns)
        tree.prepare()
        self.box = NodeOutbox(
            self.root,
            tree,
            producer=lambda: "node/one",
            clock=lambda: self.now,
            wall=lambda: 1_000_000 + self.now,
            jitter=self.rng.random,
        )
        await self.box.load()
        self.running = group.create_task(self.box.run())

    async def rest(self) -> None:
        """Until everything that can happen by itself has."""
        for _ in range(30):
            await asyncio.sleep(0)

    @property
    def outbox(self) -> NodeOutbox:
        assert self.box is not None
        return self.box

    async def store(self) -> None:
        model = self.rng.choice(MODELS)
        origin = self.root.parent / "origin"
        content = self.rng.randbytes(3) if self.rng.random() < 0.8 else b"again"
        origin.write_bytes(content)
        stored = await self.outbox.store(Publication(origin, model))
        known = [manifest for manifest, _ in self.hub.releases.get(model, ())]
        if stored.manifest not in self.stored[model]:
            self.stored[model].append(stored.manifest)
        assert stored.known or stored.manifest in known or self.stored[model].count(stored.manifest) == 1

    async def withdraw(self) -> None:
        for item in self.outbox.items()[:1]:
            self.outbox.withdraw(item.id)
            model = item.publication.model
            if item.manifest not in [manifest for manifest, _ in self.hub.releases.get(model, ())]:
                self.stored[model].remove(item.manifest)

    async def connect(self) -> None:
        if not self.online:
            self.hub.connect(self.outbox)
            self.online = True

    async def cut(self) -> None:
        if self.online:
            self.hub.cut()
            self.online = False

    async def answer(self) -> None:
        if self.hub.offers:
            self.hub.answer(self.rng.randrange(len(self.hub.offers)))

    async def lose_the_answer(self) -> None:
        """The hub commits, and the link breaks before the node hears of it."""
        if self.hub.offers:
            try:
                self.hub.commit(self.hub.offers[0])
            except Exception:  # noqa: BLE001 - a refusal that nobody hears
                return
            finally:
                await self.cut()

    async def intrude(self) -> None:
        self.hub.intrude(self.rng.choice(MODELS))

    async def bar(self) -> None:
        self.hub.barred ^= {self.rng.choice(MODELS)}

    async def wait(self) -> None:
        self.now += self.rng.random() * 100
        self.outbox.kick()

    async def drain(self) -> None:
        """The hub is there, and lets everything happen that still waits."""
        self.hub.barred.clear()
        await self.connect()
        for _ in range(400):
            await self.rest()
            while self.hub.offers:
                await self.answer()
                await self.rest()
            if not self.outbox.items():
                return
            self.now += 100
            self.outbox.hasten()
        raise AssertionError(f"still waits: {self.outbox.items()}")

    def check(self) -> None:
        """Raises AssertionError unless each arrived once and in order."""
        for model in MODELS:
            arrived = [manifest for manifest, _ in self.hub.releases.get(model, ())]
            assert len(arrived) == len(set(arrived)), "a release was made twice"
            ours = [manifest for manifest in arrived if manifest in self.stored[model]]
            assert ours == self.stored[model], f"{model}: not in the order in which they were stored"


async def _live(root: Path, seed: int, steps: int) -> None:
    world = World(root / "node", seed)
    async with asyncio.TaskGroup() as group:
        await world.start(group)
        acts: list[Callable[[], Awaitable[None]]] = [
            *[world.store] * 4,
            *[world.connect] * 3,
            *[world.answer] * 6,
            *[world.bar] * 3,
            *(world.cut, world.lose_the_answer, world.intrude, world.wait, world.withdraw),
            lambda: world.start(group),
        ]
        for _ in range(steps):
            await world.rng.choice(acts)()
            if world.rng.random() < 0.7:
                await world.rest()
        await world.drain()
        assert world.running is not None
        world.running.cancel()
    world.check()


@pytest.mark.slow
@settings(max_examples=12)
@given(st.integers(0, 2**32), st.integers(10, 70))
def test_each_arrives_once_and_in_order_whatever_happens(seed: int, steps: int) -> None:
    with tempfile.TemporaryDirectory() as folder, patch.object(asyncio, "to_thread", here):
        asyncio.run(_live(Path(folder), seed, steps))

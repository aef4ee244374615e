"""A node whose wall clock and window are the test's: real steward, uplink and store, with a hub in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from edge_agent.activate import TreeStore
from edge_agent.orders import Orders
from edge_agent.shelf import NodeShelf
from edge_agent.steward import Steward
from edge_agent.uplink import Uplink
from edge_agent.usage import Usage
from edge_agent.watchers import Watchers
from modelsyncd.names import ModelRef
from modelsyncd.session.window import Window
from modelsyncd.store.cache import Cache
from modelsyncd.store.tree import EdgeTree
from modelsyncd.wire import nouns
from tests.fakes.node_hub import NodeHub
from tests.fakes.versions import STEP, Published

NOON = datetime(2026, 11, 4, 12, tzinfo=UTC)  # a Wednesday


@dataclass
class Node:
    root: Path
    hub: NodeHub
    wall: float = NOON.timestamp()
    window: int = 2 * STEP
    steward: Steward = field(init=False)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Node]:
        tree = EdgeTree(self.root, nouns)
        tree.prepare()
        cache = Cache(self.root / "cache.db")
        shelf = NodeShelf(tree, cache)
        steward = self.steward = Steward(
            TreeStore(tree, cache, shelf.forget),
            Orders(self.root),
            Watchers(),
            wall=lambda: self.wall,
            usage=Usage(self.root / "usage.json"),
            zone=UTC,
        )
        await steward.load()
        link = Uplink(
            steward,
            self.hub.connect,
            shelf,
            software="test node",
            jitter=lambda: 0.0,
            window=lambda: Window(first=self.window, floor=self.window, cap=self.window),
        )
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(steward.run()), group.create_task(link.run())]
                yield self
                for task in tasks:
                    task.cancel()
        finally:
            shelf.close()
            cache.close()

    def at(self, moment: datetime) -> None:
        """The wall clock is set, and the steward looks at it."""
        self.wall = moment.timestamp()
        self.steward.look()

    async def until_active(self, *wanted: Published) -> None:
        async with asyncio.timeout(20):
            for what in wanted:
                while True:
                    news = self.steward.changed
                    active = self.steward.active(ModelRef(what.version.model, channel="stable"))
                    if active is not None and active.version == what.version:
                        break
                    await news.wait()

"""A node that shows its versions to a model server: a real folder, and channels that the test switches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.activate import TreeStore
from edge_agent.layouts.keeper import Layouts
from edge_agent.layouts.settings import LayoutSettings, parse_layouts
from edge_agent.layouts.status import Standing
from edge_agent.watchers import Switch, Watchers
from modelsyncd.names import parse_ref
from modelsyncd.store.cache import Cache
from modelsyncd.store.tree import EdgeTree
from modelsyncd.store.version import Version
from modelsyncd.wire import nouns
from tests.fakes.shown_node import ShownNode

STABLE = parse_ref("acme/helmet@stable")


@dataclass
class LaidNode:
    """One layout on one node. `live` is one life of its agent; what lies in `data` and `folder` outlives it."""

    data: Path
    settings: LayoutSettings
    time: float = 0.0
    watchers: Watchers = field(default_factory=Watchers)
    store: TreeStore = field(init=False)
    layouts: Layouts = field(init=False)

    def __post_init__(self) -> None:
        tree = EdgeTree(self.data, nouns)
        tree.prepare()
        self.store = TreeStore(tree, Cache(self.data / "cache.db"))
        self._shown = ShownNode(self.store, self.data)

    @property
    def folder(self) -> Path:
        return self.settings.folder / "helmet"

    @property
    def standing(self) -> Standing:
        return self.layouts.standing(STABLE)

    @property
    def numbers(self) -> list[int]:
        """The version folders that a server sees."""
        return sorted(int(path.name) for path in self.folder.iterdir() if path.name.isdecimal())

    @property
    def spare(self) -> list[int]:
        """Those that go once their grace is over and nobody holds them."""
        return list(self.layouts._kept[str(STABLE)].spare)

    def switch(self, number: int, files: Mapping[str, bytes] | None = None) -> Version:
        """As the steward does it: what is active, then the word."""
        version = self._shown.put(number, files or {"model.onnx": b"%d" % number}, "stable")
        self.tell()
        return version

    def tell(self) -> None:
        active = self._shown.active(STABLE)
        assert active is not None
        self.watchers.tell(Switch(active, 0))

    @asynccontextmanager
    async def live(self) -> AsyncIterator[None]:
        """From start to kill."""
        self.layouts = Layouts(
            parse_layouts({"acme/helmet": self.settings}),
            self._shown,
            self.store.tree,
            self.watchers,
            self.store.leases,
            data=self.data,
            jitter=lambda: 0.0,
            clock=lambda: self.time,
        )
        async with asyncio.TaskGroup() as group:
            running = group.create_task(self.layouts.run())
            yield
            running.cancel()

    async def until(self, look: Callable[[], object]) -> None:
        """Returns once this is so."""
        async with asyncio.timeout(60):
            while True:
                changed = self.layouts.changed
                if look():
                    return
                await changed.wait()

    async def until_shown(self, version: Version) -> None:
        await self.until(lambda: self.standing.shown == version.folder_name)

    async def until_loaded(self, version: Version) -> None:
        await self.until(lambda: self.standing.loaded == version.folder_name)

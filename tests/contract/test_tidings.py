"""A query on a node finds at once what changed in the catalogue: a real hub, a node's own uplink and extract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cloud_hub import app, underway
from cloud_hub.indexing import Indexer
from edge_agent import extract_api
from edge_agent.activate import TreeStore
from edge_agent.extract_api import Extracting
from edge_agent.orders import Orders
from edge_agent.searching import find
from edge_agent.shelf import NodeShelf
from edge_agent.steward import Steward
from edge_agent.uplink import Uplink
from edge_agent.watchers import Watchers
from modelsyncd.link.channel import open_channel
from modelsyncd.link.pump import FrameStream
from modelsyncd.link.stream import open_session
from modelsyncd.names import ModelName
from modelsyncd.store.cache import Cache
from modelsyncd.store.extract import Extract
from modelsyncd.store.tree import EdgeTree
from modelsyncd.wire import nouns
from modelsyncd.wire.v1 import catalog_pb2, records_pb2, retention_pb2
from modelsyncd.wire.v1.records_pb2_grpc import RecordServiceStub
from modelsyncd.wire.v1.retention_pb2_grpc import RetentionServiceStub
from tests.fakes.hub import Hub, running_hub
from tests.fakes.publisher import publication

HELMET = "acme/helmet"


@dataclass
class Node:
    """A node that keeps an extract; `heard` is set whenever it was told all that it asked for."""

    extract: Extract
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    async def finds(self, query: str, numbers: list[int]) -> None:
        """Returns once a query finds these, and looks again only when the hub was heard."""
        async with asyncio.timeout(20):
            while await asyncio.to_thread(self._found, query) != numbers:
                await self.heard.wait()
                self.heard.clear()

    def _found(self, query: str) -> list[int]:
        found = find(self.extract, query, "number", limit=99, fields=[], readable=[HELMET], now=2e9).found
        return [one.release.number for one in found]


@asynccontextmanager
async def node_of(hub: Hub, root: Path) -> AsyncIterator[Node]:
    """A node that follows a channel which names nothing: no session and no Desired has it ask, only the hub's word."""
    me = await hub.node("n1")
    async with hub.catalog() as catalog:
        wanted = catalog_pb2.AssignmentView(model=HELMET, channel="stable", node="n1")
        await catalog.Assign(catalog_pb2.AssignRequest(assignment=wanted))
    tree = EdgeTree(root, nouns)
    tree.prepare()
    cache = Cache(root / "cache.db")
    shelf, node = NodeShelf(tree, cache), Node(Extract(root / "extract.db"))
    steward = Steward(TreeStore(tree, cache, shelf.forget), Orders(root), Watchers())
    await steward.load()

    def wall() -> float:
        node.heard.set()
        return 1.0

    extracting = Extracting(node.extract, steward, hub.address, jitter=lambda: 1.0, wall=wall)

    @asynccontextmanager
    async def connect() -> AsyncIterator[FrameStream]:
        async with open_channel(hub.address, me) as channel, open_session(channel, hub.address) as stream:
            with extracting.over(channel):
                yield stream

    link = Uplink(steward, connect, shelf, software="test node", jitter=lambda: 0.0, tidings=extracting.told)
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one.run()) for one in (steward, link, extracting)]
            while not steward.generation:  # from here on the hub knows what the node follows
                await steward.changed.wait()
            yield node
            for task in tasks:
                task.cancel()
    finally:
        for one in (shelf, cache, node.extract):
            one.close()


async def push(hub: Hub, number: int, channel: str = "") -> None:
    await hub.push(publication({"m.bin": bytes([number]) * 99}, number=number, channel=channel))


async def release(hub: Hub) -> None:
    await push(hub, 3)


async def move(hub: Hub) -> None:
    async with hub.catalog() as catalog:
        await catalog.Promote(catalog_pb2.PromoteRequest(ref=f"{HELMET}:1", channel="beta"))


async def record(hub: Hub) -> None:
    async with open_channel(hub.address, hub.admin()) as channel:
        number = records_pb2.Number(model=HELMET, number=1, name="precision", value=0.9, at=1.0, key=b"k")
        await RecordServiceStub(channel).RecordNumbers(records_pb2.RecordNumbersRequest(numbers=[number]))


async def collect(hub: Hub) -> None:
    async with open_channel(hub.address, hub.admin()) as channel:
        stub = RetentionServiceStub(channel)
        rule = retention_pb2.Retention(models=HELMET, newest=1)
        await stub.SetRetention(retention_pb2.SetRetentionRequest(retention=rule))
        assert [one.removed async for one in stub.Collect(retention_pb2.CollectRequest())][-1] == 1


@pytest.mark.parametrize(
    ("change", "query", "found"),
    [
        (release, "", [1, 2, 3]),
        (move, "channel = beta", [1]),
        (record, "metrics.precision > 0.8", [1]),
        (collect, "", [2]),
    ],
)
async def test_what_changed_without_a_move_of_a_followed_channel_is_found_at_once(
    change: Callable[[Hub], Awaitable[None]],
    query: str,
    found: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(extract_api, "SETTLE", 0.0)
    monkeypatch.setattr(app, "FOLLOW", 3_600.0)
    monkeypatch.setattr(underway, "REMEMBERED", -1.0)  # as if every push were over for an hour
    async with running_hub(tmp_path / "hub") as hub:
        await push(hub, 1)
        await push(hub, 2)
        async with node_of(hub, tmp_path / "node") as node:
            await node.finds("", [1, 2])
            await change(hub)
            await node.finds(query, found)


async def test_what_is_read_anew_in_the_background_is_told_of_once_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: asyncio.Queue[list[ModelName]] = asyncio.Queue()
    with monkeypatch.context() as earlier:
        earlier.setattr(Indexer, "index", lambda *_: None)
        async with running_hub(tmp_path) as hub:
            await push(hub, 1)
            await push(hub, 2)
            indexer = Indexer(hub.stores.catalog, hub.stores.contents, changed=lambda some: told.put_nowait([*some]))
            async with asyncio.timeout(20), asyncio.TaskGroup() as group:
                task = group.create_task(indexer.run())
                assert await told.get() == [ModelName("acme", "helmet")]
                assert not hub.stores.catalog.traits.stale(9, None)
                task.cancel()
    assert told.empty()

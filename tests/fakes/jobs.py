"""The jobs API as an agent serves it, on a real socket, over a store in memory that the test moves."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.jobs_api import JobsApi, bind_loopback
from edge_agent.orders import Orders
from edge_agent.steward import Steward
from edge_agent.watchers import Watch, Watchers
from modelsyncd.link.server import bind_unix, make_server, serving
from modelsyncd.names import ModelRef
from modelsyncd.wire.v1 import jobs_pb2_grpc
from tests.fakes.holdings import FakeHoldings, FakePump, desired, version


class CountedWatchers(Watchers):
    """Watchers that say when one has left."""

    def __init__(self) -> None:
        super().__init__()
        self.left = asyncio.Event()

    @contextmanager
    def watch(self, ref: ModelRef | None) -> Iterator[Watch]:
        try:
            with super().watch(ref) as watch:
                yield watch
        finally:
            self.left.set()


@dataclass
class JobsNode:
    """A node whose hub is the test."""

    socket: Path
    steward: Steward
    watchers: CountedWatchers
    holdings: FakeHoldings
    tcp: str = ""
    pump: FakePump = field(default_factory=FakePump)
    generation: int = 0

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while True:
                changed = self.steward.changed
                if condition():
                    return
                await changed.wait()

    def assign(self, *wanted: tuple[ModelRef, int]) -> None:
        """The hub says what the node should hold."""
        self.generation += 1
        self.steward.propose(desired(self.generation, *wanted))

    async def switch(self, ref: ModelRef, number: int) -> None:
        """The channel is led to this number, and the node follows; returns once it has."""
        which = version(ref.model, number)
        self.assign((ref, number))
        await self.until(lambda: which.manifest in self.pump.taking or self.number(ref) == number)
        if which.manifest in self.pump.taking:
            self.pump.settle(self.holdings, which, self.steward.finished)
        await self.until(lambda: self.number(ref) == number)

    def number(self, ref: ModelRef) -> int:
        active = self.steward.active(ref)
        return active.number if active is not None else 0


@asynccontextmanager
async def jobs_node(folder: Path, holdings: FakeHoldings | None = None) -> AsyncIterator[JobsNode]:
    """A node that serves until the block ends; begun again over the same store, it is the same node restarted."""
    store, watchers = holdings or FakeHoldings(), CountedWatchers()
    steward = Steward(store, Orders(folder), watchers)
    await steward.load()
    server = make_server()
    jobs_pb2_grpc.add_JobsServiceServicer_to_server(JobsApi(steward, watchers), server)
    socket = folder / "agent.sock"
    bind_unix(server, socket, 0o660)
    tcp = bind_loopback(server, "127.0.0.1:0")
    async with serving(server, 0.1), asyncio.TaskGroup() as group:
        running = group.create_task(steward.run())
        node = JobsNode(socket, steward, watchers, store, tcp, generation=steward.generation)
        steward.attach(node.pump)
        yield node
        running.cancel()


@asynccontextmanager
async def short_folder() -> AsyncIterator[Path]:
    """A folder with a path that is short enough for a socket in it."""
    with tempfile.TemporaryDirectory(prefix="ms-") as name:
        yield Path(name)

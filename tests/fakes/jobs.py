"""The jobs API as an agent serves it, on a real socket, over a store in memory that the test moves."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.callers import Tokens
from edge_agent.doorkeeper import Doorkeeper, inner_socket
from edge_agent.inventory import Lying
from edge_agent.job_publishing import Publishing
from edge_agent.job_reading import Reading
from edge_agent.job_rights import Grant, Rights
from edge_agent.job_searching import Searching
from edge_agent.jobs_api import JobsApi, bind_loopback
from edge_agent.leases import Leases
from edge_agent.orders import Orders
from edge_agent.steward import Steward
from edge_agent.watchers import Watch, Watchers
from modelsyncd.link.server import bind_unix, make_server, serving
from modelsyncd.names import ModelName, ModelRef
from modelsyncd.store.extract import Extract
from modelsyncd.wire.v1 import jobs_pb2_grpc
from tests.fakes.holdings import FakeHoldings, FakePump, desired, version
from tests.fakes.outbox import FakeOutbox


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


@dataclass(frozen=True, slots=True)
class FakeFailed:
    number: int
    why: str
    at: float = 7.0


@dataclass(frozen=True, slots=True)
class FakeTrial:
    number: int
    seconds_left: float = 50.0


@dataclass
class FakeTrying:
    """edge_agent.trying.Trying; the test says what is tried."""

    trials: dict[ModelRef, FakeTrial] = field(default_factory=dict)
    failures: dict[ModelRef, FakeFailed] = field(default_factory=dict)
    heard: list[tuple[ModelRef, int, bool, str, str]] = field(default_factory=list)

    def confirm(self, ref: ModelRef, number: int, works: bool, why: str, who: str) -> bool:
        self.heard.append((ref, number, works, why, who))
        trial = self.trials.get(ref)
        if trial is None or trial.number != number:
            return False
        del self.trials[ref]
        if not works:
            self.failures[ref] = FakeFailed(number, why)
        return True

    def retry(self, ref: ModelRef) -> int:
        failed = self.failures.pop(ref, None)
        return failed.number if failed is not None else 0

    async def settled(self) -> None:
        """Nothing is kept here."""

    def trial(self, ref: ModelRef) -> FakeTrial | None:
        return self.trials.get(ref)

    def failed(self, ref: ModelRef) -> FakeFailed | None:
        return self.failures.get(ref)


@dataclass
class FakeInventory:
    """edge_agent.inventory.Inventory over a store in memory."""

    holdings: FakeHoldings

    def versions(self, model: ModelName) -> Sequence[Lying]:
        stock = self.holdings.stock
        here = sorted((one for one in stock.held | stock.damaged if one.model == model), key=lambda one: -one.number)
        folder = Path("/models") / str(model) / "versions"
        return [Lying(one, folder / str(one.number), 1_000, one in stock.held, self.holdings.variant) for one in here]

    def previous(self, ref: ModelRef) -> int:
        version = self.holdings.stock.previous.get(ref)
        return version.number if version is not None else 0


@dataclass
class JobsNode:
    """A node whose hub is the test."""

    socket: Path
    steward: Steward
    watchers: CountedWatchers
    holdings: FakeHoldings
    leases: Leases
    outbox: FakeOutbox
    trying: FakeTrying
    door: Doorkeeper
    tcp: str = ""
    pump: FakePump = field(default_factory=FakePump)
    generation: int = 0
    extract: Extract = field(init=False)

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
async def jobs_node(
    folder: Path, holdings: FakeHoldings | None = None, grants: Mapping[str, Grant] | None = None
) -> AsyncIterator[JobsNode]:
    """A node that serves until the block ends; begun again over the same store, it is the same node restarted."""
    store, watchers, leases = holdings or FakeHoldings(), CountedWatchers(), Leases()
    steward = Steward(store, Orders(folder), watchers, lent=lambda _: leases.manifests())
    await steward.load()
    rights, trying, outbox = Rights(grants), FakeTrying(), FakeOutbox()
    tokens = Tokens(rights.token_files)
    tokens.read()
    inventory, extract = FakeInventory(store), Extract(folder / "extract.db")
    reading = Reading(steward, watchers, leases, inventory=inventory, trying=trying, rights=rights)
    publishing = Publishing(outbox, rights, wall=lambda: 2_000.0)
    server, socket = make_server(), folder / "agent.sock"
    tcp = bind_loopback(server, "127.0.0.1:0")
    with inner_socket(folder / "door") as inner:
        door = Doorkeeper(inner, tokens)
        searching = Searching(extract, rights, wall=lambda: 2_000.0)
        api = JobsApi(door.who, rights, reading, publishing, trying, searching=searching)
        jobs_pb2_grpc.add_JobsServiceServicer_to_server(api, server)
        bind_unix(server, inner)
        async with door.open(socket, 0o660), serving(server, 0.1), asyncio.TaskGroup() as group:
            tasks = [group.create_task(steward.run()), group.create_task(publishing.run())]
            known = steward.generation
            node = JobsNode(socket, steward, watchers, store, leases, outbox, trying, door, tcp, generation=known)
            node.extract = extract
            steward.attach(node.pump)
            yield node
            for task in tasks:
                task.cancel()


async def eventually(condition: Callable[[], object]) -> None:
    """Returns once it is true, of something that gives no sign when it changes: looks again and again."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - a call that a client ended tells nobody
            await asyncio.sleep(0.01)


@asynccontextmanager
async def short_folder() -> AsyncIterator[Path]:
    """A folder with a path that is short enough for a socket in it."""
    with tempfile.TemporaryDirectory(prefix="ms-") as name:
        yield Path(name)

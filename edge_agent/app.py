"""The agent's program: reads its flags, puts the parts together, and keeps them running until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.activate import TreeStore
from edge_agent.callers import Tokens
from edge_agent.doorkeeper import Doorkeeper, inner_socket
from edge_agent.enrolment import Enrolment, ensure, identity, known
from edge_agent.extract_api import Extracting
from edge_agent.facts import NodeFacts
from edge_agent.flags import PROGRAM, flags, parse
from edge_agent.gates import parse_gates
from edge_agent.hooks import Hooks
from edge_agent.inventory import TreeInventory
from edge_agent.job_publishing import Publishing
from edge_agent.job_reading import Reading
from edge_agent.job_rights import Rights
from edge_agent.job_searching import Searching
from edge_agent.jobs_api import JobsApi, bind_loopback
from edge_agent.layouts.settings import parse_layouts
from edge_agent.lease_memory import LeaseMemory
from edge_agent.opened import opened
from edge_agent.orders import Orders
from edge_agent.outbox.box import NodeOutbox
from edge_agent.outbox.words import Outbox
from edge_agent.records_api import Recorder
from edge_agent.scrub import Scrub
from edge_agent.sedna.absent import NoSedna
from edge_agent.settings import DOOR, LOCK, Settings
from edge_agent.shelf import NodeShelf
from edge_agent.steward import Steward
from edge_agent.switching import Switching
from edge_agent.trial_file import TrialFile
from edge_agent.trying import Trying
from edge_agent.uplink import Uplink
from edge_agent.usage import FILE as USAGE
from edge_agent.usage import Usage
from edge_agent.verify import verify
from edge_agent.watchers import Watchers
from modelsyncd import __version__
from modelsyncd.daemon import loops
from modelsyncd.daemon.config import load
from modelsyncd.daemon.health import Health
from modelsyncd.daemon.lifetime import Lifetime, explain, run
from modelsyncd.daemon.log import Log, Style, setup
from modelsyncd.digest import Digest
from modelsyncd.errors import ConflictError, ModelsyncError
from modelsyncd.link import network
from modelsyncd.link.backoff import Backoff
from modelsyncd.link.channel import open_channel
from modelsyncd.link.congestion import Congestion
from modelsyncd.link.malloc import limit_arenas, raise_thresholds, trim
from modelsyncd.link.pump import FrameStream
from modelsyncd.link.reflection import add_reflection
from modelsyncd.link.server import bind_unix, make_server, serving
from modelsyncd.link.widening import Road, open_road
from modelsyncd.store import failpoints
from modelsyncd.store.durable import lock_folder
from modelsyncd.store.extract import Extract
from modelsyncd.trust.identity import Kind, Peer
from modelsyncd.wire.v1 import jobs_pb2_grpc

if TYPE_CHECKING:
    from grpc.aio import Channel

    from edge_agent.layouts.keeper import Layouts
    from edge_agent.sedna.service import Sedna

EXTRACT = "extract.db"
SOFTWARE = f"{PROGRAM}/{__version__}"
SERVICE = "modelsyncd.wire.v1.JobsService"
SOCKET_MODE = 0o660  # jobs join the agent's group (Group= in the unit); others see the files, not the API
HOUR = 3_600.0  # seconds between two questions to a hub that refuses
DAY = 86_400.0  # seconds: how often a certificate is looked at, at least
JITTER: Callable[[], float] = random.random  # spreads the retries of a fleet; no secret
FAREWELL = 1.0  # seconds for running calls of jobs when the agent stops: watches never end by themselves


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code (docs/exit-codes.md)."""
    options = parse(sys.argv[1:] if arguments is None else list(arguments))
    try:
        failpoints.arm_from(os.environ)
        if options.verb == "verify":
            return verify(options.data, sys.stdout.write, as_json=options.json)
        settings = load(Settings, options.config, flags(options))
    except ModelsyncError as error:
        sys.stderr.write(explain(PROGRAM, error))
        return error.exit_code
    setup(settings.log_level, Style(settings.log_format))
    return run(PROGRAM, partial(live, settings))


async def live(settings: Settings, lifetime: Lifetime) -> None:
    """The agent, until it is told to stop. Raises LockedError, DiskError, BadInputError, ConflictError, InviteError."""
    raise_thresholds()
    loops.offer_if_asked()
    limit_arenas()
    with lock_folder(settings.folder, LOCK):
        async with opened(settings) as (store, shelf):
            await _serve(settings, lifetime, store, shelf)


async def _serve(settings: Settings, lifetime: Lifetime, store: TreeStore, shelf: NodeShelf) -> None:
    watchers = Watchers()

    def lent(transfers: Iterable[Digest]) -> frozenset[Digest]:
        return shelf.lent(transfers) | store.leases.manifests()

    usage, recorder = Usage(settings.folder / USAGE), Recorder(settings.hub)
    outbox = NodeOutbox(
        settings.folder,
        store.tree,
        producer=partial(_producer, settings.folder),
        room=store.left,
        hand=recorder.hand,
        usage=usage,
        jitter=JITTER,
    )
    await outbox.load()
    store.besides = outbox.taken
    trying = Switching(store, watchers, TrialFile(settings.folder), parse_gates(settings.gate), Hooks(settings.hook))
    facts = NodeFacts(settings.facts)
    steward = Steward(
        store,
        Orders(settings.folder),
        watchers,
        keep=settings.keep,
        jitter=JITTER,
        relax=relax,
        lent=lent,
        usage=usage,
        switching=trying,
        facts=facts,
    )
    await steward.load()
    congestion = _congestion(settings)
    extracting = Extracting(extract := Extract(settings.folder / EXTRACT), steward, settings.hub, jitter=JITTER)
    connect = partial(_connect, settings, congestion, [recorder.over, extracting.over])
    uplink = Uplink(
        steward,
        connect,
        shelf,
        software=SOFTWARE,
        jitter=JITTER,
        outbox=outbox,
        facts=facts,
        tidings=extracting.told,
    )
    taken, quiet = lambda: store.disk()[1], partial(_quiet, steward)
    scrub = Scrub(store.tree, steward.look, rate=settings.scrub_bytes, size=taken, quiet=quiet)
    server, health = make_server(), Health([SERVICE])
    tokens = Tokens((rights := Rights(settings.rights)).token_files)
    await asyncio.to_thread(tokens.read)
    inventory = TreeInventory(store.tree)
    reading = Reading(steward, watchers, store.leases, inventory=inventory, trying=trying, rights=rights)
    publishing = Publishing(outbox, rights)
    sedna = _sedna(settings, steward, watchers, store, trying=trying, outbox=outbox)
    health.attach(server)
    add_reflection(server, [SERVICE, "grpc.health.v1.Health"])
    listening = bind_loopback(server, settings.jobs_listen) if settings.jobs_listen else None
    async with AsyncExitStack() as stack:
        inner = stack.enter_context(inner_socket(settings.folder / DOOR))
        door = Doorkeeper(inner, tokens)
        api = JobsApi(door.who, rights, reading, publishing, trying, searching=Searching(extract, rights))
        jobs_pb2_grpc.add_JobsServiceServicer_to_server(api, server)
        bind_unix(server, inner)
        await stack.enter_async_context(door.open(settings.socket_path, SOCKET_MODE))
        await stack.enter_async_context(serving(server, FAREWELL))
        await stack.enter_async_context(sedna.open())
        http = await stack.enter_async_context(_http(settings, steward, store, rights, tokens))
        group = await stack.enter_async_context(asyncio.TaskGroup())
        hurry = asyncio.Event()
        layouts = _layouts(settings, steward, watchers, store)
        told = [steward.hasten, outbox.hasten, uplink.hurry, hurry.set, sedna.again, tokens.again]
        told += [one.again for one in layouts]
        tasks = [
            group.create_task(LeaseMemory(settings.folder, store.leases, steward.look).run()),  # before any pruning
            group.create_task(steward.run()),
            group.create_task(publishing.run()),
            group.create_task(extracting.run()),
            group.create_task(outbox.run()),
            group.create_task(sedna.run()),
            *(group.create_task(one.run()) for one in layouts),
            group.create_task(scrub.run()),
            group.create_task(_belong(settings, hurry, uplink)),
            group.create_task(_heed(lifetime, told)),
            group.create_task(network.watch(uplink.hurry)),
        ]
        health.serving()
        Log().info(
            "agent.serving",
            version=__version__,
            socket=settings.socket_path,
            tcp=listening,
            http=http,
            hub=settings.hub,
        )
        lifetime.ready(f"serving jobs at {settings.socket_path}")
        relax()
        gc.freeze()  # what is here now stays: the collector need not look at it again
        await lifetime.stopping.wait()
        health.failing()
        for task in tasks:
            task.cancel()


@asynccontextmanager
async def _http(
    settings: Settings, steward: Steward, store: TreeStore, rights: Rights, tokens: Tokens
) -> AsyncIterator[str | None]:
    if not settings.http_listen:
        yield None
        return
    from edge_agent.http.face import read_only  # noqa: PLC0415 - most nodes have no use for it
    from edge_agent.http.server import serving_http  # noqa: PLC0415

    async with serving_http(read_only(steward, store.tree, store.leases, rights, tokens), settings.http_listen) as at:
        yield at


def _sedna(
    settings: Settings, steward: Steward, watchers: Watchers, store: TreeStore, *, trying: Trying, outbox: Outbox
) -> NoSedna | Sedna:
    if not settings.sedna.job:
        return NoSedna()
    from edge_agent.sedna.service import Sedna  # noqa: PLC0415 - most nodes have no use for it

    return Sedna(
        settings.sedna,
        settings.folder,
        channels=steward,
        trying=trying,
        watchers=watchers,
        leases=store.leases,
        outbox=outbox,
    )


def _layouts(settings: Settings, steward: Steward, watchers: Watchers, store: TreeStore) -> list[Layouts]:
    if not settings.layout:
        return []
    from edge_agent.layouts.keeper import Layouts  # noqa: PLC0415 - most nodes have no use for it

    wanted, tree, leases = parse_layouts(settings.layout), store.tree, store.leases
    return [Layouts(wanted, steward, tree, watchers, leases, data=settings.folder, jitter=JITTER)]


def _producer(folder: Path) -> str:
    """Who publishes from here. Raises ConflictError before the node was let in."""
    enrolment = known(folder)
    if enrolment is None:
        raise ConflictError("this node has no name yet", safe="what waits stays", hint="it is let in first")
    return str(Peer(Kind.NODE, enrolment.name))


async def _quiet(steward: Steward) -> None:
    """Returns once nothing travels."""
    while True:
        changed = steward.changed
        if not steward.fetching:
            return
        await changed.wait()


async def _heed(lifetime: Lifetime, told: Sequence[Callable[[], object]]) -> None:
    """SIGHUP means that somebody knows better: whoever waits for something tries now."""
    while True:
        await lifetime.reloading.wait()
        lifetime.reloading.clear()
        Log().info("agent.hastened")
        for hasten in told:
            hasten()


async def _belong(settings: Settings, hurry: asyncio.Event, uplink: Uplink) -> None:
    """Gets the node let in, keeps its certificate fresh, and keeps a session with the hub meanwhile."""
    enrolment = await _enrol(settings, hurry)
    async with asyncio.TaskGroup() as group:
        group.create_task(uplink.run())
        while True:
            due = HOUR if enrolment.problem is not None else min(DAY, max(1.0, enrolment.due - time.time()))
            await _pause(hurry, due)
            enrolment = await _enrol(settings, hurry)


async def _enrol(settings: Settings, hurry: asyncio.Event) -> Enrolment:
    """Asks until the node is let in. Raises what a first enrolment is refused with: somebody has to act.

    A node that was let in once goes on serving what it has, whatever the hub says now, and asks again.
    """
    backoff = Backoff(floor=1.0)
    while True:
        try:
            return await ensure(settings.folder, settings.hub, await settings.token(), time.time())
        except ModelsyncError as error:
            if not error.retryable and known(settings.folder) is None:
                raise
            Log().failure("enrolment.failed", error)
            retryable = error.retryable
        await _pause(hurry, backoff.next(JITTER()) if retryable else HOUR)


async def _pause(hurry: asyncio.Event, seconds: float) -> None:
    """Waits, but no longer than until somebody is in a hurry."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await hurry.wait()
    hurry.clear()


def _congestion(settings: Settings) -> Congestion:
    """Says once what our connections have, and what was wished and can't be had."""
    chosen = Congestion(settings.congestion)
    if chosen.problem:
        Log().warning("congestion.unset", why=chosen.problem, stays=chosen.name)
    else:
        Log().info("congestion.chosen", name=chosen.name)
    return chosen


@asynccontextmanager
async def _connect(
    settings: Settings, congestion: Congestion, users: Sequence[Callable[[Channel], AbstractContextManager[None]]]
) -> AsyncIterator[FrameStream]:
    """`users` may use the channel, too, as long as it is open."""
    me = await asyncio.to_thread(identity, settings.folder)  # read anew each time: it may have been renewed
    async with (
        open_channel(settings.hub, me) as channel,
        open_road(channel, Road(settings.hub, me, congestion, settings.lanes)) as stream,
    ):
        with ExitStack() as stack:
            for use in users:
                stack.enter_context(use(channel))
            yield stream


def relax() -> None:
    """Gives back the memory that a transfer took: most of it is a minute's need in a process that lives for months."""
    gc.collect()
    trim()


if __name__ == "__main__":
    sys.exit(main())

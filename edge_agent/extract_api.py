"""The only place that keeps a node's extract of the catalogue in step with the hub's, by what changed and no more.

It asks when a session begins, when the hub says that something changed about what the node follows, some time after the
hub said that the node should hold something else, and now and then. Nothing waits for it: what can't be asked now is
asked later, and queries are answered from what is there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import inf
from typing import TYPE_CHECKING, Protocol

import grpc

from modelsyncd.daemon.log import Log
from modelsyncd.errors import ModelsyncError
from modelsyncd.store.extract import Extract, KeptRelease
from modelsyncd.wire.status import translated
from modelsyncd.wire.traits import trait_from_pb
from modelsyncd.wire.v1 import extract_pb2 as pb
from modelsyncd.wire.v1 import extract_pb2_grpc

if TYPE_CHECKING:
    from modelsyncd.wire.v1.extract_pb2_grpc import ExtractServiceAsyncStub

EVERY = 900.0  # seconds between two questions when nothing seems to have happened
SETTLE = 2.0  # seconds in which the hub says all that a session begins with
SPREAD = 30.0  # seconds over which a fleet asks after a move: a hub says sooner that there is something to ask


class Followed(Protocol):
    """What says that the node should hold something else."""

    @property
    def changed(self) -> asyncio.Event:
        """Set at the next change of anything."""

    @property
    def generation(self) -> int:
        """Grows with what the hub wants the node to hold."""


class Extracting:
    """Belongs to the loop's thread."""

    def __init__(
        self,
        extract: Extract,
        followed: Followed,
        hub: str,
        *,
        jitter: Callable[[], float],
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`hub` is its address, for people; `jitter` gives numbers from 0 to 1."""
        self._extract = extract
        self._followed = followed
        self._hub = hub
        self._jitter = jitter
        self._wall = wall
        self._channel: grpc.aio.Channel | None = None
        self._linked = asyncio.Event()
        self._due = inf
        self._sooner = asyncio.Event()

    @contextmanager
    def over(self, channel: grpc.aio.Channel) -> Iterator[None]:
        """For as long as the block lasts, this is how the hub is reached."""
        self._channel = channel
        self._linked.set()
        self._due = inf  # whatever was told before, a session begins
        self._ask_at(time.monotonic() + SETTLE)
        try:
            yield
        finally:
            self._channel = None
            self._linked.clear()

    def told(self) -> None:
        """The hub says that something changed about what the node follows."""
        self._ask_at(time.monotonic())

    async def run(self) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_in_step())
            group.create_task(self._notice())

    async def _keep_in_step(self) -> None:
        log, told = Log(), ""
        while True:
            await self._linked.wait()
            await self._until_due()
            self._due = time.monotonic() + EVERY  # before asking: what comes meanwhile is asked about next
            try:
                await self._fetch()
                told = ""
            except ModelsyncError as error:
                if error.code != told:  # an older hub says the same each time
                    log.info("extract.waits", why=error.message)
                told = error.code

    def _ask_at(self, when: float) -> None:
        if when < self._due:
            self._due = when
            self._sooner.set()

    async def _until_due(self) -> None:
        while (left := self._due - time.monotonic()) > 0:
            self._sooner.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._sooner.wait()

    async def _notice(self) -> None:
        seen = self._followed.generation
        while True:
            changed = self._followed.changed
            if self._followed.generation != seen:
                seen = self._followed.generation
                self._ask_at(time.monotonic() + SETTLE + SPREAD * self._jitter())
            await changed.wait()

    async def _fetch(self) -> None:
        """Raises RoadError, RefusedError, DiskError."""
        channel = self._channel
        if channel is None:
            return
        marks = await asyncio.to_thread(self._extract.marks)
        stub: ExtractServiceAsyncStub = extract_pb2_grpc.ExtractServiceStub(channel)
        with translated(self._hub):
            async for part in stub.FetchExtract(pb.FetchExtractRequest(marks=marks)):
                await asyncio.to_thread(self._keep, part)
        await asyncio.to_thread(self._extract.heard, self._wall())

    def _keep(self, part: pb.FetchExtractResponse) -> None:
        if not part.model:
            self._extract.keep_only(set(part.followed))
            return
        if part.releases or part.anew:
            self._extract.put(part.model, map(_kept, part.releases), anew=part.anew)
        if part.mark:
            self._extract.mark(part.model, part.mark, part.channels)


def _kept(one: pb.ExtractRelease) -> KeptRelease:
    return KeptRelease(one.number, one.committed_at, one.who, [trait_from_pb(trait) for trait in one.traits])

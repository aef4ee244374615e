"""The only place where what jobs bring goes into the outbox: models, and numbers about them.

Whoever publishes has to be able to read what is published: the agent may read more than its callers, and must not
carry it out for them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from functools import partial

from edge_agent.callers import Caller
from edge_agent.job_rights import Right, Rights
from edge_agent.job_words import numbers_of, outgoing_pb, publication_of, stored_pb, way_pb
from edge_agent.outbox.words import Done, Item, Outbox, Publication, Stored
from edge_agent.readable import demand_same, look
from modelsyncd.daemon.log import Log
from modelsyncd.errors import ConflictError, NotFoundError, RefusedError
from modelsyncd.names import ModelRef
from modelsyncd.wire.v1 import jobs_pb2

Step = jobs_pb2.PublishResponse


class Publishing:
    """What jobs bring. All methods belong to the loop's thread; `run` owns what is under way."""

    def __init__(self, outbox: Outbox, rights: Rights, wall: Callable[[], float] = time.time) -> None:
        self._outbox = outbox
        self._rights = rights
        self._wall = wall
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Until it is cancelled; nothing is stored without it."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                await asyncio.Event().wait()
            finally:
                self._group = None

    async def publish(self, request: jobs_pb2.PublishRequest, caller: Caller) -> AsyncIterator[Step]:
        """How far it is, until it is stored, or until the hub has it. A caller who leaves before `stored` gives it up.

        Raises RefusedError, and what storing or the hub says.
        """
        wanted = publication_of(request, caller)
        self._rights.demand(caller, Right.PUBLISH, ModelRef(wanted.model, channel=wanted.channel or None))
        if self._group is None:
            raise ConflictError("the agent is stopping", safe="nothing was stored", hint="try again")
        storing = _Storing()
        task = self._group.create_task(storing.run(self._outbox, wanted, caller))
        try:
            async for step in storing.steps():
                yield step
        finally:
            task.cancel()
        stored = storing.result()
        Log().info("publish.stored", model=str(wanted.model), id=stored.id, user=wanted.user, bytes=stored.size)
        yield stored_pb(stored)
        if request.only_store:
            return
        async for way in self._outbox.follow(stored.id):
            yield way_pb(way)
            if isinstance(way, Done):
                return

    def outbox(self, caller: Caller) -> jobs_pb2.ListOutboxResponse:
        """What is not on the hub yet, of what the caller may know."""
        items = [outgoing_pb(item) for item in self._outbox.items() if self._may_see(item, caller)]
        return jobs_pb2.ListOutboxResponse(items=items, records=self._outbox.records)

    def withdraw(self, name: str, caller: Caller) -> bool:
        """Takes something out, and says whether it was being sent.

        Raises NotFoundError, ConflictError when the hub has it, RefusedError.
        """
        item = next((one for one in self._outbox.items() if one.id == name and self._may_see(one, caller)), None)
        if item is None:
            raise NotFoundError(f"there is no {name[:40]!r} in the outbox", hint="modelsyncctl outbox list")
        wanted = item.publication
        if not caller.owner and not (caller.known and wanted.user == caller.name):
            raise RefusedError(
                f"{name} was published by {wanted.user}, not by {caller.name}",
                safe="it stays in the outbox",
                hint=f"{wanted.user} or root may withdraw it",
            )
        on_its_way = self._outbox.withdraw(name)
        Log().info(
            "publish.withdrawn",
            model=str(wanted.model),
            id=name,
            user=caller.name,
            on_its_way=str(on_its_way).lower(),
        )
        return on_its_way

    def hasten(self, caller: Caller) -> None:
        """Tries at once what waits. Raises RefusedError for who has nothing in it."""
        if not any(self._may_publish(item, caller) for item in self._outbox.items()) and not caller.owner:
            raise RefusedError(f"{caller.name} has nothing in the outbox", hint="root may send what others published")
        self._outbox.hasten()

    async def record(
        self, request: jobs_pb2.RecordRequest, ref: ModelRef, number: int, caller: Caller, *, variant: str = ""
    ) -> None:
        """Keeps numbers. Raises RefusedError, BadInputError, DiskError."""
        self._rights.demand(caller, Right.RECORD, ref)
        await self._outbox.record(numbers_of(request, ref.model, number, self._wall(), variant=variant))

    def _may_see(self, item: Item, caller: Caller) -> bool:
        return self._rights.may(caller, Right.READ, _ref(item.publication)) or item.publication.user == caller.name

    def _may_publish(self, item: Item, caller: Caller) -> bool:
        return self._rights.may(caller, Right.PUBLISH, _ref(item.publication))


def _ref(wanted: Publication) -> ModelRef:
    return ModelRef(wanted.model, channel=wanted.channel or None)


class _Storing:
    """One publication on its way into the outbox; the newest word of how far it is waits for whoever listens."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._far: tuple[int, int] | None = None
        self._stored: Stored | None = None
        self._error: Exception | None = None

    async def run(self, outbox: Outbox, wanted: Publication, caller: Caller) -> None:
        """Never raises but when it is cancelled: `result` does."""
        try:
            before = await asyncio.to_thread(look, wanted.path, caller)
            check = partial(demand_same, wanted.path, caller, before)
            self._stored = await outbox.store(wanted, self._tell, check)
        except Exception as error:  # noqa: BLE001 - the outermost frame of a task; the one who waits raises it
            self._error = error
        finally:
            self._news.set()

    async def steps(self) -> AsyncIterator[Step]:
        """How far it is, until it is stored or failed."""
        while True:
            await self._news.wait()
            self._news.clear()
            if self._error is not None or self._stored is not None:
                return
            if self._far is not None:
                done, total = self._far
                yield Step(reading=jobs_pb2.PublishReading(bytes_done=done, bytes_total=total))

    def result(self) -> Stored:
        """What came of it. Raises why nothing did."""
        if self._error is not None:
            raise self._error
        if self._stored is None:
            raise ConflictError("the agent is stopping", safe="nothing was stored", hint="try again")
        return self._stored

    def _tell(self, done: int, total: int) -> None:
        """May be called by any thread."""
        self._far = (done, total)
        self._loop.call_soon_threadsafe(self._news.set)

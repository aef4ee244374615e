"""The client for asyncio programs; each method does what `blocking.Client`'s does."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import grpc
import grpc.aio

from modelsyncd.client import asking
from modelsyncd.client.aiogrip import AsyncGrip, begin_with
from modelsyncd.client.answer import (
    Publishing,
    error_of,
    findings,
    is_gone,
    listed,
    model_of,
    no_agent,
    outbox_of,
    shown,
)
from modelsyncd.client.asking import Parent
from modelsyncd.client.finding import Findings
from modelsyncd.client.grip import PAUSE
from modelsyncd.client.model import LocalModel, Model, Shown
from modelsyncd.client.outgoing import Outbox, Published, Watcher
from modelsyncd.client.target import OPTIONS, REPLY_SECONDS, deadline_of, metadata_of, resolve, seconds_of
from modelsyncd.errors import ConflictError, ModelsyncError
from modelsyncd.wire.v1 import jobs_pb2, jobs_pb2_grpc

T = TypeVar("T")


class AsyncClient:
    """The agent of this machine. Make it inside the running loop; an asynchronous context manager.

    `acquire` and `follow` need `async with`, which owns what keeps the hold.

    >>> async with AsyncClient() as agent:
    ...     async with agent.acquire("acme/helmet@stable") as model:
    ...         print(model.number)
    1
    """

    def __init__(self, target: str | Path | None = None, *, token: str = "") -> None:
        self.target = resolve(target)
        self._metadata = metadata_of(token)
        self._channel = grpc.aio.insecure_channel(self.target, options=OPTIONS)
        self._jobs = jobs_pb2_grpc.JobsServiceStub(self._channel)
        self._closed = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self._grips: set[AsyncGrip] = set()

    # --- what is here ---

    async def list(self) -> list[LocalModel]:
        """The channels that this machine follows, by name. Raises RoadError when no agent answers."""
        answer = await self._ask(self._jobs.List, jobs_pb2.ListRequest())
        return [listed(message) for message in answer.models]

    async def get(self, ref: str, wait: float | None = None) -> Model:
        """What is active now, or within `wait` seconds. Raises NotFoundError, InvalidNameError, RoadError."""
        seconds = seconds_of(wait)
        request = jobs_pb2.GetRequest(ref=ref, wait_seconds=seconds)
        try:
            answer = await self._jobs.Get(
                request, timeout=deadline_of(seconds), wait_for_ready=seconds > 0, metadata=self._metadata
            )
        except grpc.RpcError as error:
            raise error_of(error, self.target) from error
        return model_of(answer.active)

    async def show(self, ref: str) -> Shown:
        """All that is known here of one channel. Raises NotFoundError, RoadError."""
        return shown(await self._ask(self._jobs.Show, jobs_pb2.ShowRequest(ref=ref)))

    async def find(self, query: str = "", *, sort: str = "", limit: int = 100, fields: Iterable[str] = ()) -> Findings:
        """Releases for which a query is true, of the models that this machine follows. Raises BadInputError."""
        return findings(await self._ask(self._jobs.Find, asking.find(query, sort, limit, fields)))

    # --- holding on to it, and hearing of what is new ---

    @asynccontextmanager
    async def acquire(self, ref: str, wait: float | None = None, *, holder: str = "") -> AsyncIterator[Model]:
        """What is active, held until the block ends. Raises NotFoundError, InvalidNameError, RoadError."""
        grip = self._grip(ref, seconds_of(wait), holder, once=True)
        try:
            yield await grip.first(seconds_of(wait))
        finally:
            self._release(grip)

    async def follow(self, ref: str, *, holder: str = "") -> AsyncGenerator[Model, None]:
        """What is active now, and then each switch, for ever: each is held until the one after it was asked for."""
        holds: list[AsyncGrip] = []  # at most two: what is in use, and what is told of next
        told: Model | None = None
        try:
            while not self._closed.is_set():
                holds.append(self._grip(ref, inf, holder, also=told.number if told else 0))
                model = await holds[-1].next()
                while len(holds) > 1:
                    self._release(holds.pop(0))
                while told is not None and (model.manifest, model.release) == (told.manifest, told.release):
                    model = await holds[-1].next()
                told = model
                yield model
        except ModelsyncError:
            if not self._closed.is_set():
                raise
        finally:
            for hold in holds:
                self._release(hold)

    async def watch(self, ref: str = "") -> AsyncGenerator[Model, None]:
        """What is active now, and then each switch, for ever; empty for all channels. Raises InvalidNameError."""
        last: dict[str, tuple[str, str]] = {}
        while not self._closed.is_set():
            heard = False
            call = self._jobs.Watch(jobs_pb2.WatchRequest(ref=ref), wait_for_ready=True, metadata=self._metadata)
            try:
                async for event in call:
                    heard = True
                    model = model_of(event.active, event.previous)
                    if last.get(model.ref) != (model.manifest, model.release):
                        last[model.ref] = (model.manifest, model.release)
                        yield model
            except grpc.RpcError as error:
                if self._closed.is_set():
                    return
                if not is_gone(error):
                    raise error_of(error, self.target) from error
            finally:
                call.cancel()  # for a reader that went away in the middle
            if not heard:
                await self._pause()

    # --- saying whether it works ---

    async def confirm(self, model: Model | str, works: bool = True, why: str = "", *, number: int = 0) -> bool:
        """Says whether a version works; False when nobody waited for it."""
        return (await self._ask(self._jobs.Confirm, asking.confirm(model, works, why, number))).counted

    async def retry(self, ref: str) -> int:
        """Lets a version be tried again that failed here; its number, 0 when nothing had failed."""
        return (await self._ask(self._jobs.Retry, jobs_pb2.RetryRequest(ref=ref))).number

    # --- the way up ---

    async def publish(
        self,
        path: str | os.PathLike[str],
        model: str,
        *,
        parents: Iterable[Parent] = (),
        labels: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
        note: str = "",
        wait: bool = True,
        progress: Watcher | None = None,
    ) -> Published:
        """A folder or file becomes a release; returns when the hub has it, or without `wait` when it is stored here."""
        request = asking.publish(path, model, parents=parents, labels=labels, metrics=metrics, note=note, wait=wait)
        publishing = Publishing(model)
        call = self._jobs.Publish(request, metadata=self._metadata)
        try:
            async for message in call:
                step = publishing.hear(message)
                if step is not None and progress is not None:
                    progress(step)
        except grpc.RpcError as error:
            raise publishing.ended(error_of(error, self.target)) from error
        finally:
            call.cancel()  # for a `progress` that raised, and who waits no longer
        if publishing.result is None:
            raise no_agent(self.target)
        return publishing.result

    async def record(
        self,
        model: Model | str,
        metrics: Mapping[str, float],
        *,
        dataset: str = "",
        stage: str = "",
        at: float = 0.0,
        variant: str | None = None,
    ) -> int:
        """Keeps numbers about a release and brings them to the hub, once each; the release's number."""
        request = asking.record(model, metrics, dataset=dataset, stage=stage, at=at, variant=variant)
        return (await self._ask(self._jobs.Record, request)).number

    async def outbox(self) -> Outbox:
        """What waits to be published, what is on its way, and what was refused."""
        return outbox_of(await self._ask(self._jobs.ListOutbox, jobs_pb2.ListOutboxRequest()))

    async def withdraw(self, id: str) -> bool:  # noqa: A002
        """Takes something out of the outbox. True when it was being sent: the hub may have published it just then.

        Raises NotFoundError, ConflictError when the hub is known to have it.
        """
        return (await self._ask(self._jobs.Withdraw, jobs_pb2.WithdrawRequest(id=id))).on_its_way

    async def hasten(self) -> None:
        """Tries at once what waits in the outbox, also what was refused."""
        await self._ask(self._jobs.Hasten, jobs_pb2.HastenRequest())

    # --- the connection ---

    async def close(self) -> None:
        """Hangs up; watches end, and what is held is let go."""
        self._closed.set()
        for grip in list(self._grips):
            self._release(grip)
        await self._channel.close()

    async def _ask(self, method: Callable[..., Awaitable[T]], request: object) -> T:
        try:
            return await method(request, timeout=REPLY_SECONDS, metadata=self._metadata)
        except grpc.RpcError as error:
            raise error_of(error, self.target) from error

    def _grip(self, ref: str, wait: float, holder: str, *, once: bool = False, also: int = 0) -> AsyncGrip:
        if self._group is None or self._closed.is_set():
            raise ConflictError("this client is not open", hint="async with AsyncClient() as agent: …")
        request = jobs_pb2.AcquireRequest(ref=ref, wait_seconds=wait, holder=holder, once=once, also=also)
        grip = AsyncGrip(begin_with(self._jobs.Acquire, self._metadata), request, self.target)
        self._grips.add(grip)
        grip.start(self._group)
        return grip

    def _release(self, grip: AsyncGrip) -> None:
        self._grips.discard(grip)
        grip.release()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(PAUSE):
                await self._closed.wait()
        except TimeoutError:
            return

    async def __aenter__(self) -> AsyncClient:
        self._group = await asyncio.TaskGroup().__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        group, self._group = self._group, None
        try:
            await self.close()
        finally:
            if group is not None:
                await group.__aexit__(None, None, None)  # the block's own error is not one of its tasks'

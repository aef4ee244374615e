"""The only place where an asyncio program keeps hold of versions: a task that reads the call which is the lease.

As `grip.Grip`, without the thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from math import inf
from typing import Protocol, cast

import grpc
import grpc.aio

from modelsyncd.client.answer import acquired, error_of, is_gone, no_agent
from modelsyncd.client.grip import PAUSE
from modelsyncd.client.model import Model
from modelsyncd.client.target import deadline_of
from modelsyncd.errors import ModelsyncError
from modelsyncd.wire.v1 import jobs_pb2


class Call(Protocol):
    """A call that is under way."""

    def __aiter__(self) -> AsyncIterator[jobs_pb2.AcquireResponse]:
        """What the agent says."""

    def cancel(self) -> object:
        """Hangs up."""


Begin = Callable[[jobs_pb2.AcquireRequest, bool], Call]
"""Begins a call; waits for the agent when the second argument says so."""


class AsyncGrip:
    """A hold on what a channel leads to, from the first version that it tells of until `run` is cancelled."""

    def __init__(self, begin: Begin, request: jobs_pb2.AcquireRequest, target: str) -> None:
        self._begin = begin
        self._request = request
        self._target = target
        self._news = asyncio.Event()
        self._slot: Model | None = None
        self._error: ModelsyncError | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, group: asyncio.TaskGroup) -> None:
        """Begins to hold; the group owns it."""
        self._task = group.create_task(self._run())

    async def first(self, wait: float) -> Model:
        """The version that is active now, or within so many seconds. Raises what the agent says, RoadError."""
        try:
            async with asyncio.timeout(deadline_of(wait)):
                return await self.next()
        except TimeoutError:
            raise no_agent(self._target) from None

    async def next(self) -> Model:
        """The newest version that was told and not taken yet. Raises what the agent says."""
        while self._slot is None:
            if self._error is not None:
                raise self._error
            self._news.clear()
            await self._news.wait()
        model, self._slot = self._slot, None
        self._request.also = model.number  # what is in use now, should the agent restart
        return model

    def release(self) -> None:
        """Lets go."""
        if self._task is not None:
            self._task.cancel()
        self._error = self._error or no_agent(self._target)
        self._news.set()

    async def _run(self) -> None:
        patient = self._request.wait_seconds > 0
        while True:
            heard = False
            call = self._begin(self._request, patient)
            try:
                async for message in call:
                    heard = True
                    self._slot = acquired(message)
                    self._news.set()
            except grpc.RpcError as error:
                if not (is_gone(error) and (heard or patient)):
                    self._error = error_of(error, self._target)
                    self._news.set()
                    return
            finally:
                call.cancel()
            patient, self._request.wait_seconds = True, inf
            if not heard:
                await asyncio.sleep(PAUSE)


def begin_with(stub: Callable[..., object], metadata: tuple[tuple[str, str], ...]) -> Begin:
    """How a call to the agent is begun, by gRPC's stub of it."""
    return lambda request, patient: cast("Call", stub(request, wait_for_ready=patient, metadata=metadata))

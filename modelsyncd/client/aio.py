"""The client for asyncio programs; each method does what `blocking.Client`'s does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType

import grpc
import grpc.aio

from modelsyncd.client.answer import error_of, is_gone, listed, model_of
from modelsyncd.client.blocking import PAUSE
from modelsyncd.client.model import LocalModel, Model
from modelsyncd.client.target import OPTIONS, REPLY_SECONDS, deadline_of, resolve, seconds_of
from modelsyncd.wire.v1 import jobs_pb2, jobs_pb2_grpc


class AsyncClient:
    """The agent of this machine. Make it inside the running loop; an asynchronous context manager.

    async with AsyncClient() as agent:
        async for model in agent.watch("acme/helmet@stable"):
            await reload(model.path)
    """

    def __init__(self, target: str | Path | None = None) -> None:
        self.target = resolve(target)
        self._channel = grpc.aio.insecure_channel(self.target, options=OPTIONS)
        self._jobs = jobs_pb2_grpc.JobsServiceStub(self._channel)
        self._closed = asyncio.Event()

    async def list(self) -> list[LocalModel]:
        """The channels that this machine follows, by name. Raises RoadError when no agent answers."""
        try:
            answer = await self._jobs.List(jobs_pb2.ListRequest(), timeout=REPLY_SECONDS)
        except grpc.RpcError as error:
            raise error_of(error, self.target) from error
        return [listed(message) for message in answer.models]

    async def get(self, ref: str, wait: float | None = None) -> Model:
        """What is active now, or within `wait` seconds. Raises NotFoundError, InvalidNameError, RoadError."""
        seconds = seconds_of(wait)
        request = jobs_pb2.GetRequest(ref=ref, wait_seconds=seconds)
        try:
            answer = await self._jobs.Get(request, timeout=deadline_of(seconds), wait_for_ready=seconds > 0)
        except grpc.RpcError as error:
            raise error_of(error, self.target) from error
        return model_of(answer.active)

    async def watch(self, ref: str = "") -> AsyncIterator[Model]:
        """What is active now, and then each switch, for ever; empty for all channels. Raises InvalidNameError."""
        last: dict[str, tuple[int, str]] = {}
        while not self._closed.is_set():
            heard = False
            call = self._jobs.Watch(jobs_pb2.WatchRequest(ref=ref), wait_for_ready=True)
            try:
                async for event in call:
                    heard = True
                    model = model_of(event.active, event.previous)
                    if last.get(model.ref) != (model.number, model.release):
                        last[model.ref] = (model.number, model.release)
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

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(PAUSE):
                await self._closed.wait()
        except TimeoutError:
            return

    async def close(self) -> None:
        """Hangs up; watches end."""
        self._closed.set()
        await self._channel.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

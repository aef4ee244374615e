"""The client for ordinary programs: each call waits for its answer. `aio.AsyncClient` is the same for asyncio."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import grpc

from modelsyncd.client.answer import error_of, is_gone, listed, model_of
from modelsyncd.client.model import LocalModel, Model
from modelsyncd.client.target import OPTIONS, REPLY_SECONDS, deadline_of, resolve, seconds_of
from modelsyncd.wire.v1 import jobs_pb2, jobs_pb2_grpc

PAUSE = 0.2  # seconds between two watches when the first ended without a word: no busy loop whatever the agent does


class Client:
    """The agent of this machine. Safe to share between threads; a context manager that closes itself.

    `target` is a socket's path, "unix:PATH" or "HOST:PORT"; without one it is $MODELSYNCD_AGENT or the usual socket.
    Nothing is connected before the first call.

        with Client() as agent:
            print(agent.get("acme/helmet@stable").path)
    """

    def __init__(self, target: str | Path | None = None) -> None:
        self.target = resolve(target)
        self._channel = grpc.insecure_channel(self.target, options=OPTIONS)
        self._jobs = jobs_pb2_grpc.JobsServiceStub(self._channel)
        self._closed = threading.Event()

    def list(self) -> list[LocalModel]:
        """The channels that this machine follows, by name. Raises RoadError when no agent answers.

        >>> for local in agent.list():
        ...     print(local.ref, local.phase, local.active and local.active.path)
        """
        try:
            answer = self._jobs.List(jobs_pb2.ListRequest(), timeout=REPLY_SECONDS)
        except grpc.RpcError as error:
            raise error_of(error, self.target) from error
        return [listed(message) for message in answer.models]

    def get(self, ref: str, wait: float | None = None) -> Model:
        """What is active: "namespace/name@channel", or "namespace/name" for its channel "stable".

        Waits up to `wait` seconds for a first version, and for the agent itself; without it the answer comes at once.
        Raises NotFoundError (which names the nearest), InvalidNameError, RoadError when no agent answers.

        >>> agent.get("acme/helmet@stable", wait=30).path
        PosixPath('/var/lib/modelsync-agent/models/acme/helmet/versions/7-1f0c6e2d9b3a')
        """
        seconds = seconds_of(wait)
        request = jobs_pb2.GetRequest(ref=ref, wait_seconds=seconds)
        try:
            answer = self._jobs.Get(request, timeout=deadline_of(seconds), wait_for_ready=seconds > 0)
        except grpc.RpcError as error:
            raise error_of(error, self.target) from error
        return model_of(answer.active)

    def watch(self, ref: str = "") -> Iterator[Model]:
        """What is active now, and then each switch, for ever; empty for all channels.

        Restarts of the agent are waited out, and nothing is told twice. A slow reader misses switches between, never
        the newest. A model that is not here yet is waited for. Ends when the client is closed. Raises InvalidNameError.

        >>> for model in agent.watch("acme/helmet@stable"):
        ...     reload(model.path)
        """
        last: dict[str, tuple[int, str]] = {}
        while not self._closed.is_set():
            heard = False
            try:
                call = self._jobs.Watch(jobs_pb2.WatchRequest(ref=ref), wait_for_ready=True)
            except ValueError:  # how grpc answers a call on a channel that was closed meanwhile
                return
            try:
                for event in call:
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
                self._closed.wait(PAUSE)

    def close(self) -> None:
        """Hangs up; watches end."""
        self._closed.set()
        self._channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

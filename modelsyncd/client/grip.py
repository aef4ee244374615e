"""The only place where a program that blocks keeps hold of versions: a thread that reads the call which is the lease.

When the agent restarts, its leases are gone: the call is made again at once, and names the release that is in use, so
that it stays even if the channel leads to another one by then.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from math import inf
from typing import Protocol, cast

import grpc

from modelsyncd.client.answer import acquired, error_of, is_gone, no_agent
from modelsyncd.client.model import Model
from modelsyncd.client.target import deadline_of
from modelsyncd.errors import ModelsyncError
from modelsyncd.wire.v1 import jobs_pb2

PAUSE = 0.2  # seconds between two calls when the first ended without a word: no busy loop whatever the agent does


class Call(Protocol):
    """A call that is under way."""

    def __iter__(self) -> Iterator[jobs_pb2.AcquireResponse]:
        """What the agent says."""

    def cancel(self) -> object:
        """Hangs up."""


Begin = Callable[[jobs_pb2.AcquireRequest, bool], Call]
"""Begins a call; waits for the agent when the second argument says so. Raises ValueError when the client was closed."""


class Grip:
    """A hold on what a channel leads to, from the first version that it tells of until `release`."""

    def __init__(self, begin: Begin, request: jobs_pb2.AcquireRequest, target: str) -> None:
        self._begin = begin
        self._request = request
        self._target = target
        self._changed = threading.Condition()
        self._slot: Model | None = None
        self._error: ModelsyncError | None = None
        self._released = False
        self._call: Call | None = None
        self._thread = threading.Thread(target=self._read, name="modelsyncd-lease", daemon=True)
        self._thread.start()

    def first(self, wait: float) -> Model:
        """The version that is active now, or within so many seconds. Raises what the agent says, RoadError."""
        return self.next(deadline_of(wait))

    def next(self, seconds: float | None = None) -> Model:
        """The newest version that was told and not taken yet; it is held from before it was told.

        Raises what the agent says, and RoadError when nothing was told in time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._slot or self._error or self._released, seconds):
                raise no_agent(self._target)
            if self._slot is None:
                raise self._error or no_agent(self._target)
            model, self._slot = self._slot, None
            self._request.also = model.number  # what is in use now, should the agent restart
            return model

    def release(self) -> None:
        """Lets go."""
        with self._changed:
            self._released = True
            call = self._call
            self._changed.notify_all()
        if call is not None:
            call.cancel()

    def _read(self) -> None:
        patient = self._request.wait_seconds > 0
        while (call := self._call_again(patient)) is not None:
            heard = False
            try:
                for message in call:
                    heard = True
                    self._tell(acquired(message))
            except grpc.RpcError as error:
                if self._released or not (is_gone(error) and (heard or patient)):
                    self._fail(error_of(error, self._target))
                    return
            patient, self._request.wait_seconds = True, inf
            if not heard:
                with self._changed:
                    self._changed.wait_for(lambda: self._released, PAUSE)

    def _call_again(self, patient: bool) -> Call | None:
        with self._changed:
            if self._released:
                return None
            try:
                self._call = self._begin(self._request, patient)
            except ValueError:  # how grpc answers a call on a channel that was closed meanwhile
                self._released = True
                self._changed.notify_all()
                return None
            return self._call

    def _tell(self, model: Model) -> None:
        with self._changed:
            self._slot = model
            self._changed.notify_all()

    def _fail(self, error: ModelsyncError) -> None:
        with self._changed:
            self._error = error
            self._changed.notify_all()


def begin_with(stub: Callable[..., object], metadata: tuple[tuple[str, str], ...]) -> Begin:
    """How a call to the agent is begun, by gRPC's stub of it."""
    return lambda request, patient: cast("Call", stub(request, wait_for_ready=patient, metadata=metadata))

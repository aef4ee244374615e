"""The only place that says over gRPC whether a program serves: the standard health service, for it and each service.

Written here and not taken from grpcio-health-checking, whose asyncio servicer forgets all watchers of a service when
one of them leaves, and lets a watcher that does not read stop whoever changes the state. Its messages are used.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

OVERALL = ""
"""The name under which the program as a whole is asked for (grpc/doc/health-checking.md)."""

Request = health_pb2.HealthCheckRequest
Response = health_pb2.HealthCheckResponse


class Health(health_pb2_grpc.HealthServicer):
    """Answers for the whole program and for each of its services; nothing serves until it is said to."""

    def __init__(self, services: Sequence[str]) -> None:
        self._states: dict[str, int] = dict.fromkeys((OVERALL, *services), Response.NOT_SERVING)
        self._changed = asyncio.Event()

    def attach(self, server: grpc.aio.Server) -> None:
        """Adds the health service to a server that has not started."""
        health_pb2_grpc.add_HealthServicer_to_server(self, server)

    def serving(self, *services: str) -> None:
        """These serve from now on; with no name, all of them."""
        self._set(services, Response.SERVING)

    def failing(self, *services: str) -> None:
        """These do not serve from now on; with no name, none of them. For a program that stops, too."""
        self._set(services, Response.NOT_SERVING)

    async def Check(self, request: Request, context: grpc.aio.ServicerContext[Request, Response]) -> Response:  # noqa: N802
        """How a service is now; NOT_FOUND for one that is not here."""
        state = self._states.get(request.service)
        if state is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such service here")
        return Response(status=state)

    async def Watch(  # noqa: N802
        self, request: Request, context: grpc.aio.ServicerContext[Request, Response]
    ) -> AsyncIterator[Response]:
        """How a service is, now and after each change; states that nobody read in time are left out."""
        last = None
        while True:
            changed = self._changed
            state = self._states.get(request.service, Response.SERVICE_UNKNOWN)
            if state != last:
                yield Response(status=state)
                last = state
            await changed.wait()

    def _set(self, services: Sequence[str], state: int) -> None:
        for name in services or tuple(self._states):
            self._states[name] = state
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

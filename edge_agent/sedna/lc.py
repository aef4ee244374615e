"""The only place that speaks HTTP with Sedna's workers: one path, on loopback, as a LocalController has it.

A page in a browser can't post here: it would have to ask before it sends JSON elsewhere, and is not answered.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse
from starlette.routing import Route

from edge_agent.sedna.reports import BODY_BYTES
from edge_agent.sedna.users import owner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from edge_agent.sedna.controller import Controller

PATH = "/sedna/workers/{worker}/info"


def routes(controller: Controller, allowed: frozenset[int] = frozenset()) -> Sequence[BaseRoute]:
    """For a server. Only users with an `allowed` uid are answered; all of this machine when there is none."""

    async def info(request: Request) -> Response:
        if allowed and await asyncio.to_thread(_uid_of, request) not in allowed:
            return _answer(403, "this user may not report; [sedna] users in the agent's settings names who may")
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            return _answer(415, "a report is application/json")
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > BODY_BYTES:
                return _answer(413, f"a report may have {BODY_BYTES} bytes")
        status, said = await controller.answer(request.path_params["worker"], bytes(body))
        return JSONResponse(said, status)

    return [Route(PATH, info, methods=["POST"])]


def _uid_of(request: Request) -> int | None:
    client, server = request.scope.get("client"), request.scope.get("server")
    return owner(tuple(client), tuple(server)) if client and server else None


def _answer(status: int, message: str) -> Response:
    return JSONResponse({"Status": status, "Message": message}, status)

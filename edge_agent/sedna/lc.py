"""The only place that speaks HTTP with Sedna's workers: one path, on loopback, as a LocalController has it.

A page in a browser can't post here: it would have to ask before it sends JSON elsewhere, and is not answered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse
from starlette.routing import Route

from edge_agent.sedna.reports import BODY_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from edge_agent.sedna.controller import Controller

PATH = "/sedna/workers/{worker}/info"


def routes(controller: Controller) -> Sequence[BaseRoute]:
    """For a server."""

    async def info(request: Request) -> Response:
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


def _answer(status: int, message: str) -> Response:
    return JSONResponse({"Status": status, "Message": message}, status)

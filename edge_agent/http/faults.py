"""The only place that turns an error of ours into an answer over HTTP."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from modelsyncd.daemon.log import Log
from modelsyncd.errors import BadInputError, ModelsyncError, NotFoundError, RefusedError

Handler = Callable[[Request], Awaitable[Response]]
Headers = Callable[[ModelsyncError], Mapping[str, str]]


class AnsweredError(Exception):
    """An error of ours, and headers with which it is answered. No class of errors: those are known by their codes."""

    def __init__(self, error: ModelsyncError, headers: Mapping[str, str]) -> None:
        super().__init__(error.message)
        self.error = error
        self.headers = headers


def answering(headers: Headers = lambda _: {}) -> Callable[[Handler], Handler]:
    """Wraps a handler, so that what it raises becomes a status and the sentences of the error, as JSON."""

    def wrap(handler: Handler) -> Handler:
        @functools.wraps(handler)
        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except AnsweredError as answered:
                error, told = answered.error, answered.headers
                return JSONResponse(_body(error), _status(error), {**headers(error), **told})
            except ModelsyncError as error:
                if _status(error) >= 500:
                    Log().failure("http.failed", error, path=request.url.path[:200])
                return JSONResponse(_body(error), _status(error), dict(headers(error)))

        return answer

    return wrap


def _body(error: ModelsyncError) -> dict[str, object]:
    told = {"error": error.message, "code": error.code, "safe": error.safe, "hint": error.hint}
    return {name: text for name, text in told.items() if text}


def _status(error: ModelsyncError) -> int:
    match error:
        case NotFoundError():
            return 404
        case RefusedError():
            return 403
        case BadInputError():
            return 400
        case _:
            return 503

"""The only place that runs an HTTP server: on loopback, while a context is open. Importing it loads the library.

Programs of this machine need no password to read what its files show them anyway. A page that a browser shows could
ask, too, under a name of its own that leads to 127.0.0.1; so only requests for a loopback name are answered.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from modelsyncd.errors import BadInputError
from modelsyncd.link.address import is_loopback, join, split, why_not_tcp

if sys.modules.get("ssl", sys) is None:  # the program's door keeps it out, and uvicorn wants its names
    del sys.modules["ssl"]

try:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.responses import PlainTextResponse
except ImportError as error:
    raise BadInputError(
        f"serving HTTP needs a library that is not installed here: {error.name}",
        safe="nothing was started",
        hint="pip install 'modelsyncd[http]', or take the HTTP settings out",
    ) from error

if TYPE_CHECKING:
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Receive, Scope, Send

FAREWELL = 2  # seconds for requests under way when the agent stops
BACKLOG = 128


class _Server(uvicorn.Server):
    """Uvicorn's, without what an agent has already: signal handlers, and a clock that wakes it ten times a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()
        self.leaving = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    async def main_loop(self) -> None:
        await self.leaving.wait()
        self.should_exit = True


class _LoopbackNames:
    """Answers only requests whose Host is a name of this machine's own loopback."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not _is_ours(dict(scope["headers"]).get(b"host", b"").decode("latin-1")):
            refusal = PlainTextResponse("this is served to programs of this machine, as 127.0.0.1\n", 421)
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)


@asynccontextmanager
async def serving_http(routes: Sequence[BaseRoute], listen: str) -> AsyncIterator[str]:
    """Serves these routes at "127.0.0.1:PORT" until the context ends; gives the address with the port it got.

    Raises BadInputError for an address that others could reach, ConflictError when the port is taken.
    """
    host, port = split(listen)
    if not is_loopback(host):
        raise BadInputError(
            f"{listen[:80]!r} is reachable from other machines; HTTP is served to this one only",
            hint="use 127.0.0.1:PORT or [::1]:PORT",
        )
    with _bound(host, port, listen) as listener:
        app = Starlette(routes=list(routes), middleware=[Middleware(_LoopbackNames)])
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,  # it would be the date of the start: nothing here wakes up to renew it
            proxy_headers=False,
            timeout_graceful_shutdown=FAREWELL,
        )
        server = _Server(config)
        async with asyncio.TaskGroup() as group:
            group.create_task(server.serve([listener]))
            try:
                await server.up.wait()
                yield join(host, listener.getsockname()[1])
            finally:
                server.leaving.set()


@contextmanager
def _bound(host: str, port: int, listen: str) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(BACKLOG)
        except OSError as error:
            raise why_not_tcp(listen) from error
        yield listener


def _is_ours(host: str) -> bool:
    name = host if host.endswith("]") or ":" not in host else host.rpartition(":")[0]
    return is_loopback(name.strip("[]").lower())

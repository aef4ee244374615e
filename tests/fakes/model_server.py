"""A model server's V2 repository, as far as loading goes: it notes each question, and answers as the test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

REFUSED = b'HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n\r\n{"error": "no\\nsuch backend"}'
LOADED = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@dataclass
class ModelServer:
    """`asked` has the paths; while `stuck` is set, no answer comes; `refuses` so many times before it loads."""

    asked: list[str] = field(default_factory=list)
    refuses: int = 0
    stuck: bool = False
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            method, path, _ = head.split(b"\r\n")[0].decode().split(" ")
            assert method == "POST"
            self.asked.append(path)
            if self.stuck:
                await reader.read(-1)  # until whoever asked gives up
                return
            refused, self.refuses = self.refuses > 0, self.refuses - 1
            writer.write(REFUSED if refused else LOADED)
            await writer.drain()
        finally:
            writer.close()


@asynccontextmanager
async def model_server(port: int = 0) -> AsyncIterator[ModelServer]:
    """Serves until the context ends."""
    found = ModelServer()
    server = await asyncio.start_server(found.answer, "127.0.0.1", port)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
        await server.wait_closed()

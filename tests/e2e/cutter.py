"""A bad link: a TCP proxy that cuts each of its first connections after so many bytes, and lets later ones be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Cutter:
    """Counts bytes in both directions together."""

    def __init__(self, target: str, cuts: list[int]) -> None:
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._cuts = list(cuts)
        self.cut = 0
        """How many connections were cut."""
        self.address = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        budget = [self._cuts.pop(0) if self._cuts else 1 << 60]
        there_reader, there_writer = await asyncio.open_connection(self._host, self._port)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._copy(reader, there_writer, budget))
                group.create_task(self._copy(there_reader, writer, budget))
        except* (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            for end in (writer, there_writer):
                end.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, budget: list[int]) -> None:
        while data := await reader.read(65536):
            cut_before = budget[0] < 0  # by the other direction, which has counted it
            budget[0] -= len(data)
            if budget[0] < 0:
                self.cut += not cut_before
                raise ConnectionResetError
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError  # one side has ended: so does the other


@asynccontextmanager
async def cutting(target: str, cuts: list[int]) -> AsyncIterator[Cutter]:
    """A cutter before this address."""
    cutter = Cutter(target, cuts)
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with suppress(asyncio.CancelledError):
            await cutter.serve(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    cutter.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield cutter
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks) if tasks else None

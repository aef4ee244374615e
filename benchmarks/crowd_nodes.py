"""Many simulated nodes in one process: `python -m benchmarks.crowd_nodes MEMBERS.json ADDRESS LOG`; see `crowd`."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import grpc

from modelsyncd.codec.registry import READABLE
from modelsyncd.errors import ModelsyncError, first_of
from modelsyncd.link.attempt import outcome_of
from modelsyncd.link.backoff import Backoff
from modelsyncd.link.channel import open_channel
from modelsyncd.link.pump import FrameStream
from modelsyncd.link.stream import open_session
from modelsyncd.names import ModelName
from modelsyncd.session.frames import (
    FEATURES,
    PROTOCOL,
    Desired,
    Feature,
    Hello,
    Phase,
    Report,
    Standing,
    Tidings,
)
from modelsyncd.trust.identity import Identity
from modelsyncd.wire.status import translated
from modelsyncd.wire.v1 import extract_pb2, extract_pb2_grpc

if TYPE_CHECKING:
    from modelsyncd.wire.v1.extract_pb2_grpc import ExtractServiceAsyncStub

SETTLE = 2.0  # seconds from the beginning of a session to the first question, as an agent's


class Member:
    """One node."""

    def __init__(self, member: dict[str, str], address: str, log: TextIO) -> None:
        self._name = member["name"]
        self._me = Identity(member["key"].encode(), member["certificate"].encode(), member["authority"].encode())
        self._address = address
        self._log = log
        self._backoff = Backoff()
        self._marks: dict[str, str] = {}
        self._told = asyncio.Event()

    async def live(self) -> None:
        """Until the process ends."""
        await asyncio.sleep(random.random() * 5)  # a fleet is not switched on in one instant
        while True:
            outcome = await outcome_of(self._session)
            if outcome is not None and not isinstance(outcome, ModelsyncError):
                raise outcome
            await asyncio.sleep(self._backoff.next(random.random()))

    async def _session(self) -> None:
        failure: ModelsyncError | None = None
        async with open_channel(self._address, self._me) as channel, open_session(channel, self._address) as stream:
            try:
                async with asyncio.TaskGroup() as group:
                    asking = group.create_task(self._ask(channel))
                    await self._converse(stream)
                    asking.cancel()
            except* ModelsyncError as errors:
                failure = first_of(errors)
        if failure is not None:
            raise failure

    async def _converse(self, stream: FrameStream) -> None:
        await stream.write(Hello(PROTOCOL, "crowd", READABLE, features=FEATURES | {Feature.TIDINGS}))
        while (frame := await stream.read()) is not None:
            match frame:
                case Desired():
                    self._note("told")
                    self._backoff.reset()
                    standing = Standing(ModelName("bench", "crowd"), "stable", Phase.ACTIVE, 1, 0, 1)
                    await stream.write(Report(frame.generation, (standing,), 1 << 30, 1 << 20))
                case Tidings():
                    self._told.set()
                case _:
                    pass

    async def _ask(self, channel: grpc.aio.Channel) -> None:
        """What changed in the catalogue: when the session begins, and when the hub says so."""
        stub: ExtractServiceAsyncStub = extract_pb2_grpc.ExtractServiceStub(channel)
        await asyncio.sleep(SETTLE)
        while True:
            self._told.clear()
            with translated(self._address):
                async for part in stub.FetchExtract(extract_pb2.FetchExtractRequest(marks=self._marks)):
                    if part.mark:
                        self._marks[part.model] = part.mark
                    for one in part.releases:
                        self._note(f"found:{one.number}")
            await self._told.wait()

    def _note(self, what: str) -> None:
        self._log.write(f"{time.time()} {what} {self._name}\n")


async def main(members: list[dict[str, str]], address: str, log: Path) -> None:
    """All of them."""
    with log.open("a", buffering=1) as lines:
        async with asyncio.TaskGroup() as group:
            for member in members:
                group.create_task(Member(member, address, lines).live())


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2], Path(sys.argv[3])))

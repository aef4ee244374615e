"""Many simulated nodes in one process: `python -m benchmarks.crowd_nodes MEMBERS.json ADDRESS LOG`; see `crowd`."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from pathlib import Path
from typing import TextIO

from modelsyncd.codec.registry import READABLE
from modelsyncd.errors import ModelsyncError
from modelsyncd.link.attempt import outcome_of
from modelsyncd.link.backoff import Backoff
from modelsyncd.link.channel import open_channel
from modelsyncd.link.stream import open_session
from modelsyncd.names import ModelName
from modelsyncd.session.frames import PROTOCOL, Desired, Hello, Phase, Report, Standing
from modelsyncd.trust.identity import Identity


async def live(member: dict[str, str], address: str, log: TextIO) -> None:
    """One node, until the process ends."""
    me = Identity(member["key"].encode(), member["certificate"].encode(), member["authority"].encode())
    backoff = Backoff()
    await asyncio.sleep(random.random() * 5)  # a fleet is not switched on in one instant

    async def session() -> None:
        async with open_channel(address, me) as channel, open_session(channel, address) as stream:
            await stream.write(Hello(PROTOCOL, "crowd", READABLE))
            while (frame := await stream.read()) is not None:
                if isinstance(frame, Desired):
                    log.write(f"{time.time()} {frame.generation} {member['name']}\n")
                    backoff.reset()
                    standing = Standing(ModelName("bench", "crowd"), "stable", Phase.ACTIVE, 1, 0, 1)
                    await stream.write(Report(frame.generation, (standing,), 1 << 30, 1 << 20))

    while True:
        outcome = await outcome_of(session)
        if outcome is not None and not isinstance(outcome, ModelsyncError):
            raise outcome
        await asyncio.sleep(backoff.next(random.random()))


async def main(members: list[dict[str, str]], address: str, log: Path) -> None:
    """All of them."""
    with log.open("a", buffering=1) as lines:
        async with asyncio.TaskGroup() as group:
            for member in members:
                group.create_task(live(member, address, lines))


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2], Path(sys.argv[3])))

"""A node asks what changed in the catalogue at the beginning of each session: real gRPC, a real hub."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edge_agent import extract_api
from edge_agent.extract_api import Extracting
from modelsyncd.link.channel import open_channel
from modelsyncd.store.extract import Extract
from tests.fakes.hub import running_hub


@dataclass
class Quiet:
    """A node of which the hub wants nothing else."""

    generation: int = 1
    changed: asyncio.Event = field(default_factory=asyncio.Event)


async def test_a_node_asks_in_each_session_and_when_it_is_to_hold_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract_api, "SETTLE", 0.0)
    node, asked = Quiet(), asyncio.Semaphore(0)

    def heard() -> float:
        loop.call_soon_threadsafe(asked.release)
        return 5.0

    loop = asyncio.get_running_loop()
    extract = Extract(tmp_path / "extract.db")
    extracting = Extracting(extract, node, "hub", jitter=lambda: 0.0, wall=heard)
    async with running_hub(tmp_path / "hub") as hub, asyncio.timeout(60), asyncio.TaskGroup() as group:
        task = group.create_task(extracting.run())
        for _ in range(3):
            async with open_channel(hub.address, hub.admin()) as channel:
                with extracting.over(channel):
                    await asked.acquire()
        async with open_channel(hub.address, hub.admin()) as channel:
            with extracting.over(channel):
                await asked.acquire()
                before, node.changed = node.changed, asyncio.Event()
                node.generation += 1
                before.set()
                await asked.acquire()
        task.cancel()
    assert extract.heard_at == 5.0
    extract.close()

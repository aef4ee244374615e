"""What a herald hears and whom it tells, with sessions that come and go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from cloud_hub import herald as heralds
from cloud_hub.events import QUEUE, Bus, Moved, Released
from cloud_hub.herald import Herald
from modelsyncd.names import ModelName

RELEASED = Released(1.0, ModelName("acme", "helmet"), 1)
HELMET = frozenset({RELEASED.model})


@asynccontextmanager
async def telling(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Herald]:
    monkeypatch.setattr(heralds, "TICK", 0.0)
    herald = Herald(bus)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        task = group.create_task(herald.run())
        for _ in range(2):
            await asyncio.sleep(0)  # a turn of the loop for each task that begins: then it listens
        yield herald
        task.cancel()


async def test_of_two_sessions_of_one_node_the_newest_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    bus, older, newer = Bus(), asyncio.Event(), asyncio.Event()
    async with telling(bus, monkeypatch) as herald:
        with herald.hearing("n1", newer.set) as follow:
            follow(HELMET)
        first = herald.hearing("n1", older.set)
        follow_first = first.__enter__()
        with herald.hearing("n1", newer.set) as follow:
            follow(HELMET)
            follow_first(frozenset())
            first.__exit__(None, None, None)
            bus.publish(RELEASED)
            await newer.wait()
    assert not older.is_set()


async def test_when_more_happens_than_can_be_heard_everybody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    bus, told = Bus(), asyncio.Event()
    other = ModelName("acme", "glove")
    async with telling(bus, monkeypatch) as herald:
        with herald.hearing("n1", told.set) as follow:
            follow(HELMET)
            for _ in range(QUEUE + 1):
                bus.publish(Moved(1.0, other, "stable", 0, 1, "admin/ann", ""))
            bus.publish(RELEASED)
            await told.wait()

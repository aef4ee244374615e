"""What was held when an agent ended is held again when it begins, until those who held it have had time to ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge_agent.lease_memory import FILE, HOLDER, LeaseMemory
from edge_agent.leases import Leases
from modelsyncd.digest import digest_of
from modelsyncd.names import ModelName
from modelsyncd.store.version import Version
from tests.fakes.jobs import eventually

ONE, TWO = (Version(ModelName("acme", "helmet"), number, digest_of(bytes([number]))) for number in (1, 2))


@asynccontextmanager
async def agent(folder: Path, grace: float = 1_000.0) -> AsyncIterator[tuple[Leases, list[int]]]:
    leases, freed = Leases(), list[int]()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(LeaseMemory(folder, leases, lambda: freed.append(1), grace).run())
        await asyncio.sleep(0)
        yield leases, freed
        task.cancel()


async def test_what_was_held_is_held_again_from_the_first_moment(tmp_path: Path) -> None:
    async with agent(tmp_path) as (leases, _):
        leases.hold(ONE, "a job")
        with leases.hold(TWO):
            await eventually(lambda: (tmp_path / FILE).exists() and str(TWO.number) in (tmp_path / FILE).read_text())
        await eventually(lambda: TWO.manifest.hex() not in (tmp_path / FILE).read_text())
    async with agent(tmp_path) as (leases, freed):
        assert leases.held() == {ONE}
        assert leases.holders(ONE) == (HOLDER,)
        assert freed == []


async def test_it_is_let_go_when_nobody_has_asked_in_time(tmp_path: Path) -> None:
    async with agent(tmp_path) as (leases, _):
        leases.hold(ONE)
        await eventually((tmp_path / FILE).exists)
    async with agent(tmp_path, grace=0.01) as (leases, freed):
        await eventually(lambda: freed)
        assert leases.held() == frozenset()
        await eventually(lambda: (tmp_path / FILE).read_text() == "[]")


@pytest.mark.parametrize("text", ["", "{", "[1]", '[{"model": "x", "number": 1, "manifest": ""}]', "null", "[{}]"])
async def test_a_file_that_means_nothing_holds_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    async with agent(tmp_path) as (leases, _):
        assert leases.held() == frozenset()

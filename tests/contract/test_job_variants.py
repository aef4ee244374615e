"""What both clients tell a job of the variant that its node has, over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from modelsyncd.client import Model
from modelsyncd.errors import LimitError
from modelsyncd.names import ModelName, ModelRef
from tests.fakes.both_clients import CLIENTS, AnyClient
from tests.fakes.jobs import JobsNode, jobs_node, short_folder

HELMET = ModelRef(ModelName("acme", "helmet"), channel="stable")


@pytest.fixture
async def folder() -> AsyncIterator[Path]:
    async with short_folder() as path:
        yield path


@pytest.fixture
async def node(folder: Path) -> AsyncIterator[JobsNode]:
    async with jobs_node(folder) as served:
        await served.switch(HELMET, 1)
        yield served


@pytest.fixture(params=list(CLIENTS))
async def agent(request: pytest.FixtureRequest, node: JobsNode) -> AsyncIterator[AnyClient]:
    async with CLIENTS[str(request.param)](node.socket) as client:
        yield client


async def following(models: AsyncIterator[Model]) -> Model:
    async with asyncio.timeout(60):
        return await anext(models)


async def test_a_job_sees_which_variant_it_has_wherever_it_asks(node: JobsNode, agent: AnyClient) -> None:
    assert (await agent.get("acme/helmet")).variant == "default"
    node.holdings.variant, node.holdings.forms = "int8", 2
    await node.switch(HELMET, 2)
    models = agent.watch("acme/helmet")
    seen = [await agent.get("acme/helmet"), await following(models), (await agent.list())[0].active]
    await models.aclose()
    async with agent.acquire("acme/helmet") as model:
        assert [(one.number, one.variant, one.forms) for one in (model, *seen) if one] == [(2, "int8", 2)] * 4
    shown = await agent.show("acme/helmet")
    assert shown.versions[0].variant == "int8"
    assert shown.local.active is not None
    assert shown.local.active.variant == "int8"


async def test_numbers_are_about_the_variant_that_was_got_unless_somebody_says_another(
    node: JobsNode, agent: AnyClient
) -> None:
    alone = await agent.get("acme/helmet")
    node.holdings.variant, node.holdings.forms = "int8", 2
    await node.switch(HELMET, 2)
    model = await agent.get("acme/helmet")
    node.holdings.variant = "fp32"
    await node.switch(HELMET, 3)
    for about in (alone, model, "acme/helmet", "acme/helmet:2"):
        await agent.record(about, {"a": 1})
    await agent.record("acme/helmet:2", {"a": 1}, variant="int8")
    await agent.record("acme/helmet", {"a": 1}, variant="")
    await agent.record(model, {"a": 1}, variant="")
    await agent.record(replace(model, variant="", forms=0), {"a": 1})  # as an agent of before told of it
    with pytest.raises(LimitError):
        await agent.record(model, {"a": 1}, variant="v" * 257)
    told = [(one.number, one.variant) for one in node.outbox.numbers]
    assert told == [(1, ""), (2, "int8"), (3, "fp32"), (2, ""), (2, "int8"), (3, ""), (2, ""), (2, "")]

"""Jobs find their models over a real socket: at once, after a wait, and at each switch, with both clients."""

import asyncio
import math
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.job_words import channel_ref
from edge_agent.jobs_api import bind_loopback
from modelsyncd.client import AsyncClient, Client, Model
from modelsyncd.errors import BadInputError, ConflictError, DiskFullError, InvalidNameError, NotFoundError, RoadError
from modelsyncd.link.server import make_server
from modelsyncd.names import ModelName, ModelRef
from tests.fakes.holdings import FakeHoldings, version
from tests.fakes.jobs import JobsNode, jobs_node, short_folder

HELMET = ModelRef(ModelName("acme", "helmet"), channel="stable")
CANARY = ModelRef(ModelName("acme", "helmet"), channel="canary")
VEST = ModelRef(ModelName("acme", "vest"), channel="stable")


@pytest.fixture
async def folder() -> AsyncIterator[Path]:
    async with short_folder() as path:
        yield path


@pytest.fixture
async def node(folder: Path) -> AsyncIterator[JobsNode]:
    async with jobs_node(folder) as served:
        yield served


async def following(models: AsyncIterator[Model]) -> Model:
    async with asyncio.timeout(10):
        return await anext(models)


async def test_a_job_gets_the_path_of_what_is_active(node: JobsNode) -> None:
    await node.switch(HELMET, 3)
    async with AsyncClient(node.socket) as agent:
        model = await agent.get("acme/helmet@stable")
    assert (model.name, model.channel, model.number, model.ref) == ("acme/helmet", "stable", 3, "acme/helmet@stable")
    assert model.path == Path("/models/acme/helmet/versions/3")
    assert model.channel_path == Path("/models/acme/helmet/stable")
    assert model.manifest == "b3:" + version(HELMET.model, 3).manifest.hex()
    assert model.active_since == 5.0


async def test_the_channel_stable_is_meant_when_none_is_named(node: JobsNode) -> None:
    await node.switch(HELMET, 1)
    async with AsyncClient(node.socket) as agent:
        assert await agent.get("acme/helmet") == await agent.get("acme/helmet@stable")


async def test_an_unknown_model_is_an_error_that_names_the_nearest(node: JobsNode) -> None:
    await node.switch(HELMET, 1)
    async with AsyncClient(node.socket) as agent:
        with pytest.raises(NotFoundError) as caught:
            await agent.get("acme/helmt@stable")
    assert "acme/helmet@stable" in caught.value.hint


async def test_a_model_that_is_assigned_but_not_here_says_how_far_it_is(node: JobsNode) -> None:
    node.assign((HELMET, 1))
    await node.until(lambda: node.pump.taking)
    async with AsyncClient(node.socket) as agent:
        with pytest.raises(NotFoundError, match="fetching"):
            await agent.get("acme/helmet")


async def test_a_job_that_waits_is_answered_as_soon_as_the_first_version_is_here(node: JobsNode) -> None:
    async with AsyncClient(node.socket) as agent, asyncio.TaskGroup() as group:
        waiting = group.create_task(agent.get("acme/helmet", wait=math.inf))
        patient = group.create_task(agent.get("acme/helmet", wait=60))
        await node.switch(HELMET, 1)
        async with asyncio.timeout(10):
            assert (await waiting).number == (await patient).number == 1


async def test_a_wait_ends_with_the_reason_why_there_is_nothing(node: JobsNode) -> None:
    node.assign((HELMET, 1))
    node.holdings.broken["activate"] = DiskFullError("no room for a link")
    await node.until(lambda: node.pump.taking)
    node.pump.settle(node.holdings, version(HELMET.model, 1), node.steward.finished)
    await node.until(lambda: node.steward.standings()[0].fault)
    async with AsyncClient(node.socket) as agent:
        with pytest.raises(NotFoundError, match="no room for a link"):
            await agent.get("acme/helmet", wait=0.05)


@pytest.mark.parametrize("ref", ["helmet", "acme/Helmet", "acme/helmet@", "../etc@stable", ""])
async def test_a_name_that_is_none_is_refused(node: JobsNode, ref: str) -> None:
    async with AsyncClient(node.socket) as agent:
        with pytest.raises(InvalidNameError):
            await agent.get(ref)


async def test_a_number_is_refused_with_the_channel_to_ask_for(node: JobsNode) -> None:
    async with AsyncClient(node.socket) as agent:
        with pytest.raises(BadInputError) as caught:
            await agent.get("acme/helmet:3")
    assert caught.value.hint == "ask for acme/helmet@stable"


@pytest.mark.parametrize("wait", [-1.0, math.nan])
async def test_no_time_can_be_waited_backwards(node: JobsNode, wait: float) -> None:
    async with AsyncClient(node.socket) as agent:
        with pytest.raises(BadInputError):
            await agent.get("acme/helmet", wait=wait)


async def test_a_list_shows_what_is_assigned_and_what_is_active(node: JobsNode) -> None:
    await node.switch(HELMET, 2)
    node.assign((HELMET, 2), (VEST, 1))
    await node.until(lambda: VEST in node.steward.refs)
    async with AsyncClient(node.socket) as agent:
        helmet, vest = await agent.list()
    assert (helmet.ref, helmet.phase, helmet.desired) == ("acme/helmet@stable", "active", 2)
    assert helmet.active is not None
    assert helmet.active.number == 2
    assert (vest.ref, vest.desired, vest.active) == ("acme/vest@stable", 1, None)
    assert vest.phase in ("wanted", "fetching")


async def test_a_damaged_version_is_not_handed_out_until_it_is_mended(folder: Path) -> None:
    holdings, one = FakeHoldings(), version(HELMET.model, 1)
    holdings.hold(one)
    holdings.activate(HELMET, one)
    holdings.stock = replace(holdings.stock, held=frozenset())
    async with jobs_node(folder, holdings) as node, AsyncClient(node.socket) as agent:
        node.assign((HELMET, 1))
        with pytest.raises(NotFoundError):
            await agent.get("acme/helmet")
        with node.watchers.watch(HELMET) as watch:
            await node.until(lambda: one.manifest in node.pump.taking)
            node.pump.settle(holdings, one, node.steward.finished)
            assert (await agent.get("acme/helmet", wait=10)).number == 1
            async with asyncio.timeout(10):
                assert (await anext(aiter(watch))).active.number == 1


async def test_a_watch_begins_with_what_is_active_and_tells_each_switch(node: JobsNode) -> None:
    await node.switch(HELMET, 1)
    async with AsyncClient(node.socket) as agent:
        models = agent.watch("acme/helmet@stable")
        assert (await following(models)).number == 1
        await node.switch(HELMET, 2)
        second = await following(models)
        assert (second.number, second.previous) == (2, 1)
        await node.switch(HELMET, 1)
        assert (await following(models)).number == 1
        await models.aclose()


async def test_a_model_that_is_not_here_yet_is_watched_for(node: JobsNode) -> None:
    async with AsyncClient(node.socket) as agent, asyncio.TaskGroup() as group:
        first = group.create_task(following(agent.watch("acme/helmet")))
        await node.switch(HELMET, 1)
        assert (await first).number == 1


async def test_a_watch_of_all_tells_of_every_channel(node: JobsNode) -> None:
    await node.switch(HELMET, 1)
    async with AsyncClient(node.socket) as agent:
        models = agent.watch()
        assert (await following(models)).ref == "acme/helmet@stable"
        node.assign((HELMET, 1), (CANARY, 1))
        assert (await following(models)).ref == "acme/helmet@canary"
        await models.aclose()


async def test_a_watcher_that_does_not_read_keeps_nobody_waiting_and_finds_the_newest(node: JobsNode) -> None:
    await node.switch(HELMET, 1)
    for number in range(2, 30):
        node.holdings.hold(version(HELMET.model, number))
    async with AsyncClient(node.socket) as agent:
        models = agent.watch("acme/helmet")
        await following(models)
        for number in range(2, 30):
            await node.switch(HELMET, number)
        seen = 0
        while seen != 29:
            seen = (await following(models)).number
        await models.aclose()


async def test_a_watcher_that_leaves_is_forgotten(node: JobsNode) -> None:
    await node.switch(HELMET, 1)
    async with AsyncClient(node.socket) as agent:
        models = agent.watch("acme/helmet")
        await following(models)
        assert len(node.watchers) == 1
        await models.aclose()
        async with asyncio.timeout(10):
            await node.watchers.left.wait()
        assert len(node.watchers) == 0


async def test_a_watch_outlives_a_restart_of_the_agent_and_tells_nothing_twice(folder: Path) -> None:
    holdings = FakeHoldings()
    async with AsyncClient(folder / "agent.sock") as agent:
        models = agent.watch("acme/helmet")
        async with jobs_node(folder, holdings) as node:
            await node.switch(HELMET, 1)
            assert (await following(models)).number == 1
        async with jobs_node(folder, holdings) as node, asyncio.TaskGroup() as group:
            second = group.create_task(following(models))
            await node.switch(HELMET, 2)
            assert (await second).number == 2
        await models.aclose()


async def test_without_an_agent_the_error_names_the_socket_and_what_to_look_at(folder: Path) -> None:
    async with AsyncClient(folder / "nobody.sock") as agent:
        with pytest.raises(RoadError, match=r"nobody\.sock") as caught:
            await agent.list()
    assert "systemctl" in caught.value.hint


async def test_the_client_that_blocks_does_the_same(node: JobsNode) -> None:
    await node.switch(HELMET, 1)

    def job(target: str) -> list[int]:
        with Client(target) as agent:
            found = [agent.get("acme/helmet", wait=10).number, *(local.desired for local in agent.list())]
            with suppress(NotFoundError):
                agent.get("acme/other")
            models: Iterator[Model] = agent.watch("acme/helmet")
            found.append(next(models).number)
            return found

    assert await asyncio.to_thread(job, f"unix:{node.socket}") == [1, 1, 1]
    assert await asyncio.to_thread(job, node.tcp) == [1, 1, 1]


async def test_a_blocked_watch_outlives_a_restart_and_ends_when_its_client_is_closed(folder: Path) -> None:
    holdings = FakeHoldings()
    heard: list[int] = []
    news = asyncio.Event()
    loop = asyncio.get_running_loop()
    client = Client(folder / "agent.sock")

    def job() -> None:
        for model in client.watch("acme/helmet"):
            heard.append(model.number)
            loop.call_soon_threadsafe(news.set)

    async def told(number: int) -> None:
        async with asyncio.timeout(10):
            while heard[-1:] != [number]:
                news.clear()
                await news.wait()

    async with asyncio.TaskGroup() as group:
        watching = group.create_task(asyncio.to_thread(job))
        async with jobs_node(folder, holdings) as node:
            await node.switch(HELMET, 1)
            await told(1)
        async with jobs_node(folder, holdings) as node:
            await node.switch(HELMET, 2)
            await told(2)
            client.close()
            async with asyncio.timeout(10):
                await watching
    assert heard == [1, 2]


async def test_only_the_agents_group_may_open_its_socket(node: JobsNode) -> None:
    assert stat.S_IMODE(node.socket.stat().st_mode) == 0o660


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "192.0.2.1:0", "[::]:0", "example.org:0"])
async def test_jobs_of_other_machines_are_never_let_in(listen: str) -> None:
    with pytest.raises(BadInputError, match="reachable from other machines"):
        bind_loopback(make_server(), listen)


async def test_a_taken_port_is_named(node: JobsNode) -> None:
    with pytest.raises(ConflictError, match="taken"):
        bind_loopback(make_server(), node.tcp)


def test_a_channel_ref_without_a_channel_means_stable() -> None:
    assert channel_ref("acme/helmet") == HELMET
    assert channel_ref("acme/helmet@canary") == CANARY

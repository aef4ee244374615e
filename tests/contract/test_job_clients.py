"""What both clients promise a job, over a real socket: versions that stay, words that count, and the way up."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge_agent.job_rights import Grant
from modelsyncd.client import Model, Step
from modelsyncd.errors import (
    BadInputError,
    ConflictError,
    NotFoundError,
    RefusedError,
    RoadError,
    SourceChangedError,
)
from modelsyncd.names import ModelName, ModelRef
from tests.fakes.both_clients import CLIENTS, AnyClient
from tests.fakes.holdings import FakeHoldings, version
from tests.fakes.jobs import FakeFailed, FakeTrial, JobsNode, eventually, jobs_node, short_folder

HELMET = ModelRef(ModelName("acme", "helmet"), channel="stable")
ONE, TWO, THREE = (version(HELMET.model, number) for number in (1, 2, 3))


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
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def agent(node: JobsNode, kind: str) -> AsyncIterator[AnyClient]:
    async with CLIENTS[kind](node.socket) as client:
        yield client


async def following(models: AsyncIterator[Model]) -> Model:
    async with asyncio.timeout(60):
        return await anext(models)


async def held(node: JobsNode, *versions: object) -> None:
    """Returns once exactly these are held: a call that ended is noticed a moment later."""
    await eventually(lambda: node.leases.held() == set(versions))


@pytest.fixture
def trained(folder: Path) -> Path:
    path = folder / "trained"
    path.mkdir()
    (path / "weights.bin").write_bytes(b"w" * 1_000)
    return path


# --- holding ---


async def test_what_was_acquired_is_held_until_the_block_ends(node: JobsNode, agent: AnyClient) -> None:
    async with agent.acquire("acme/helmet@stable") as model:
        assert (model.number, model.trial) == (1, False)
        await held(node, ONE)
        await node.switch(HELMET, 2)
        await node.switch(HELMET, 3)
        assert node.leases.held() == {ONE}
        assert ONE in node.holdings.stock.held
    await held(node)
    await node.until(lambda: ONE not in node.holdings.stock.held)


async def test_a_holder_is_named_by_its_user_and_process_and_by_its_own_word(node: JobsNode, agent: AnyClient) -> None:
    async with agent.acquire("acme/helmet", holder="line 3"), agent.acquire("acme/helmet"):
        me = f"root/{os.getpid()}" if os.geteuid() == 0 else f"/{os.getpid()}"
        (shown,) = (await agent.show("acme/helmet")).versions
        assert [me in holder for holder in shown.holders] == [True, True]
        assert any(holder.startswith("line 3 (") for holder in shown.holders)


async def test_a_hold_outlives_the_agent_and_names_what_is_in_use(folder: Path, kind: str) -> None:
    holdings = FakeHoldings()
    async with CLIENTS[kind](folder / "agent.sock") as agent:
        async with jobs_node(folder, holdings) as node:
            await node.switch(HELMET, 1)
            acquired = agent.acquire("acme/helmet", wait=60)
            model = await acquired.__aenter__()
            await held(node, ONE)
            await node.switch(HELMET, 2)
        async with jobs_node(folder, holdings) as node:
            await held(node, ONE, TWO)  # what the job uses, and what is active now
            assert model.number == 1
            await acquired.__aexit__(None, None, None)
            await held(node)


async def test_a_job_that_follows_holds_what_it_uses_and_what_it_loads(node: JobsNode, agent: AnyClient) -> None:
    models = agent.follow("acme/helmet")
    assert (await following(models)).number == 1
    await held(node, ONE)
    await node.switch(HELMET, 2)
    assert (await following(models)).number == 2
    assert node.leases.held() == {ONE, TWO}
    async with asyncio.TaskGroup() as group:
        third = group.create_task(following(models))
        await held(node, TWO)
        await node.switch(HELMET, 3)
        assert (await third).number == 3
    await models.aclose()
    await held(node)


async def test_a_job_that_follows_misses_nothing_that_happens_while_it_loads(node: JobsNode, agent: AnyClient) -> None:
    models = agent.follow("acme/helmet")
    assert (await following(models)).number == 1
    await node.switch(HELMET, 2)
    await node.switch(HELMET, 3)
    seen = 0
    while seen != 3:
        seen = (await following(models)).number
    await models.aclose()


async def test_following_outlives_the_agent_and_tells_nothing_twice(folder: Path, kind: str) -> None:
    holdings = FakeHoldings()
    async with CLIENTS[kind](folder / "agent.sock") as agent:
        models = agent.follow("acme/helmet")
        async with jobs_node(folder, holdings) as node, asyncio.TaskGroup() as group:
            first = group.create_task(following(models))
            await node.switch(HELMET, 1)
            assert (await first).number == 1
        async with jobs_node(folder, holdings) as node, asyncio.TaskGroup() as group:
            second = group.create_task(following(models))
            await node.switch(HELMET, 2)
            assert (await second).number == 2
        await models.aclose()


async def test_nothing_can_be_acquired_that_is_not_here(node: JobsNode, agent: AnyClient) -> None:
    with pytest.raises(NotFoundError, match="does not follow"):
        async with agent.acquire("acme/helmut"):
            raise AssertionError
    with pytest.raises(NotFoundError, match="does not follow"):
        async with agent.acquire("acme/helmut", wait=0.05):
            raise AssertionError


async def test_what_comes_in_time_is_acquired(node: JobsNode, agent: AnyClient) -> None:
    vest = ModelRef(ModelName("acme", "vest"), channel="stable")
    acquired = agent.acquire("acme/vest", wait=60)
    async with asyncio.TaskGroup() as group:
        entering = group.create_task(acquired.__aenter__())
        await node.switch(vest, 4)
        assert (await entering).number == 4
    await acquired.__aexit__(None, None, None)


async def test_without_an_agent_nothing_is_acquired(folder: Path, kind: str) -> None:
    async with CLIENTS[kind](folder / "nobody.sock") as agent:
        with pytest.raises(RoadError, match=r"nobody\.sock"):
            async with agent.acquire("acme/helmet"):
                raise AssertionError


async def test_an_error_in_the_block_leaves_it_as_it_is_and_ends_the_hold(node: JobsNode, agent: AnyClient) -> None:
    with pytest.raises(KeyError):
        async with agent.acquire("acme/helmet"):
            raise KeyError("the job's own trouble")
    await held(node)


# --- trying ---


async def test_a_job_says_that_what_is_tried_works(node: JobsNode, agent: AnyClient) -> None:
    node.trying.trials[HELMET] = FakeTrial(1, 50.0)
    async with agent.acquire("acme/helmet") as model:
        assert (model.trial, model.trial_seconds) == (True, 50.0)
        assert (await agent.show("acme/helmet")).trial_seconds == 50.0
        assert await agent.confirm(model)
        assert not await agent.confirm(model)
    ((ref, number, works, why, who), _) = node.trying.heard
    assert (ref, number, works, why) == (HELMET, 1, True, "")
    assert who.endswith(f"/{os.getpid()}")


async def test_a_job_says_what_is_wrong_and_lets_it_be_tried_again(node: JobsNode, agent: AnyClient) -> None:
    node.trying.trials[HELMET] = FakeTrial(1)
    assert await agent.confirm("acme/helmet", works=False, why="shape\nis wrong", number=1)
    assert node.trying.failures == {HELMET: FakeFailed(1, "shape is wrong")}
    failure = (await agent.show("acme/helmet@stable")).failure
    assert failure is not None
    assert (failure.number, failure.why) == (1, "shape is wrong")
    assert await agent.retry("acme/helmet") == 1
    assert await agent.retry("acme/helmet") == 0


async def test_a_word_about_no_release_is_refused(node: JobsNode, agent: AnyClient) -> None:
    with pytest.raises(BadInputError, match="number"):
        await agent.confirm("acme/helmet", works=True)
    assert node.trying.heard == []


# --- the way up ---


async def test_a_folder_is_stored_and_then_published(node: JobsNode, agent: AnyClient, trained: Path) -> None:
    steps: list[Step] = []
    model = await agent.get("acme/helmet")
    async with asyncio.TaskGroup() as group:
        publishing = group.create_task(
            agent.publish(
                trained,
                "acme/helmet@canary",
                parents=[model, "acme/vest@stable", ("acme/vest:3", "distilled-from")],
                labels={"round": "3"},
                metrics={"map": 0.5},
                note="a word",
                progress=steps.append,
            )
        )
        await eventually(lambda: any(step.stage == "sending" for step in steps))
        (waiting,) = (await agent.outbox()).items
        assert (waiting.id, waiting.model, waiting.channel) == ("000001", "acme/helmet", "canary")
        assert (waiting.total, waiting.waits, waiting.refused) == (1_000, "the hub is away", False)
        node.outbox.travel("000001", 400)
        node.outbox.settle("000001", 8)
        done = await publishing
    assert (done.model, done.number, done.created, done.wire, done.id) == ("acme/helmet", 8, True, 500, "000001")
    assert [stage for stage in dict.fromkeys(step.stage for step in steps) if stage != "reading"] == [
        "stored",
        "sending",
    ]
    assert node.outbox.kept == {"000001": b"w" * 1_000}
    assert (await agent.outbox()).items == ()


async def test_what_is_only_stored_is_answered_at_once(node: JobsNode, agent: AnyClient, trained: Path) -> None:
    done = await agent.publish(trained / "weights.bin", "acme/helmet", wait=False)
    assert (done.id, done.size, done.number, done.known) == ("000001", 1_000, 0, False)
    again = await agent.publish(trained / "weights.bin", "acme/helmet", wait=False)
    assert (again.id, again.known) == ("000001", True)
    (item,) = node.outbox.items()
    assert item.publication.parents == ()
    await agent.withdraw("000001")
    with pytest.raises(NotFoundError, match="000001"):
        await agent.withdraw("000001")


async def test_what_the_hub_refuses_ends_the_call_with_its_word(
    node: JobsNode, agent: AnyClient, trained: Path
) -> None:
    stored = asyncio.Event()
    loop = asyncio.get_running_loop()

    def progress(step: Step) -> None:
        if step.stage == "stored":
            loop.call_soon_threadsafe(stored.set)

    async with asyncio.TaskGroup() as group:
        publishing = group.create_task(_refused(agent, trained, progress))
        async with asyncio.timeout(60):
            await stored.wait()
        node.outbox.refuse("000001", RefusedError("the hub lets this node publish nothing"))
        assert "publish nothing" in await publishing
    assert (await agent.outbox()).items[0].refused
    await agent.hasten()
    assert node.outbox.hastened == 1


async def _refused(agent: AnyClient, path: Path, progress: object) -> str:
    with pytest.raises(RefusedError) as caught:
        await agent.publish(path, "acme/helmet", progress=progress)  # type: ignore[arg-type]
    return caught.value.message


@pytest.mark.parametrize("model", ["helmet", "acme/helmet:3", ""])
async def test_only_a_model_can_be_published(node: JobsNode, agent: AnyClient, trained: Path, model: str) -> None:
    with pytest.raises(BadInputError):
        await agent.publish(trained, model)
    assert node.outbox.kept == {}


async def test_a_number_that_is_none_is_refused(node: JobsNode, agent: AnyClient, trained: Path) -> None:
    with pytest.raises(BadInputError):
        await agent.publish(trained, "acme/helmet", metrics={"loss": float("nan")})
    with pytest.raises(BadInputError):
        await agent.record("acme/helmet", {"loss": float("inf")})
    with pytest.raises(BadInputError):
        await agent.record("acme/helmet", {})


async def test_what_is_put_in_place_of_a_path_meanwhile_is_not_published(
    node: JobsNode, agent: AnyClient, trained: Path
) -> None:
    def swap() -> None:
        away = trained.rename(trained.with_name("away"))
        away.rename(trained)  # as before, to look at

    node.outbox.meanwhile = swap
    with pytest.raises(SourceChangedError):
        await agent.publish(trained, "acme/helmet", wait=False)
    assert node.outbox.kept == {}


async def test_numbers_are_kept_for_what_is_active_or_named(node: JobsNode, agent: AnyClient) -> None:
    model = await agent.get("acme/helmet")
    assert await agent.record("acme/helmet@stable", {"a": 1.5, "b": 2}, dataset="d", stage="eval", at=9.0) == 1
    assert await agent.record("acme/helmet:7", {"a": 3}) == 7
    assert await agent.record(model, {"a": 4}) == 1
    with pytest.raises(NotFoundError):
        await agent.record("acme/vest", {"a": 3})
    told = [(one.number, one.name, one.value, one.dataset, one.stage, one.at) for one in node.outbox.numbers]
    assert told == [
        (1, "a", 1.5, "d", "eval", 9.0),
        (1, "b", 2.0, "d", "eval", 9.0),
        (7, "a", 3.0, "", "", 2_000.0),
        (1, "a", 4.0, "", "", 2_000.0),
    ]
    assert (await agent.outbox()).records == 4


async def test_who_leaves_before_it_is_stored_gives_it_up(node: JobsNode, trained: Path) -> None:
    node.outbox.gate = asyncio.Event()
    begun = asyncio.Event()
    async with CLIENTS["async"](node.socket) as agent, asyncio.TaskGroup() as group:
        task = group.create_task(agent.publish(trained, "acme/helmet", progress=lambda _: begun.set()))
        async with asyncio.timeout(60):
            await begun.wait()
        task.cancel()
    await eventually(lambda: node.outbox.given_up)
    assert node.outbox.kept == {}


# --- tokens ---


@pytest.fixture
def token(folder: Path) -> Path:
    path = folder / "token"
    path.write_text("0123456789abcdef\n")
    return path


async def test_over_tcp_nobody_is_known_without_a_token(folder: Path, token: Path, kind: str, trained: Path) -> None:
    grants = {"line-3": Grant(publish=("acme/*",), token_file=token)}
    async with jobs_node(folder, grants=grants) as node:
        await node.switch(HELMET, 1)
        async with CLIENTS[kind](node.tcp) as nobody, CLIENTS[kind](node.tcp, token="a" * 16) as guessed:
            for agent in (nobody, guessed):
                model = await agent.get("acme/helmet")
                with pytest.raises(RefusedError, match="without a token"):
                    await agent.confirm(model)
                with pytest.raises(RefusedError, match="without a token"):
                    await agent.publish(trained, "acme/helmet")
        async with CLIENTS[kind](node.tcp, token="0123456789abcdef") as known:  # noqa: S106
            assert not await known.confirm(model)
            trained.parent.chmod(0o711)
            assert (await known.publish(trained, "acme/helmet", wait=False)).id == "000001"
            (trained / "weights.bin").chmod(0o600)
            with pytest.raises(RefusedError, match="line-3 may not read"):
                await known.publish(trained, "acme/helmet", wait=False)
            with pytest.raises(RefusedError, match="may not publish other/model"):
                await known.publish(trained, "other/model", wait=False)
        assert node.outbox.items()[0].publication.user == "line-3"


async def test_a_client_that_is_not_open_holds_nothing(node: JobsNode) -> None:
    agent = CLIENTS["async"](node.socket)
    with pytest.raises(ConflictError, match="not open"):
        async with agent.acquire("acme/helmet"):
            raise AssertionError
    await agent.close()
    assert THREE not in node.leases.held()

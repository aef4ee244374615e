"""What the hub's client promises a job in the cloud, both ways of calling it, against a real hub."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from modelsyncd import client
from modelsyncd.client import AsyncHubClient, HubClient
from modelsyncd.errors import BadInputError, ConflictError, InvalidNameError, NotFoundError, RoadError
from tests.e2e.processes import HubProgram
from tests.fakes.hub_clients import HUB_CLIENTS, AnyHub

T = TypeVar("T")
NAMES = itertools.count(1)


@pytest.fixture
def model() -> str:
    return f"cloud/model-{next(NAMES)}"


@pytest.fixture(params=list(HUB_CLIENTS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


Open = Callable[[], AnyHub]


@pytest.fixture
def opened(hub: HubProgram, kind: str, tmp_path: Path) -> Open:
    return lambda: HUB_CLIENTS[kind](f"hub:{hub.context}", cache=tmp_path / "cache")


@pytest.fixture
async def job(opened: Open) -> AsyncIterator[AnyHub]:
    async with opened() as found:
        yield found


def write(folder: Path, seed: int, size: int = 300_000) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "weights.bin").write_bytes(bytes([seed]) * size)
    (folder / "config.json").write_text(f'{{"seed": {seed}}}')
    return folder


async def following(steps: AsyncIterator[T]) -> T:
    async with asyncio.timeout(60):
        return await anext(steps)


async def test_what_is_published_is_got_whole_and_read_only(job: AnyHub, model: str, tmp_path: Path) -> None:
    source = write(tmp_path / "a", 1)
    done = await job.publish(source, f"{model}@stable", labels={"round": "1"}, metrics={"map": 0.5}, note="first")
    assert (done.number, done.created, done.size) == (1, True, 300_011)
    got = await job.get(model)
    assert (got.ref, got.number, got.manifest, got.release) == (f"{model}@stable", 1, done.manifest, done.release)
    assert (got.path / "weights.bin").read_bytes() == (source / "weights.bin").read_bytes()
    assert (got.path / "weights.bin").stat().st_mode & 0o777 == 0o444
    assert got.channel_path.resolve() == got.path
    assert got.labels == {"round": "1"}
    told = await job.release(f"{model}:1")
    assert (told.labels, told.metrics, told.note, told.producer) == (
        {"round": "1"},
        {"map": 0.5},
        "first",
        "admin/admin",
    )
    assert (await job.get(told)).path == got.path


async def test_the_same_content_is_published_once(job: AnyHub, model: str, tmp_path: Path) -> None:
    first = await job.publish(write(tmp_path / "a", 1), model)
    again = await job.publish(write(tmp_path / "b", 1), model)
    assert (again.number, again.created, again.release) == (1, False, first.release)


async def test_a_single_file_is_got_as_that_file(job: AnyHub, model: str, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"n" * 1_000)
    await job.publish(tmp_path / "net.onnx", f"{model}@stable")
    got = await job.get(model)
    assert (got.path.name, got.path.read_bytes()) == ("net.onnx", b"n" * 1_000)
    assert got.channel_path.read_bytes() == b"n" * 1_000


async def test_what_the_cache_has_does_not_travel_again(
    hub: HubProgram, job: AnyHub, model: str, tmp_path: Path
) -> None:
    random = os.urandom(2_000_000)
    folder = write(tmp_path / "a", 1)
    (folder / "frozen.bin").write_bytes(random)
    await job.publish(folder, f"{model}@stable")
    one = await job.get(model)
    (folder / "config.json").write_text("{}")
    done = await job.publish(folder, f"{model}@stable", parents=[one])
    assert done.wire < 20_000
    two = await job.get(model)
    assert (two.number, (two.path / "frozen.bin").read_bytes()) == (2, random)
    assert one.path.is_dir()
    assert (await job.release(model)).parents == (client.Ancestor(model, 1, "fine-tuned-from"),)


async def test_only_the_versions_used_last_are_kept_and_what_is_held(
    hub: HubProgram, kind: str, model: str, tmp_path: Path
) -> None:
    async with HUB_CLIENTS[kind](f"hub:{hub.context}", cache=tmp_path / "cache", keep=1) as job:
        for number in range(1, 5):
            await job.publish(write(tmp_path / "a", number), f"{model}@stable")
        first = await job.get(f"{model}:1")
        async with job.acquire(f"{model}:2") as second:
            assert not first.path.exists()
            third = await job.get(f"{model}:3")
            assert second.path.exists()
            await job.get(f"{model}:4")
            assert second.path.exists()
            assert not third.path.exists()
        assert {one.number for one in (await job.show(model)).versions} == {2, 4}
        stable = await job.get(model)
        await job.get(f"{model}:1")
        assert {one.number for one in (await job.show(model)).versions} == {1, 4}
        assert stable.path.exists()  # a channel leads to it


async def test_a_version_that_was_spoiled_in_its_shape_is_mended(job: AnyHub, model: str, tmp_path: Path) -> None:
    await job.publish(write(tmp_path / "a", 1), f"{model}@stable")
    one = await job.get(model)
    (one.path / "config.json").chmod(0o644)
    (one.path / "config.json").write_text("short")
    again = await job.get(model)
    assert again.path == one.path
    assert (again.path / "config.json").read_text() == '{"seed": 1}'


async def test_two_jobs_that_fetch_the_same_share_it(opened: Open, model: str, tmp_path: Path) -> None:
    async with opened() as one, opened() as two:
        await one.publish(write(tmp_path / "a", 1, 3_000_000), f"{model}@stable")
        async with asyncio.TaskGroup() as group:
            jobs = [group.create_task(each.get(model)) for each in (one, two, one, two)]
        assert len({job.result().path for job in jobs}) == 1


async def test_what_is_not_there_is_not_found(job: AnyHub, model: str, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        await job.get(model)
    with pytest.raises(NotFoundError):
        await job.get(model, wait=0.2)
    with pytest.raises(InvalidNameError):
        await job.get("Not A Name")
    with pytest.raises(BadInputError, match="for ever"):
        await anext(job.watch(f"{model}:3"))
    with pytest.raises(BadInputError, match="gives the number"):
        await job.publish(write(tmp_path / "a", 1), f"{model}:7")


async def test_what_comes_in_time_is_got(job: AnyHub, model: str, tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(job.get(model, wait=60))
        await job.publish(write(tmp_path / "a", 1), f"{model}@stable")
        assert (await waiting).number == 1


async def test_releases_are_told_once_each_those_there_and_those_that_come(
    job: AnyHub, model: str, tmp_path: Path
) -> None:
    for number in range(1, 4):
        await job.publish(write(tmp_path / "a", number), model, labels={"round": "1" if number < 3 else "2"})
    rounds = job.releases(model, labels={"round": "1"})
    all_of_them = job.releases(model, after=2)
    assert [(await following(rounds)).number for _ in range(2)] == [1, 2]
    assert (await following(all_of_them)).number == 3
    for number in range(4, 7):
        await job.publish(write(tmp_path / "a", number), model, labels={"round": "1" if number == 5 else "3"})
    assert (await following(rounds)).number == 5
    assert [(await following(all_of_them)).number for _ in range(3)] == [4, 5, 6]
    await rounds.aclose()
    await all_of_them.aclose()


async def test_many_releases_that_are_there_come_in_order(job: AnyHub, model: str, tmp_path: Path) -> None:
    for number in range(1, 21):
        await job.publish(write(tmp_path / "a", number, 10), model)
    found = job.releases(model)
    assert [(await following(found)).number for _ in range(20)] == list(range(1, 21))
    await found.aclose()


async def test_who_waits_so_long_for_the_next_release_ends_then(job: AnyHub, model: str, tmp_path: Path) -> None:
    assert [one.number async for one in job.releases(model, wait=0.3)] == []
    await job.publish(write(tmp_path / "a", 1, 10), model, labels={"round": "1"})
    await job.publish(write(tmp_path / "a", 2, 10), model, labels={"round": "2"})
    found = job.releases(model, labels={"round": "2"}, wait=60)
    assert (await following(found)).number == 2
    await found.aclose()


async def test_nodes_are_told_with_their_labels(hub: HubProgram, job: AnyHub) -> None:
    await asyncio.to_thread(hub.ctl.json, "node", "invite", f"cloud-{next(NAMES)}", "--label", "site=cloud")
    assert await job.nodes({"site": "nowhere"}) == []
    assert {(one.online, one.labels["site"]) for one in await job.nodes({"site": "cloud"})} == {(False, "cloud")}


async def test_releases_and_switches_outlive_the_hub(own_hub: HubProgram, kind: str, tmp_path: Path) -> None:
    async with HUB_CLIENTS[kind](own_hub.context, cache=tmp_path / "cache") as job:
        await job.publish(write(tmp_path / "a", 1), "acme/helmet@stable")
        told, led = job.releases("acme/helmet"), job.watch("acme/helmet")
        assert (await following(told)).number == 1
        assert (await following(led)).number == 1
        async with asyncio.TaskGroup() as group:
            tells, leads = group.create_task(following(told)), group.create_task(following(led))
            await asyncio.to_thread(own_hub.kill)
            await asyncio.to_thread(own_hub.restart)
            await job.publish(write(tmp_path / "a", 2), "acme/helmet@stable")
            async with asyncio.timeout(60):
                assert ((await tells).number, (await leads).number) == (2, 2)
        await told.aclose()
        await led.aclose()


async def test_a_job_that_follows_holds_what_it_uses(hub: HubProgram, kind: str, model: str, tmp_path: Path) -> None:
    async with HUB_CLIENTS[kind](hub.context, cache=tmp_path / "cache", keep=1) as job:
        await job.publish(write(tmp_path / "a", 1), f"{model}@stable")
        followed = job.follow(model)
        one = await following(followed)
        for number in (2, 3):
            await job.publish(write(tmp_path / "a", number), f"{model}@stable")
        await job.get(model)  # the channel's link leads on
        await job.get(f"{model}:2")
        assert one.path.is_dir()
        three = await following(followed)
        assert three.number == 3
        await job.get(f"{model}:2")
        assert not one.path.exists()
        assert three.path.is_dir()
        await followed.aclose()


async def test_channels_are_moved_and_listed(job: AnyHub, model: str, tmp_path: Path) -> None:
    await job.publish(write(tmp_path / "a", 1), model)
    await job.publish(write(tmp_path / "a", 2), model)
    assert await job.promote(f"{model}:1", "stable") == 0
    assert await job.promote(await job.release(f"{model}:2"), "stable", "better") == 1
    (before,) = [local for local in await job.list() if local.name == model]
    assert (before.channel, before.desired, before.active, before.phase) == ("stable", 2, None, "wanted")
    got = await job.get(model)
    (after,) = [local for local in await job.list() if local.name == model]
    assert (after.phase, after.active and after.active.path) == ("active", got.path)


async def test_numbers_are_recorded(hub: HubProgram, job: AnyHub, model: str, tmp_path: Path) -> None:
    await job.publish(write(tmp_path / "a", 1), f"{model}@stable")
    assert await job.record(model, {"map": 0.5, "loss": 1.5}, dataset="d", stage="eval", at=9.0) == 1
    assert await job.record(await job.get(model), {"map": 0.6}) == 1
    with pytest.raises(BadInputError):
        await job.record(model, {})
    with pytest.raises(BadInputError):
        await job.record(model, {"map": float("nan")})


async def test_numbers_are_about_the_variant_that_was_got(
    hub: HubProgram, job: AnyHub, model: str, tmp_path: Path
) -> None:
    fp32, int8 = write(tmp_path / "fp32", 1), write(tmp_path / "int8", 2)
    hub.ctl.json("push", str(fp32), f"{model}@stable", "--variant", "fp32", "--also", f"int8={int8}")
    got = await job.get(model)
    assert (got.variant, got.forms) == ("fp32", 2)
    assert await job.record(got, {"map": 0.5}) == await job.record(model, {"seen": 7.0}) == 1
    told = {one["name"]: one["variant"] for one in hub.ctl.json("metrics", model)["numbers"]}
    assert told == {"map": "fp32", "seen": None}


async def test_no_word_is_waited_for_and_nothing_waits(job: AnyHub, model: str) -> None:
    assert not await job.confirm(f"{model}@stable", works=True, number=1)
    assert (await job.outbox()).items == ()


def test_a_watch_ends_when_its_client_is_closed(hub: HubProgram, model: str, tmp_path: Path) -> None:
    job = HubClient(hub.context, cache=tmp_path / "cache")
    told = job.releases(model)
    job.close()
    assert list(told) == []
    with pytest.raises(ConflictError, match="closed"):
        job.list()


async def test_a_client_that_is_not_open_does_nothing(hub: HubProgram, tmp_path: Path) -> None:
    job = AsyncHubClient(hub.context, cache=tmp_path / "cache")
    with pytest.raises(ConflictError, match="not open"):
        await job.list()


async def test_without_a_hub_there_is_an_error_of_the_road(own_hub: HubProgram, kind: str, tmp_path: Path) -> None:
    own_hub.kill()
    async with HUB_CLIENTS[kind](own_hub.context, cache=tmp_path / "cache") as job:
        with pytest.raises(RoadError):
            await job.get("acme/helmet")


def test_the_target_says_whether_it_is_a_hub(hub: HubProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MODELSYNCD_AGENT", "MODELSYNCD_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    with client.connect() as one:
        assert isinstance(one, client.Client)
    monkeypatch.setenv("MODELSYNCD_CONTEXT", str(hub.context))
    for target in (None, "hub", f"hub:{hub.context}", hub.context):
        with client.connect(target, cache=tmp_path) as found:
            assert isinstance(found, HubClient)
            assert found.target == hub.address
    with client.connect("unix:/run/a.toml") as other:
        assert isinstance(other, client.Client)
    monkeypatch.setenv("MODELSYNCD_AGENT", "127.0.0.1:7")
    with client.connect() as local:
        assert isinstance(local, client.Client)

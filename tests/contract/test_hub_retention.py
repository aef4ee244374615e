"""What a running hub keeps and what it lets go, over loopback mutual TLS, with real packs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloud_hub import underway
from modelsyncd.errors import BadInputError, NotFoundError, RefusedError
from modelsyncd.link.channel import open_channel
from modelsyncd.names import parse_model
from modelsyncd.trust.identity import Identity
from modelsyncd.wire.status import translated
from modelsyncd.wire.v1 import catalog_pb2, limits_pb2
from modelsyncd.wire.v1 import retention_pb2 as pb
from modelsyncd.wire.v1.limits_pb2_grpc import LimitServiceStub
from modelsyncd.wire.v1.retention_pb2_grpc import RetentionServiceStub
from tests.fakes.hub import Hub, running_hub
from tests.fakes.publisher import STEP, publication, weights

if TYPE_CHECKING:
    from modelsyncd.wire.v1.retention_pb2_grpc import RetentionServiceAsyncStub

HELMET = "acme/helmet"


@pytest.fixture
async def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hub]:
    monkeypatch.setattr(underway, "REMEMBERED", -1.0)  # as if every push were over for an hour
    async with running_hub(tmp_path) as running:
        yield running


@asynccontextmanager
async def retention_of(hub: Hub, identity: Identity | None = None) -> AsyncIterator[RetentionServiceAsyncStub]:
    async with open_channel(hub.address, identity or hub.admin()) as channel:
        with translated(hub.address):
            yield RetentionServiceStub(channel)


async def push(hub: Hub, *numbers: int, channel: str = "") -> None:
    for number in numbers:
        await hub.push(publication({"w": weights(number, 4 * STEP)}, number=number, channel=channel))


async def keep(hub: Hub, models: str = "acme/*", **said: float) -> None:
    async with retention_of(hub) as retention:
        wanted = pb.Retention(models=models, **said)  # type: ignore[arg-type]
        await retention.SetRetention(pb.SetRetentionRequest(retention=wanted))


async def gc(hub: Hub, *, dry: bool = False, grace: float = 0.0) -> pb.CollectResponse:
    async with retention_of(hub) as retention:
        answers = [one async for one in retention.Collect(pb.CollectRequest(dry_run=dry, grace=grace))]
    assert answers[-1].done
    return answers[-1]


async def numbers(hub: Hub) -> list[int]:
    async with hub.catalog() as catalog:
        history = await catalog.GetHistory(catalog_pb2.GetHistoryRequest(model=HELMET))
    return sorted(one.number for one in history.releases)


def named(judged: object) -> dict[int, str]:
    return {one.number: one.why for one in judged}  # type: ignore[attr-defined]


async def test_without_a_rule_no_release_goes(hub: Hub) -> None:
    await push(hub, 1, 2, 3)
    done = await gc(hub)
    assert (done.removed, done.swept, list(done.going)) == (0, 0, [])
    assert await numbers(hub) == [1, 2, 3]


async def test_a_dry_run_says_what_goes_and_what_it_would_free_and_then_exactly_that_goes(hub: Hub) -> None:
    await push(hub, 1, 2, 3, 4, 5)
    await keep(hub, newest=2)
    told = await gc(hub, dry=True)
    assert named(told.going) == dict.fromkeys((1, 2, 3), "acme/* keeps the newest 2")
    assert await numbers(hub) == [1, 2, 3, 4, 5]
    done = await gc(hub)
    assert done.removed == 3
    assert (done.swept, done.swept_bytes) == (told.swept, told.swept_bytes)
    assert done.swept_bytes >= 3 * 4 * STEP // 2
    assert await numbers(hub) == [4, 5]
    assert (await gc(hub)).swept == 0


async def test_what_something_holds_stays_and_it_is_said_by_what(hub: Hub) -> None:
    await push(hub, 1, channel="stable")
    await push(hub, 2, channel="canary")
    await push(hub, 3, channel="stable")
    await push(hub, 4, 5, 6)
    async with open_channel(hub.address, hub.admin()) as channel:
        pin = limits_pb2.PinView(model=HELMET, number=4, whom=limits_pb2.Whom())
        await LimitServiceStub(channel).Pin(limits_pb2.PinRequest(pin=pin))
    await keep(hub, newest=1)
    done = await gc(hub)
    assert named(done.spared) == {
        1: "a rollback goes to it",
        2: "a channel names it",
        3: "a channel names it",
        4: "is pinned",
    }
    assert await numbers(hub) == [1, 2, 3, 4, 6]
    async with hub.catalog() as catalog:
        moved = await catalog.Rollback(catalog_pb2.RollbackRequest(model=HELMET, channel="stable"))
    assert moved.move.to_number == 1
    assert await hub.pull(publication({"w": weights(1, 4 * STEP)}, number=1).offer, hub.admin()) == weights(1, 4 * STEP)


async def test_a_release_that_another_one_came_from_stays_with_it(hub: Hub) -> None:
    await push(hub, 1, 2, 3)
    await keep(hub, newest=1)
    with hub.stores.catalog._database.write() as connection:
        connection.exec_driver_sql(
            "INSERT INTO parents SELECT id, 0, 'acme/helmet', number - 1, digest, 'fine-tuned-from' FROM releases"
            " WHERE number = 3"
        )
    done = await gc(hub)
    assert named(done.spared) == {2: "acme/helmet:3 came from it"}
    assert await numbers(hub) == [2, 3]


async def test_the_rule_whose_pattern_is_most_precise_counts(hub: Hub) -> None:
    await push(hub, 1, 2)
    await keep(hub, newest=1)
    await keep(hub, models=HELMET)
    assert (await gc(hub)).removed == 0
    async with retention_of(hub) as retention:
        await retention.RemoveRetention(pb.RemoveRetentionRequest(models=HELMET))
        listed = await retention.ListRetentions(pb.ListRetentionsRequest())
        assert [(one.models, one.newest) for one in listed.retentions] == [("acme/*", 1)]
    assert (await gc(hub)).removed == 1


async def test_what_is_young_enough_stays(hub: Hub) -> None:
    await push(hub, 1, 2)
    await keep(hub, seconds=3_600.0)
    assert (await gc(hub)).removed == 0


async def test_a_release_that_went_is_told_of_and_its_number_is_never_given_again(hub: Hub) -> None:
    await push(hub, 1, 2)
    await keep(hub, newest=1)
    await gc(hub)
    assert hub.stores.catalog.models.next_number(parse_model(HELMET)) == 3
    (decision,) = [row for row in hub.stores.catalog.decisions.list() if row.kind == "remove"]
    assert (decision.ref, decision.what, decision.by.who) == (
        f"{HELMET}:1",
        "acme/* keeps the newest 1",
        "admin/tester",
    )
    with pytest.raises(NotFoundError, match="no release 1"):
        async with hub.catalog() as catalog:
            await catalog.GetRelease(catalog_pb2.GetReleaseRequest(ref=f"{HELMET}:1"))


async def test_only_admins_say_what_is_kept_and_rules_must_make_sense(hub: Hub) -> None:
    node = await hub.node("n1")
    with pytest.raises(RefusedError, match="may not do this"):
        async with retention_of(hub, node) as retention:
            await retention.SetRetention(pb.SetRetentionRequest(retention=pb.Retention(models="acme/*", newest=1)))
    for wrong in (pb.Retention(models="acme/*", newest=0), pb.Retention(models="acme/*", seconds=-1.0)):
        with pytest.raises(BadInputError):
            async with retention_of(hub) as retention:
                await retention.SetRetention(pb.SetRetentionRequest(retention=wrong))
    with pytest.raises(NotFoundError, match="no rule"):
        async with retention_of(hub) as retention:
            await retention.RemoveRetention(pb.RemoveRetentionRequest(models="acme/*"))

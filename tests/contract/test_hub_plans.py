"""What a hub says that a transfer will take, beside what the transfer then took: real gRPC, stores and codings."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from cloud_hub.catalog import By, LimitRow, Terms, Whom
from modelsyncd.codec.registry import Codec
from modelsyncd.digest import Digest, digest_of
from modelsyncd.errors import BadInputError, DamageError, NotFoundError, RefusedError
from modelsyncd.names import ModelName, parse_ref
from modelsyncd.session.effects import Finished
from modelsyncd.session.events import Encoded, Settled
from modelsyncd.session.frames import Phase, Report, Standing
from modelsyncd.session.progress import Progress
from modelsyncd.trust.identity import Identity
from modelsyncd.wire.nouns import encode_report
from modelsyncd.wire.v1 import catalog_pb2 as pb
from modelsyncd.wire.v1 import sync_pb2
from tests.fakes.hub import Hub, running_hub
from tests.fakes.hub_store import spoil
from tests.fakes.publisher import STEP, Puller, numbers, publication, trained

CHUNKS = 24
SHARED = numbers(7, 5 * STEP // 4)
OLD = numbers(1, CHUNKS * STEP // 4 - 3)
NEW = trained(OLD, 2)
FRESH = numbers(3, 3 * STEP // 4)
HELMET = ModelName("acme", "helmet")
FIRST = publication({"model.bin": OLD, "same.bin": SHARED}, channel="stable", dtype="f32")
SECOND = publication({"a.bin": FRESH, "model.bin": NEW, "same.bin": SHARED}, number=2, channel="stable", dtype="f32")


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    async with running_hub(tmp_path) as running:
        await running.push(FIRST)
        await running.push(SECOND)
        yield running


async def _planned(hub: Hub, request: pb.PlanRequest, who: Identity | None = None) -> pb.TransferPlan:
    """The plan, and that it was shown how far it had come."""
    async with hub.catalog(who) as catalog:
        answers = [answer async for answer in catalog.Plan(request)]
    assert [answer.HasField("plan") for answer in answers] == [False] * (len(answers) - 1) + [True]
    assert [answer.bytes for answer in answers] == sorted(answer.bytes for answer in answers)
    assert answers[-1].bytes == answers[-1].bytes_total
    plan = answers[-1].plan
    assert plan.bytes_had + plan.bytes_coded + plan.bytes_plain == plan.bytes_total
    assert plan.coded_wire + plan.plain_wire + plan.manifest_wire == plan.bytes_wire
    return plan


async def _node(hub: Hub, name: str = "n1") -> Identity:
    identity = await hub.node(name)
    async with hub.catalog() as catalog:
        wanted = pb.AssignmentView(model="acme/helmet", channel="stable", node=name)
        await catalog.Assign(pb.AssignRequest(assignment=wanted))
    return identity


def _report(*standings: Standing, disk_free: int = 0) -> bytes:
    return encode_report(Report(1, standings, disk_free=disk_free))


async def _reported(hub: Hub, node: str, *standings: Standing, disk_free: int = 0) -> None:
    """The node said so, some time ago."""
    report = _report(*standings, disk_free=disk_free)
    await asyncio.to_thread(hub.stores.catalog.nodes.report, node, report, 1_000.0)


def _active(number: int) -> Standing:
    return Standing(HELMET, "stable", Phase.ACTIVE, active=number)


def _holder() -> Puller:
    """Somebody who has the first release: its chunks, and its files to code against."""
    puller = Puller(whole={FIRST.manifest: {"model.bin": OLD, "same.bin": SHARED}})
    puller.held.update((digest_of(chunk), chunk) for chunk in FIRST.chunks)
    return puller


async def _fetched(hub: Hub, who: Identity, puller: Puller) -> Progress:
    async with hub.talk(who, taker=puller) as talk:
        talk.take(SECOND.offer)
        outcome = await talk.outcome(SECOND.offer)
        assert isinstance(outcome, Settled), outcome
    (finished,) = (said for said in talk.heard if isinstance(said, Finished))
    return finished.progress


async def test_what_a_node_receives_is_what_was_planned_to_the_byte_and_nothing_is_coded_again(hub: Hub) -> None:
    node = await _node(hub)
    await _reported(hub, "n1", _active(1), disk_free=10**9)
    plan = await _planned(hub, pb.PlanRequest(ref="acme/helmet@stable", node="n1"))
    coded = hub.stores.encoder.encodings
    went = await _fetched(hub, node, _holder())
    assert went.wire == plan.bytes_wire
    assert (went.had, went.coded) == (plan.bytes_had, plan.bytes_coded)
    assert plan.bytes_had >= len(SHARED)
    assert plan.bytes_coded == len(NEW)
    assert plan.bytes_plain == len(FRESH)
    assert plan.coded_wire < 0.45 * len(NEW)
    assert plan.manifest_bytes == SECOND.ref().size
    assert hub.stores.encoder.encodings == coded >= CHUNKS


async def test_a_first_fetch_is_planned_to_the_byte_without_reading_or_coding(hub: Hub) -> None:
    plan = await _planned(hub, pb.PlanRequest(ref="acme/helmet:2"))
    assert hub.stores.encoder.encodings == 0
    went = await _fetched(hub, hub.admin(), Puller())
    assert went.wire == plan.bytes_wire
    assert (plan.bytes_had, plan.bytes_coded, plan.cpu_seconds, list(plan.bases)) == (0, 0, 0, [])
    assert plan.bytes_plain == plan.bytes_total == SECOND.ref().content_size
    assert plan.disk_bytes == plan.bytes_total + SECOND.ref().size


async def test_equal_chunks_of_one_release_travel_once(hub: Hub) -> None:
    twice = publication({"a": SHARED, "b": SHARED}, number=1, model="acme/twice")
    await hub.push(twice)
    plan = await _planned(hub, pb.PlanRequest(ref="acme/twice"))
    assert (plan.bytes_had, plan.bytes_plain) == (len(SHARED), len(SHARED))


async def test_a_plan_from_a_release_counts_only_that_release(hub: Hub) -> None:
    plan = await _planned(hub, pb.PlanRequest(ref="acme/helmet:2", from_ref="acme/helmet:1"))
    went = await _fetched(hub, hub.admin(), _holder())
    assert went.wire == plan.bytes_wire
    (base,) = plan.bases
    assert (base.model, base.number, base.bytes_coded, base.allowed) == ("acme/helmet", 1, plan.bytes_coded, True)
    assert Digest(base.manifest) == FIRST.manifest


async def test_on_a_fast_link_nothing_is_coded_and_time_follows_the_rate(hub: Hub) -> None:
    slow = await _planned(hub, pb.PlanRequest(ref="acme/helmet:2", from_ref="acme/helmet:1", rate=1e5))
    fast = await _planned(hub, pb.PlanRequest(ref="acme/helmet:2", from_ref="acme/helmet:1", rate=1e9))
    assert (slow.effort, fast.effort) == ("smallest", "plain")
    assert (fast.bytes_coded, fast.coded_wire) == (0, 0)
    assert slow.seconds == pytest.approx((slow.bytes_wire + slow.framing_estimate) / 1e5)
    assert fast.seconds < slow.seconds
    assert 0 < slow.framing_estimate < 0.1 * slow.bytes_wire


async def test_a_node_that_never_spoke_is_planned_as_a_first_fetch_and_that_is_said(hub: Hub) -> None:
    await _node(hub)
    plan = await _planned(hub, pb.PlanRequest(ref="acme/helmet@stable", node="n1"))
    assert (plan.holdings_known, plan.bytes_had, list(plan.bases), plan.disk_free) == (False, 0, [], 0)
    empty = await _planned(hub, pb.PlanRequest(ref="acme/helmet@stable"))
    assert empty.holdings_known
    assert empty.bytes_wire == plan.bytes_wire


async def test_a_node_that_has_it_needs_nothing(hub: Hub) -> None:
    await _node(hub)
    await _reported(hub, "n1", _active(2))
    plan = await _planned(hub, pb.PlanRequest(ref="acme/helmet@stable", node="n1"))
    assert (plan.bytes_had, plan.bytes_wire, plan.disk_bytes) == (plan.bytes_total, 0, 0)


async def test_a_version_that_no_channel_of_the_node_ever_named_lends_chunks_and_is_no_base(hub: Hub) -> None:
    secret = publication({"model.bin": trained(OLD, 9), "same.bin": SHARED}, number=3, channel="canary", dtype="f32")
    await hub.push(secret)
    await _node(hub)
    await _reported(hub, "n1", _active(3))
    plan = await _planned(hub, pb.PlanRequest(ref="acme/helmet@stable", node="n1"))
    assert [(base.number, base.allowed) for base in plan.bases] == [(3, False)]
    assert plan.bytes_coded == 0
    assert plan.bytes_had >= len(SHARED)


async def test_what_a_node_said_when_it_connected_counts_beside_its_report(hub: Hub) -> None:
    node = await _node(hub)
    async with hub.talk(node, holds=(FIRST.manifest, Digest(bytes(32)))) as talk:
        await talk.desired()
        plan = await _planned(hub, pb.PlanRequest(ref="acme/helmet@stable", node="n1"))
        assert [(base.number, base.allowed) for base in plan.bases] == [(1, True)]
        assert plan.bytes_coded == len(NEW)
        assert plan.holdings_known


async def test_a_node_that_can_not_decode_against_bases_gets_none(hub: Hub) -> None:
    node = await _node(hub)
    simple = frozenset({Codec.STORED, Codec.ZSTD})
    async with hub.talk(node, holds=(FIRST.manifest,), codecs=simple) as talk:
        await talk.desired()
        plan = await _planned(hub, pb.PlanRequest(ref="acme/helmet@stable", node="n1"))
        assert plan.bytes_coded == 0
        assert plan.bytes_had >= len(SHARED)
        puller = _holder()
        puller.whole.clear()
    async with hub.talk(hub.admin(), taker=puller, codecs=simple) as talk:
        talk.take(SECOND.offer)
        await talk.outcome(SECOND.offer)
    (finished,) = (said for said in talk.heard if isinstance(said, Finished))
    assert finished.progress.wire == plan.bytes_wire


async def test_what_came_in_an_earlier_try_and_the_disk_are_told(hub: Hub) -> None:
    await _node(hub)
    begun = Standing(
        HELMET, "stable", Phase.FETCHING, desired=2, active=1, bytes_total=1_000, bytes_done=700, bytes_had=200
    )
    await _reported(hub, "n1", begun, disk_free=12_345)
    plan = await _planned(hub, pb.PlanRequest(ref="acme/helmet:2", node="n1"))
    assert (plan.bytes_arrived, plan.disk_free) == (500, 12_345)


async def test_a_plan_for_a_node_tells_its_limits_and_codes_for_a_capped_link_as_for_a_slow_one(hub: Hub) -> None:
    await _node(hub)
    report = Report(1, (_active(1),), month_wire=7, month="2026-11", utc_offset="+01:00", disk_used=5, quota=9)
    catalog = hub.stores.catalog
    await asyncio.to_thread(catalog.nodes.report, "n1", encode_report(report), 1_000.0)
    fast = await _planned(hub, pb.PlanRequest(ref="acme/helmet@stable", node="n1", rate=1e9))
    assert (fast.effort, list(fast.manners), fast.quota_bytes) == ("plain", [sync_pb2.Manners()] * 2, 9)
    by = By("admin/ann", 1.0)
    for row in (
        LimitRow(Whom("n1"), Terms(rate=9_000, quota=8)),
        LimitRow(Whom("n1"), Terms(month_bytes=6), HELMET, "stable"),
    ):
        await asyncio.to_thread(catalog.limits.set, row, by)
    await asyncio.to_thread(catalog.consents.give, "n1", parse_ref("acme/helmet:2"), SECOND.manifest, by)
    for ref in ("acme/helmet@stable", "acme/helmet:2"):  # the only channel of it that the node follows is meant
        plan = await _planned(hub, pb.PlanRequest(ref=ref, node="n1", rate=1e9))
        assert plan.effort == "smallest"
        assert [(one.rate, one.month_bytes) for one in plan.manners] == [(9_000, 0), (0, 6)]
        assert (plan.month_wire, plan.month, plan.utc_offset) == (7, "2026-11", "+01:00")
        assert (plan.quota_bytes, plan.disk_used, plan.consented) == (8, 5, True)


async def test_who_goes_away_ends_the_work(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = hub.stores.encoder
    began, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    steps: list[Sequence[int]] = []

    def encode(manifest: Digest, ordinals: Sequence[int], *_: object) -> list[Encoded]:
        steps.append(ordinals)
        loop.call_soon_threadsafe(began.set)
        assert go_on.wait(20)
        return []

    monkeypatch.setattr(encoder, "encode", encode)
    async with hub.catalog() as catalog, asyncio.timeout(20):
        call = catalog.Plan(pb.PlanRequest(ref="acme/helmet:2", from_ref="acme/helmet:1"))
        assert not (await anext(aiter(call))).bytes  # what is missing is known, and nothing of it is coded yet
        await began.wait()
        call.cancel()
        for _ in range(os.cpu_count() or 1):  # whoever holds every turn knows that nobody works any more
            await encoder.turns.acquire()
        go_on.set()
    assert len(steps) == 1


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (pb.PlanRequest(ref="acme/helmet:9"), NotFoundError),
        (pb.PlanRequest(ref="acme/helmet", node="nobody"), NotFoundError),
        (pb.PlanRequest(ref="acme/helmet", from_ref="acme/helmet:9"), NotFoundError),
        (pb.PlanRequest(ref="acme/helmet", from_ref="acme/helmet:1", node="n1"), BadInputError),
        (pb.PlanRequest(ref="acme/helmet", rate=-1), BadInputError),
        (pb.PlanRequest(ref="acme/helmet", rate=float("nan")), BadInputError),
    ],
)
async def test_a_plan_for_what_is_not_there_is_refused_in_words(
    hub: Hub, request_: pb.PlanRequest, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await _planned(hub, request_)


async def test_a_release_with_a_chunk_that_rotted_can_not_be_planned(hub: Hub, tmp_path: Path) -> None:
    await asyncio.to_thread(spoil, hub.stores.catalog, tmp_path, SECOND.chunks[-1])
    await asyncio.to_thread(spoil, hub.stores.catalog, tmp_path, SECOND.chunks[5])
    with pytest.raises(DamageError):
        await _planned(hub, pb.PlanRequest(ref="acme/helmet:2", from_ref="acme/helmet:1"))


async def test_a_node_may_not_ask_for_plans(hub: Hub) -> None:
    node = await hub.node("n2")
    with pytest.raises(RefusedError, match="node/n2 may not do this"):
        await _planned(hub, pb.PlanRequest(ref="acme/helmet"), node)

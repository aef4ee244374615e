"""What happens at a hub's stores between two steps of a gc: each order that would lose something, once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud_hub import underway
from cloud_hub.catalog import By, Whom, removals
from cloud_hub.catalog.retentions import RetentionRow
from cloud_hub.collector import Collector, Progress
from modelsyncd.digest import digest_of
from modelsyncd.errors import BadInputError, ConflictError, NotFoundError
from modelsyncd.names import ModelRef, parse_model
from modelsyncd.release import Member, Parent
from modelsyncd.session.frames import Part, Phase, Report, Standing
from modelsyncd.store import failpoints
from modelsyncd.store.failpoints import Point
from modelsyncd.wire.nouns import encode_report
from tests.fakes.hub_store import HubStore, bring, hub_store, push
from tests.fakes.publisher import STEP, Publication, publication, weights

HELMET = parse_model("acme/helmet")
ANN = By("admin/ann", 1.0)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubStore]:
    monkeypatch.setattr(underway, "REMEMBERED", -1.0)  # as if every push were over for an hour
    opened = hub_store(tmp_path)
    yield opened
    opened.close()


def release(number: int, seed: int = 0) -> Publication:
    return publication({"w": weights(seed or number, 3 * STEP)}, number=number)


def bundle(member: Member) -> Publication:
    return publication({"helmet/w": weights(member.number, 3 * STEP)}, model="other/line", members=(member,))


def begun(store: HubStore) -> Iterator[Progress]:
    """A gc that has looked which releases go, and no further."""
    collector = Collector(store.catalog, store.stock, store.blobs)
    steps = collector.run("admin/ann", dry=False, grace=0.0)
    next(steps)
    return steps


async def test_a_release_that_is_pinned_after_it_was_judged_stays(store: HubStore) -> None:
    for number in (1, 2, 3):
        await push(store.intake(), release(number))
    store.catalog.retentions.set(RetentionRow("acme/*", 1, None, ANN))
    steps = begun(store)
    store.catalog.pins.pin(ModelRef(HELMET, number=1), Whom(), ANN)
    *_, last = steps
    assert sorted(name.number for name in last.going) == [1, 2]
    assert last.removed == 1
    assert [row.number for row in store.catalog.models.history(HELMET).releases] == [3, 1]


async def test_a_release_that_a_node_says_it_fetches_after_it_was_judged_stays(store: HubStore) -> None:
    for number in (1, 2, 3):
        await push(store.intake(), release(number))
    invite = store.catalog.nodes.invite("n1", {}, expires_at=100.0, now=1.0)
    store.catalog.nodes.redeem(invite, "n1", b"key", now=2.0)
    store.catalog.retentions.set(RetentionRow("acme/*", 1, None, ANN))
    steps = begun(store)
    said = Report(1, (Standing(HELMET, "stable", Phase.FETCHING, desired=1),))
    store.catalog.nodes.report("n1", encode_report(said), 3.0)
    *_, last = steps
    assert last.removed == 1
    assert [row.number for row in store.catalog.models.history(HELMET).releases] == [3, 1]


async def test_a_release_that_somebody_begins_to_read_after_it_was_judged_stays(
    store: HubStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2, 3):
        await push(store.intake(), release(number))
    store.catalog.retentions.set(RetentionRow("acme/*", 1, None, ANN))
    steps = begun(store)
    monkeypatch.setattr(underway, "REMEMBERED", 3_600.0)
    store.stock.underway.given(release(1).manifest)
    *_, last = steps
    assert last.removed == 1
    assert [row.number for row in store.catalog.models.history(HELMET).releases] == [3, 1]


async def test_what_a_release_came_from_stays_though_it_came_after_that_was_judged(store: HubStore) -> None:
    """Nothing was indexed yet: what is told of a push comes later."""
    for number in (1, 2, 3):
        await push(store.intake(), release(number))
    store.catalog.retentions.set(RetentionRow("acme/*", 1, None, ANN))
    steps = begun(store)
    parent = store.catalog.models.release(ModelRef(HELMET, number=1))
    came = (Parent(HELMET, 1, parent.digest, "fine-tuned-from"),)
    child = publication({"w": weights(9, 3 * STEP)}, model="other/vest", parents=came)
    await push(store.intake(), child)
    *_, last = steps
    assert last.removed == 1
    assert [row.number for row in store.catalog.models.history(HELMET).releases] == [3, 1]


async def family(store: HubStore) -> None:
    """acme/alpha:1 came from acme/zeta:1; neither is the newest, and no rule keeps them."""
    await push(store.intake(), publication({"w": weights(1, 3 * STEP)}, model="acme/zeta"))
    parent = store.catalog.models.release(ModelRef(parse_model("acme/zeta"), number=1))
    came = (Parent(parse_model("acme/zeta"), 1, parent.digest, "fine-tuned-from"),)
    await push(store.intake(), publication({"w": weights(2, 3 * STEP)}, model="acme/alpha", parents=came))
    for model in ("acme/zeta", "acme/alpha"):
        await push(store.intake(), publication({"w": weights(3, 3 * STEP)}, model=model, number=2))
    store.catalog.retentions.set(RetentionRow("acme/*", 1, None, ANN))


async def test_a_release_stays_when_what_came_from_it_was_pinned_after_both_were_judged(store: HubStore) -> None:
    await family(store)
    steps = begun(store)
    store.catalog.pins.pin(ModelRef(parse_model("acme/alpha"), number=1), Whom(), ANN)
    *_, last = steps
    assert (len(last.going), last.removed) == (2, 0)
    store.catalog.models.release(ModelRef(parse_model("acme/zeta"), number=1))


async def test_what_came_from_a_release_goes_before_it_whatever_they_are_called(
    store: HubStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removals, "_BATCH", 1)
    await family(store)
    steps = begun(store)
    next(steps)
    store.catalog.models.release(ModelRef(parse_model("acme/zeta"), number=1))
    with pytest.raises(NotFoundError):
        store.catalog.models.release(ModelRef(parse_model("acme/alpha"), number=1))
    *_, last = steps
    assert last.removed == 2


async def test_what_a_bundle_was_put_together_from_stays_though_the_bundle_came_after_that_was_judged(
    store: HubStore,
) -> None:
    for number in (1, 2, 3):
        await push(store.intake(), release(number))
    store.catalog.retentions.set(RetentionRow("acme/*", 1, None, ANN))
    steps = begun(store)
    member = store.catalog.models.release(ModelRef(HELMET, number=1))
    await push(store.intake(), bundle(Member(HELMET, 1, member.digest, "helmet")))
    *_, last = steps
    assert last.removed == 1
    assert [row.number for row in store.catalog.models.history(HELMET).releases] == [3, 1]


async def test_a_bundle_is_refused_whose_member_went_while_it_was_pushed(store: HubStore) -> None:
    for number in (1, 2):
        await push(store.intake(), release(number))
    member = store.catalog.models.release(ModelRef(HELMET, number=1))
    what = bundle(Member(HELMET, 1, member.digest, "helmet"))
    intake = store.intake()
    assert await intake.consider(what.offer) is None
    for part in Part:
        missing = await intake.survey(what.offer, part)
        if missing.ordinals:
            await bring(intake, what, part, missing.ordinals)

    def goes(point: Point) -> None:
        if point is Point.RELEASE_WHOLE:  # its members were looked for a moment ago
            failpoints.watch(None)
            store.catalog.retentions.set(RetentionRow("acme/*", 1, None, ANN))
            list(begun(store))

    failpoints.watch(goes)
    try:
        with pytest.raises(BadInputError, match="is not acme/helmet:1 as it is here"):
            await intake.complete(what.offer)
    finally:
        failpoints.watch(None)
    assert store.catalog.models.next_number(parse_model("other/line")) == 1


async def test_a_push_that_begins_after_all_was_marked_finds_what_was_garbage_and_keeps_it(store: HubStore) -> None:
    await push(store.intake(), release(1))
    what = release(2)
    for part in Part:
        missing = await store.intake().survey(what.offer, part)
        await bring(store.intake(), what, part, missing.ordinals)
    steps = begun(store)
    while next(steps).step.manifests == 0:
        pass
    intake = store.intake()
    assert await intake.consider(what.offer) is None
    for part in Part:
        assert list((await intake.survey(what.offer, part)).ordinals) == []
    list(steps)
    assert (await intake.complete(what.offer)).created
    assert store.stock.is_whole(what.ref())


async def test_what_a_push_left_goes_when_nobody_takes_it_up(store: HubStore) -> None:
    await push(store.intake(), release(1))
    what = release(2)
    for part in Part:
        missing = await store.intake().survey(what.offer, part)
        await bring(store.intake(), what, part, missing.ordinals)
    *_, last = begun(store)
    assert last.step.swept == len(what.chunks) + len(what.manifest_pieces)
    assert store.stock.is_whole(release(1).ref())


async def test_a_chunk_whose_pack_goes_while_it_is_looked_up_is_read_from_where_it_is_then(store: HubStore) -> None:
    await push(store.intake(), release(1))
    await push(store.intake(), release(2))
    store.catalog.retentions.set(RetentionRow("acme/*", 1, None, ANN))
    store.writer.seal()
    wanted = [digest_of(chunk) for chunk in release(2).chunks]
    old = store.stock.places(wanted)
    *_, last = begun(store)
    assert last.freed.rewritten == 1
    assert all(store.stock.places(wanted)[digest] != old[digest] for digest in wanted)
    looked_up = store.catalog.chunks.places
    answers = iter([old])
    store.catalog.chunks.places = lambda digests: next(answers, None) or looked_up(digests)  # type: ignore[method-assign]
    assert len(store.stock.read(wanted)) == len(wanted)


async def test_two_gcs_do_not_run_at_once(store: HubStore) -> None:
    collector = Collector(store.catalog, store.stock, store.blobs)
    first = collector.run("admin/ann", dry=False)
    next(first)
    with pytest.raises(ConflictError, match="under way"):
        next(collector.run("admin/ann", dry=True))
    first.close()
    assert next(collector.run("admin/ann", dry=True)).removed == 0

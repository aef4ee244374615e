"""What a hub takes from nodes, at its ports: only what somebody allowed, and nothing is told that it may not know."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from cloud_hub.catalog import By, Whom
from cloud_hub.commit import HubIntake
from cloud_hub.events import Moved, Released
from cloud_hub.rights import AssignedOnly
from modelsyncd.bases import Run
from modelsyncd.codec.hint import Hint
from modelsyncd.codec.registry import READABLE, encode
from modelsyncd.digest import Digest, digest_of
from modelsyncd.errors import BadInputError, InvalidNameError, RefusedError
from modelsyncd.names import parse_model, parse_ref
from modelsyncd.release import Member, Parent, SignedRelease
from modelsyncd.session.effects import Keep
from modelsyncd.session.events import Settled
from modelsyncd.session.frames import Base, Part
from modelsyncd.trust.identity import Kind, Peer
from modelsyncd.wire.nouns import decode_release, encode_release
from tests.fakes.hub_store import HubStore, bring, hub_store, push
from tests.fakes.publisher import STEP, Publication, numbers, publication, trained, weights

HELMET = parse_model("acme/helmet")
OSLO = Peer(Kind.NODE, "oslo")
BY = By("admin/ann", 900.0)
OLD = numbers(1, STEP // 2)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubStore]:
    store = hub_store(tmp_path)
    for name in ("oslo", "bern"):
        store.catalog.nodes.invite(name, {"site": name}, 2_000.0, 900.0)
    yield store
    store.close()


def allow(hub: HubStore, models: str, *channels: str, node: str = "oslo") -> None:
    hub.catalog.rights.allow(Whom(node), models, channels, BY)


def of_node(seed: int = 1, number: int = 1, channel: str = "", producer: str = "node/oslo") -> Publication:
    content = {"model.bin": weights(seed, 2 * STEP)}
    return publication(content, number=number, channel=channel, producer=producer)


async def _bases(intake: HubIntake, what: Publication) -> Sequence[Digest]:
    assert await intake.consider(what.offer) is None
    lacking = (await intake.survey(what.offer, Part.MANIFEST)).ordinals
    if lacking:
        await bring(intake, what, Part.MANIFEST, lacking)
    return (await intake.survey(what.offer, Part.CONTENT)).bases


async def test_a_node_that_nobody_allowed_publishes_nothing_and_is_told_what_a_person_must_type(hub: HubStore) -> None:
    with pytest.raises(RefusedError, match="oslo has no right to publish acme/helmet") as refused:
        await hub.intake(OSLO).consider(of_node().offer)
    assert refused.value.hint == "modelsyncctl allow oslo acme/helmet"
    allow(hub, "acme/vest")
    allow(hub, "acme/*", node="bern")
    with pytest.raises(RefusedError, match="no right"):
        await hub.intake(OSLO).consider(of_node().offer)


async def test_what_a_node_may_publish_it_publishes_under_its_own_name(hub: HubStore) -> None:
    allow(hub, "acme/helm*", "edge-*")
    what = of_node(channel="edge-oslo")
    assert await push(hub.intake(OSLO), what) == Settled(1, True, digest_of(what.offer.release.release))
    assert hub.told == [
        Released(1_000.0, HELMET, 1),
        Moved(1_000.0, HELMET, "edge-oslo", 0, 1, "node/oslo", "push"),
    ]
    row = hub.catalog.models.release(parse_ref("acme/helmet@edge-oslo"))
    assert (row.who, decode_release(row.signed.release).producer) == ("node/oslo", "node/oslo")


async def test_rights_by_labels_count_as_those_by_name(hub: HubStore) -> None:
    hub.catalog.rights.allow(Whom(None, {"site": "oslo"}), "acme/helmet", (), BY)
    assert (await push(hub.intake(OSLO), of_node())).created
    with pytest.raises(RefusedError, match="bern has no right"):
        await hub.intake(Peer(Kind.NODE, "bern")).consider(of_node(2, 2, producer="node/bern").offer)


@pytest.mark.parametrize("producer", ["admin/tester", "node/bern", "oslo", ""])
async def test_a_node_publishes_under_no_other_name(hub: HubStore, producer: str) -> None:
    allow(hub, "acme/*", "*")
    with pytest.raises(RefusedError, match="node/oslo pushes it"):
        await hub.intake(OSLO).consider(of_node(producer=producer).offer)


async def test_a_channel_is_moved_only_where_the_right_says_so(hub: HubStore) -> None:
    allow(hub, "acme/helmet", "edge")
    allow(hub, "acme/vest", "*")
    with pytest.raises(RefusedError, match="no right to move its channel 'stable'") as refused:
        await hub.intake(OSLO).consider(of_node(channel="stable").offer)
    assert refused.value.hint == "modelsyncctl allow oslo acme/helmet --channel stable"
    assert (await push(hub.intake(OSLO), of_node(channel="edge"))).created
    with pytest.raises(InvalidNameError):
        await hub.intake(OSLO).consider(of_node(channel="versions").offer)


async def test_content_that_is_there_is_promoted_from_the_edge_when_the_right_says_so(hub: HubStore) -> None:
    await push(hub.intake(), of_node(producer="admin/tester"))
    hub.told.clear()
    allow(hub, "acme/helmet")
    with pytest.raises(RefusedError, match="move its channel"):
        await hub.intake(OSLO).consider(of_node(number=2, channel="stable").offer)
    allow(hub, "acme/helmet", "stable")
    settled = await hub.intake(OSLO).consider(of_node(number=2, channel="stable").offer)
    assert settled is not None
    assert (settled.number, settled.created) == (1, False)
    assert hub.told == [Moved(1_000.0, HELMET, "stable", 0, 1, "node/oslo", "push")]
    moves = hub.catalog.models.history(HELMET).moves
    assert [(move.who, move.to_number) for move in moves] == [("node/oslo", 1)]


async def test_a_right_that_ends_half_way_ends_the_push_at_its_next_step(hub: HubStore) -> None:
    allow(hub, "acme/helmet")
    intake, what = hub.intake(OSLO), of_node()
    await _bases(intake, what)
    await bring(intake, what, Part.CONTENT, [0])
    hub.catalog.rights.disallow(Whom("oslo"), "acme/helmet", BY)
    with pytest.raises(RefusedError, match="no right"):
        await bring(intake, what, Part.CONTENT, [1])
    with pytest.raises(RefusedError, match="no right"):
        await intake.survey(what.offer, Part.CONTENT)
    allow(hub, "acme/helmet")
    await bring(intake, what, Part.CONTENT, [1])
    hub.catalog.nodes.remove("oslo")
    with pytest.raises(RefusedError, match="no right"):
        await intake.complete(what.offer)
    assert hub.catalog.models.next_number(HELMET) == 1
    assert hub.told == []


async def test_a_node_is_told_of_bases_that_its_channels_named_or_that_it_published_and_of_no_others(
    hub: HubStore,
) -> None:
    named = of_node(1, 1, "stable", "admin/tester")
    secret = of_node(2, 2, "canary", "admin/tester")
    elsewhere = publication({"m": weights(3, STEP)}, model="acme/vest", channel="stable")
    for what in (named, secret, elsewhere):
        await push(hub.intake(), what)
    allow(hub, "acme/helmet")
    allow(hub, "acme/helmet", node="bern")
    own = of_node(4, 3)
    assert await _bases(hub.intake(OSLO), own) == ()
    await push(hub.intake(OSLO), own)
    foreign = of_node(5, 4, producer="node/bern")
    await push(hub.intake(Peer(Kind.NODE, "bern")), foreign)
    assert await _bases(hub.intake(OSLO), of_node(6, 5)) == (own.manifest,)
    hub.catalog.assignments.assign(HELMET, "stable", "oslo", {})
    hub.catalog.assignments.assign(parse_model("acme/vest"), "stable", "oslo", {})
    assert await _bases(hub.intake(OSLO), of_node(7, 5)) == (named.manifest, own.manifest, elsewhere.manifest)


async def test_a_parent_is_a_base_only_for_who_may_hear_of_it(hub: HubStore) -> None:
    await push(hub.intake(), of_node(1, 1, "canary", "admin/tester"))
    row = hub.catalog.models.release(parse_ref("acme/helmet:1"))
    allow(hub, "acme/update")
    child = publication(
        {"m": weights(2, STEP)},
        model="acme/update",
        producer="node/oslo",
        parents=(Parent(HELMET, 1, row.digest, "derived-by"),),
    )
    assert await _bases(hub.intake(OSLO), child) == ()
    hub.catalog.assignments.assign(HELMET, "canary", "oslo", {})
    assert await _bases(hub.intake(OSLO), child) == (row.variants[0].manifest.digest,)


async def test_what_a_node_coded_against_something_that_it_may_not_know_is_asked_for_without_it(hub: HubStore) -> None:
    secret = publication({"model.bin": OLD}, dtype="f32")
    await push(hub.intake(), secret)
    allow(hub, "acme/helmet")
    intake = hub.intake(OSLO)
    guess = publication({"model.bin": trained(OLD, 2)}, number=2, dtype="f32", producer="node/oslo")
    await bring(intake, guess, Part.MANIFEST, [0])
    plain = guess.chunks[0]
    codec, payload = encode(plain, READABLE, Hint("f32"), OLD[: len(plain)])
    base = Base(secret.manifest, (Run(0, 0, len(plain)),))
    keep = Keep(guess.offer, Part.CONTENT, 0, codec, bytes(payload), base)
    refused = await intake.keep([keep])
    assert (refused.spoiled, refused.kept) == ((0,), ())
    hub.catalog.models.promote(parse_ref("acme/helmet:1"), "stable", who="admin/ann", note="", now=1.0)
    hub.catalog.assignments.assign(HELMET, "stable", "oslo", {})
    assert (await intake.keep([keep])).kept == (0,)


async def test_what_a_node_published_it_may_code_against_and_not_read_back(hub: HubStore) -> None:
    allow(hub, "acme/helmet")
    own = of_node()
    await push(hub.intake(OSLO), own)
    right = AssignedOnly(hub.catalog, "oslo")
    assert right.bases([own.manifest]) == [own.manifest]
    assert AssignedOnly(hub.catalog, "bern").bases([own.manifest]) == []
    with pytest.raises(RefusedError, match="not assigned"):
        right(own.manifest)


async def test_a_release_that_lies_about_its_manifests_pieces_is_refused_though_the_manifest_is_known(
    hub: HubStore,
) -> None:
    allow(hub, "acme/helmet")
    true = of_node()
    intake = hub.intake(OSLO)
    await _bases(intake, true)
    await bring(intake, true, Part.CONTENT, [0, 1])
    ref = dataclasses.replace(true.ref(), size=STEP, chunk_digests=digest_of(true.chunks[0]))
    variant = dataclasses.replace(true.release.variants[0], manifest=ref)
    lie = dataclasses.replace(true.release, variants=(variant,))
    offer = dataclasses.replace(true.offer, release=SignedRelease(encode_release(lie)))
    with pytest.raises(BadInputError):
        await intake.complete(offer)
    assert (await intake.complete(true.offer)).number == 1
    other = dataclasses.replace(lie, number=2, model=parse_model("acme/vest"))
    allow(hub, "acme/vest")
    with pytest.raises(BadInputError):
        await intake.complete(dataclasses.replace(offer, release=SignedRelease(encode_release(other))))


@pytest.mark.parametrize("number", [1, 2])
async def test_a_bundle_of_what_is_not_there_as_it_says_is_refused(hub: HubStore, number: int) -> None:
    allow(hub, "acme/*")
    part = publication({"m": weights(1, STEP)}, model="acme/part")
    await push(hub.intake(), part)
    bundle = of_node(2)
    wrong = Member(parse_model("acme/part"), number, digest_of(b"another release"), "big")
    release = dataclasses.replace(bundle.release, members=(wrong,))
    offer = dataclasses.replace(bundle.offer, release=SignedRelease(encode_release(release)))
    with pytest.raises(BadInputError, match="member big of acme/helmet is not acme/part"):
        await hub.intake(OSLO).consider(offer)
    true = dataclasses.replace(wrong, number=1, release_digest=digest_of(part.offer.release.release))
    release = dataclasses.replace(bundle.release, members=(true,))
    sound = dataclasses.replace(bundle.offer, release=SignedRelease(encode_release(release)))
    assert (await push(hub.intake(OSLO), dataclasses.replace(bundle, offer=sound, release=release))).created

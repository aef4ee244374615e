"""The words of docs/protocol.md on what nodes publish and say: each MUST is quoted by a test."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud_hub.catalog import By, NumberRow, Whom
from modelsyncd.bases import Run
from modelsyncd.codec.hint import Hint
from modelsyncd.codec.registry import READABLE, encode
from modelsyncd.digest import digest_of
from modelsyncd.errors import BadInputError, RefusedError
from modelsyncd.names import parse_model, parse_ref
from modelsyncd.release import Member, Release, SignedRelease
from modelsyncd.session.effects import Keep
from modelsyncd.session.frames import Base, Offer, Part
from modelsyncd.trust.identity import Kind, Peer
from modelsyncd.wire.nouns import encode_release
from tests.fakes.hub_store import HubStore, bring, hub_store, push
from tests.fakes.publisher import STEP, Publication, numbers, publication, trained
from tests.scenarios.words import quote

HELMET = parse_model("acme/helmet")
OSLO = Peer(Kind.NODE, "oslo")
BY = By("admin/ann", 900.0)
OLD = numbers(1, STEP // 4)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubStore]:
    store = hub_store(tmp_path)
    store.catalog.nodes.invite("oslo", {}, 2_000.0, 900.0)
    yield store
    store.close()


def mine(number: int = 1, channel: str = "", producer: str = "node/oslo", seed: int = 2) -> Publication:
    content = {"m": trained(OLD, seed)}
    return publication(content, number=number, channel=channel, producer=producer, dtype="f32")


def saying(what: Publication, release: Release) -> Offer:
    return dataclasses.replace(what.offer, release=SignedRelease(encode_release(release)))


async def test_rule_40_a_node_publishes_what_a_right_names_and_moves_what_it_names(hub: HubStore) -> None:
    quote(40, "A hub MUST refuse what a node offers of a model that no right of the node names, at every step")
    intake, what = hub.intake(OSLO), mine()
    with pytest.raises(RefusedError):
        await intake.consider(what.offer)
    hub.catalog.rights.allow(Whom("oslo"), "acme/*", [], BY)
    assert await intake.consider(what.offer) is None
    await bring(intake, what, Part.MANIFEST, [0])
    hub.catalog.rights.disallow(Whom("oslo"), "acme/*", BY)
    with pytest.raises(RefusedError):
        await intake.survey(what.offer, Part.CONTENT)
    with pytest.raises(RefusedError):
        await bring(intake, what, Part.CONTENT, [0])
    with pytest.raises(RefusedError):
        await intake.complete(what.offer)
    quote(40, "It MUST move a channel for a node only when a right names that channel, too.")
    hub.catalog.rights.allow(Whom("oslo"), "acme/*", ["edge"], BY)
    with pytest.raises(RefusedError):
        await intake.consider(mine(channel="stable").offer)
    assert (await push(intake, mine(channel="edge"))).created


async def test_rule_41_nobody_publishes_in_another_name(hub: HubStore) -> None:
    quote(41, "A hub MUST refuse a release whose producer is not whom the certificate of the session names.")
    hub.catalog.rights.allow(Whom("oslo"), "acme/*", ["*"], BY)
    for peer, name in ((OSLO, "node/bern"), (OSLO, "admin/oslo"), (Peer(Kind.ADMIN, "ann"), "node/oslo")):
        with pytest.raises(RefusedError):
            await hub.intake(peer).consider(mine(producer=name).offer)


async def test_rule_42_a_node_neither_hears_of_nor_uses_bases_that_it_may_not_know(hub: HubStore) -> None:
    quote(42, "A hub MUST NOT name a base to a node, nor decode what a node coded against one, unless rule 28")
    secret = publication({"m": OLD}, channel="canary", dtype="f32")
    await push(hub.intake(), secret)
    hub.catalog.rights.allow(Whom("oslo"), "acme/*", [], BY)
    intake, what = hub.intake(OSLO), mine(2)
    await bring(intake, what, Part.MANIFEST, [0])
    plain = what.chunks[0]
    codec, payload = encode(plain, READABLE, Hint("f32"), OLD[: len(plain)])
    coded = Keep(what.offer, Part.CONTENT, 0, codec, bytes(payload), Base(secret.manifest, (Run(0, 0, len(plain)),)))
    assert (await intake.survey(what.offer, Part.CONTENT)).bases == ()
    assert (await intake.keep([coded])).spoiled == (0,)
    hub.catalog.assignments.assign(HELMET, "canary", "oslo", {})
    assert (await intake.survey(what.offer, Part.CONTENT)).bases == (secret.manifest,)
    assert (await intake.keep([coded])).kept == (0,)


async def test_rule_43_a_release_tells_the_truth_about_its_manifest(hub: HubStore) -> None:
    quote(43, "A release that says of its manifest what that is not MUST be refused")
    intake, what = hub.intake(), mine(producer="admin/tester")
    await bring(intake, what, Part.MANIFEST, [0])
    await bring(intake, what, Part.CONTENT, range(len(what.chunks)))
    ref = dataclasses.replace(what.ref(), content_size=1)
    variant = dataclasses.replace(what.release.variants[0], manifest=ref)
    with pytest.raises(BadInputError):
        await intake.complete(saying(what, dataclasses.replace(what.release, variants=(variant,))))


async def test_rule_44_a_bundle_is_of_what_is_there(hub: HubStore) -> None:
    quote(44, "A bundle MUST be refused unless each of its members is there, as it says.")
    part = publication({"m": OLD}, model="acme/part")
    await push(hub.intake(), part)
    what = mine(producer="admin/tester")
    for number, digest in ((1, digest_of(b"other")), (2, digest_of(part.offer.release.release))):
        wrong = Member(parse_model("acme/part"), number, digest, "big")
        with pytest.raises(BadInputError):
            await hub.intake().consider(saying(what, dataclasses.replace(what.release, members=(wrong,))))


async def test_rule_45_a_number_that_comes_again_counts_once(hub: HubStore) -> None:
    quote(45, "What comes again with a key that the same sender used before MUST NOT count again")
    await push(hub.intake(), mine(producer="admin/tester"))
    row = NumberRow(HELMET, 1, "precision", 0.5, "", "", 1.0, "node/oslo", b"k")
    assert [hub.catalog.numbers.add([row])[0] for _ in range(2)] == [1, 0]
    assert len(hub.catalog.numbers.list(parse_ref("acme/helmet")).rows) == 1

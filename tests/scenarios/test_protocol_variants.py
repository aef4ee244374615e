"""The words of docs/protocol.md on releases in several variants: each MUST is quoted by a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud_hub import app
from cloud_hub.desired import desired
from cloud_hub.rights import AssignedOnly
from edge_agent.goals import understand
from edge_agent.reconcile import Observed, reconcile
from edge_agent.standings import standings
from modelsyncd.codec.registry import READABLE
from modelsyncd.digest import Digest, digest_of
from modelsyncd.errors import NotFoundError, NoVariantError, RefusedError
from modelsyncd.names import ModelRef, parse_model, parse_ref
from modelsyncd.session.frames import (
    PART_OF_IT,
    PROTOCOL,
    Assignment,
    Desired,
    Facts,
    Hello,
    Phase,
    Report,
    Unfit,
)
from modelsyncd.store.version import Version
from modelsyncd.wire.nouns import decode_release
from tests.fakes.forms import Form, in_forms
from tests.fakes.hub import running_hub, talking
from tests.fakes.hub_store import HubStore, hub_store, push
from tests.scenarios.words import quote

HELMET = parse_model("acme/helmet")
STABLE = ModelRef(HELMET, channel="stable")
FORMS = {"fp32": Form(1), "int8": Form(2, {"arch": "arm64"})}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubStore]:
    store = hub_store(tmp_path)
    store.catalog.nodes.invite("oslo", {"arch": "arm64"}, 2_000.0, 900.0)
    yield store
    store.close()


async def test_rule_47_a_release_begins_with_the_last_of_its_variants(hub: HubStore) -> None:
    quote(47, "A hub MUST commit a release only when every one of its variants is there whole.")
    one, other = in_forms(FORMS)
    assert (await push(hub.intake(), one)).number == PART_OF_IT
    with pytest.raises(NotFoundError):
        hub.catalog.models.release(parse_ref("acme/helmet"))
    assert (await push(hub.intake(), other)).number == 1


async def test_rule_48_a_node_is_given_the_variant_that_fits_it_and_no_other(hub: HubStore) -> None:
    quote(48, "A hub MUST offer a node the variant that fits it best, and no other")
    fp32, int8 = in_forms(FORMS, channel="stable")
    for each in (fp32, int8):
        await push(hub.intake(), each)
    hub.catalog.assignments.assign(HELMET, "stable", "oslo", {})
    assert offered(hub) == int8.manifest
    quote(48, "A node MUST NOT be given another variant of what its channels name.")
    right = AssignedOnly(hub.catalog, "oslo")
    right(int8.manifest)
    with pytest.raises(RefusedError):
        right(fp32.manifest)
    hub.catalog.nodes.label("oslo", {})
    assert offered(hub) == fp32.manifest
    right(fp32.manifest)
    with pytest.raises(RefusedError):
        right(int8.manifest)


async def test_rule_49_a_release_without_a_fitting_variant_is_named_with_what_is_in_the_way(hub: HubStore) -> None:
    quote(49, "a hub MUST say in the assignment which release that is and what keeps each variant from the node.")
    assert (await push(hub.intake(), in_forms({"trt": Form(3, {"gpu": "orin"})}, channel="stable")[0])).created
    hub.catalog.assignments.assign(HELMET, "stable", "oslo", {})
    (assignment,) = desired(hub.catalog.assignments.desired("oslo")).assignments
    assert assignment.offer is None
    assert assignment.unfit == Unfit(1, ("trt: gpu is not known, not orin",))


async def test_rule_50_what_a_node_says_of_itself_counts_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quote(50, "What a node says of itself in `Hello` MUST be heeded before its first `Desired`")
    monkeypatch.setattr(app, "FOLLOW", 3_600.0)  # what this process learns must reach its nodes without it
    plain, big = in_forms({"plain": Form(1), "big": Form(2, {"memory": ">=4GiB"})}, channel="stable")
    async with running_hub(tmp_path) as running:
        for each in (plain, big):
            await running.push(each)
        oslo = await running.node("oslo")
        running.stores.catalog.assignments.assign(HELMET, "stable", "oslo", {})
        hello = Hello(PROTOCOL, "test peer", READABLE, facts={"memory": (str(8 << 30),)})
        async with talking(running.address, oslo, hello=hello) as talk:
            first = await talk.desired()
            assert manifest_in(first) == big.manifest
            talk.say(Report(first.generation, (), facts={"memory": (str(2 << 30),)}))
            later = await talk.desired(lambda said: manifest_in(said) == plain.manifest)
            assert later.generation > first.generation


def test_rule_49_a_node_goes_on_with_what_is_active_and_says_why() -> None:
    quote(49, "The node MUST go on with what is active there, and reports `no-variant`.")
    unfit = Assignment(HELMET, "stable", None, unfit=Unfit(2, ("int8: arch is x86_64, not arm64",)))
    goals = understand(Desired(2, (unfit,), labels={}), decode_release, facts={"arch": ("x86_64",)})
    active = Version(HELMET, 1, digest_of(b"one"))
    seen = Observed(held=frozenset({active}), active={STABLE: active})
    assert reconcile(goals, seen, 0.0).actions == ()
    (standing,) = standings(goals, seen, {})
    assert (standing.phase, standing.desired, standing.active) == (Phase.REFUSED, 2, 1)
    assert standing.fault is not None
    assert standing.fault.code == NoVariantError.code
    assert "int8: arch is x86_64, not arm64" in standing.fault.message


@pytest.mark.parametrize(
    ("labels", "facts", "wanted"),
    [
        ({}, {"arch": ("aarch64", "arm64")}, True),
        ({}, {"arch": ("x86_64",)}, False),
        ({"arch": "arm64"}, {"arch": ("x86_64",)}, True),
        (None, {}, True),  # a hub that says no labels chose by them alone: nobody can say more
    ],
)
def test_rule_51_a_node_asks_again_whether_a_variant_fits(
    labels: dict[str, str] | None, facts: Facts, wanted: bool
) -> None:
    quote(51, "A node that was told its labels MUST ask the same question again with what it says of itself now")
    _, int8 = in_forms(FORMS)
    desired = Desired(1, (Assignment(HELMET, "stable", int8.offer),), labels=labels)
    goals = understand(desired, decode_release, facts=facts)
    assert [goal.version.manifest for goal in goals.goals] == ([int8.manifest] if wanted else [])
    assert goals.refs == {STABLE}
    codes = [misfit.fault.code for misfit in goals.misfits if misfit.fault is not None]
    assert codes == ([] if wanted else [NoVariantError.code])


def offered(hub: HubStore) -> Digest | None:
    return manifest_in(desired(hub.catalog.assignments.desired("oslo")))


def manifest_in(said: Desired) -> Digest | None:
    (assignment,) = said.assignments
    return assignment.offer.manifest if assignment.offer is not None else None

"""The words of docs/protocol.md on releases in several variants: each MUST is quoted by a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud_hub.desired import desired
from cloud_hub.rights import AssignedOnly
from modelsyncd.codec.registry import READABLE
from modelsyncd.digest import Digest
from modelsyncd.errors import NotFoundError, RefusedError
from modelsyncd.names import parse_model, parse_ref
from modelsyncd.session.frames import PART_OF_IT, PROTOCOL, Desired, Hello, Report, Unfit
from tests.fakes.forms import Form, in_forms
from tests.fakes.hub import running_hub, talking
from tests.fakes.hub_store import HubStore, hub_store, push
from tests.scenarios.words import quote

HELMET = parse_model("acme/helmet")
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


async def test_rule_50_what_a_node_says_of_itself_counts_at_once(tmp_path: Path) -> None:
    quote(50, "What a node says of itself in `Hello` MUST be heeded before its first `Desired`")
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


def offered(hub: HubStore) -> Digest | None:
    return manifest_in(desired(hub.catalog.assignments.desired("oslo")))


def manifest_in(said: Desired) -> Digest | None:
    (assignment,) = said.assignments
    return assignment.offer.manifest if assignment.offer is not None else None

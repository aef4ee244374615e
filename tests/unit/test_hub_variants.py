"""How a hub takes a release in several variants, at its ports: one after the other, and committed all at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud_hub.catalog import By, Whom
from modelsyncd.digest import digest_of
from modelsyncd.errors import BadInputError, NotFoundError, NumberTakenError, RefusedError
from modelsyncd.names import parse_model, parse_ref
from modelsyncd.release import Derivation
from modelsyncd.session.events import Settled
from modelsyncd.session.frames import PART_OF_IT, Part
from modelsyncd.trust.identity import Kind, Peer
from tests.fakes.forms import Form, in_forms
from tests.fakes.hub_store import HubStore, hub_store, push, spoil
from tests.fakes.publisher import publication, weights

HELMET = parse_model("acme/helmet")
FORMS = {"fp32": Form(1), "int8": Form(2, {"arch": "arm64"}), "trt": Form(3, {"accelerators": "cuda"})}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubStore]:
    store = hub_store(tmp_path)
    yield store
    store.close()


async def test_nothing_is_published_before_the_last_variant_is_there(hub: HubStore) -> None:
    first, second, third = in_forms(FORMS, channel="stable")
    intake = hub.intake()
    for each in (first, second):
        assert await push(intake, each) == Settled(PART_OF_IT, False, digest_of(each.offer.release.release))
        with pytest.raises(NotFoundError):
            hub.catalog.models.release(parse_ref("acme/helmet"))
    settled = await push(intake, third)
    assert (settled.number, settled.created) == (1, True)
    found = hub.catalog.models.release(parse_ref("acme/helmet@stable"))
    assert found.variants == first.release.variants
    assert [type(event).__name__ for event in hub.told] == ["Released", "Moved"]


async def test_they_may_come_in_any_order(hub: HubStore) -> None:
    intake = hub.intake()
    settled = [await push(intake, each) for each in reversed(in_forms(FORMS))]
    assert [each.number for each in settled] == [PART_OF_IT, PART_OF_IT, 1]


async def test_a_push_that_was_cut_between_two_variants_goes_on_where_it_stood(hub: HubStore) -> None:
    for each in in_forms(FORMS)[:2]:
        await push(hub.intake(), each)
    again = in_forms(FORMS)
    intake = hub.intake()  # another session, which knows nothing of the first
    settled = [await push(intake, each) for each in again]
    assert settled[-1].created
    assert [bool(each.given) for each in again] == [False, False, True]


async def test_a_variant_is_added_by_the_next_release_and_only_the_new_one_travels(hub: HubStore) -> None:
    intake = hub.intake()
    two = {name: FORMS[name] for name in ("fp32", "int8")}
    for each in in_forms(two):
        await push(intake, each)
    new = in_forms(FORMS, 2)[-1]
    settled = await push(intake, new)
    assert (settled.number, settled.created) == (2, True)
    assert {part for part, _ in new.given} == {Part.MANIFEST, Part.CONTENT}


async def test_variants_that_are_all_there_become_a_release_without_a_byte(hub: HubStore) -> None:
    intake = hub.intake()
    for each in in_forms(FORMS):
        await push(intake, each)
    fewer = in_forms({name: FORMS[name] for name in ("fp32", "trt")}, 2)[0]
    done = await intake.consider(fewer.offer)
    assert done is not None
    assert (done.number, done.created) == (2, True)
    assert fewer.given == []


async def test_the_same_variants_again_create_nothing(hub: HubStore) -> None:
    intake = hub.intake()
    for each in in_forms(FORMS):
        await push(intake, each)
    again = await intake.consider(in_forms(FORMS, 2, channel="canary")[1].offer)
    assert again is not None
    assert (again.number, again.created) == (1, False)
    assert hub.catalog.models.release(parse_ref("acme/helmet@canary")).number == 1


async def test_a_number_that_was_taken_meanwhile_is_refused_and_no_chunk_travels_twice(hub: HubStore) -> None:
    intake = hub.intake()
    first, second, third = in_forms(FORMS)
    for each in (first, second):
        await push(intake, each)
    await push(intake, publication({"model.bin": weights(9, 100)}))
    with pytest.raises(NumberTakenError) as refused:
        await push(intake, third)
    assert refused.value.next_number == 2
    again = in_forms(FORMS, 2)
    settled = [await push(intake, each) for each in again]
    assert [each.number for each in settled] == [PART_OF_IT, PART_OF_IT, 2]
    assert [bool(each.given) for each in again] == [False, False, True]


async def test_a_variant_that_was_found_damaged_meanwhile_holds_the_release_back_until_it_is_offered_again(
    hub: HubStore,
) -> None:
    intake = hub.intake()
    *early, last = in_forms(FORMS)
    for each in early:
        await push(intake, each)
    spoil(hub.catalog, hub.folder, early[0].chunks[1])
    _, lost = hub.stock.verify([digest_of(early[0].chunks[1])])
    assert len(lost) == 1
    assert (await push(intake, last)).number == PART_OF_IT
    again = in_forms(FORMS)[0]
    assert (await push(intake, again)).created
    assert again.given == [(Part.CONTENT, 1)]


async def test_two_variants_have_neither_one_name_nor_one_content(hub: HubStore) -> None:
    with pytest.raises(BadInputError, match="same content"):
        await hub.intake().consider(in_forms({"fp32": Form(1), "copy": Form(1)})[0].offer)


async def test_a_selector_that_no_node_meets_is_refused_unless_a_release_says_it_already(
    hub: HubStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Derivation(digest_of(b"fp32"), digest_of(b"step"), "onnx-int8", "1")
    odd = FORMS | {"int8": Form(2, {"memory": "4GiB"}, derivation=step)}
    with pytest.raises(BadInputError, match="variant int8 of acme/helmet: memory=4GiB is met by no node") as refused:
        await push(hub.intake(), in_forms(odd)[0])
    assert "memory=>=4GiB" in refused.value.hint
    with monkeypatch.context() as before:
        before.setattr("cloud_hub.commit.check_selector", lambda _: None)  # a hub of before
        for each in in_forms(odd):
            await push(hub.intake(), each)
    assert hub.catalog.models.release(parse_ref("acme/helmet")).variants[1].selector == {"memory": "4GiB"}
    more = in_forms(odd | {"fp16": Form(4)}, 2)
    assert (await push(hub.intake(), more[-1])).created


async def test_what_was_pushed_of_a_release_that_never_was_is_no_business_of_a_nodes(hub: HubStore) -> None:
    hub.catalog.nodes.invite("oslo", {}, 2_000.0, 900.0)
    hub.catalog.rights.allow(Whom("oslo"), "acme/other", [], By("admin/ann", 900.0))
    with pytest.raises(RefusedError):
        await hub.intake(Peer(Kind.NODE, "oslo")).consider(in_forms(FORMS, producer="node/oslo")[0].offer)


async def test_the_same_wish_carried_out_again_moves_nothing(hub: HubStore) -> None:
    intake, wish = hub.intake(), bytes(16)
    for each in in_forms(FORMS, channel="stable", wish=wish):
        await push(intake, each)
    await push(intake, publication({"model.bin": weights(9, 100)}, number=2, channel="stable"))
    again = await push(intake, in_forms(FORMS, 1, channel="stable", wish=wish)[0])
    assert (again.number, again.created) == (1, False)
    assert hub.catalog.models.release(parse_ref("acme/helmet@stable")).number == 2

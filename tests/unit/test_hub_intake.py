"""What a hub takes and gives, at its ports: rights, numbers, durability, damage and healing."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cloud_hub.events import Moved, Released
from cloud_hub.rights import AssignedOnly, Right, anything
from cloud_hub.stores import open_stores
from modelsyncd.codec.registry import READABLE, Codec, decode
from modelsyncd.digest import digest_of
from modelsyncd.errors import BadInputError, DamageError, NumberTakenError, RefusedError
from modelsyncd.names import parse_model, parse_ref
from modelsyncd.session.effects import Keep
from modelsyncd.session.events import Settled
from modelsyncd.session.frames import Part
from modelsyncd.trust.identity import Kind, Peer
from tests.fakes.hub_store import HubStore, bring, hub_store, push, spoil
from tests.fakes.publisher import STEP, Publication, publication, weights

HELMET = parse_model("acme/helmet")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubStore]:
    store = hub_store(tmp_path)
    yield store
    store.close()


def _model(seed: int = 1, number: int = 1, channel: str = "", chunks: int = 5) -> Publication:
    return publication({"model.bin": weights(seed, chunks * STEP - 100)}, number=number, channel=channel)


async def _given(hub: HubStore, which: Publication, right: Right = anything) -> list[bytes]:
    offers = hub.offers(right)
    chunks = await offers.load(which.manifest, Part.CONTENT, range(len(which.chunks)), READABLE, ())
    return [
        bytes(decode(chunk.codec, chunk.payload, len(plain))) for chunk, plain in zip(chunks, which.chunks, strict=True)
    ]


async def test_what_was_pushed_is_given_byte_for_byte(hub: HubStore) -> None:
    model = _model(channel="stable")
    settled = await push(hub.intake(), model)
    assert settled == Settled(1, True, digest_of(model.offer.release.release))
    assert await _given(hub, model) == model.chunks
    pieces = await hub.offers().load(model.manifest, Part.MANIFEST, [0], READABLE, ())
    ref = model.ref()
    assert digest_of(decode(pieces[0].codec, pieces[0].payload, ref.size)) == ref.digest
    assert hub.told == [
        Released(1_000.0, HELMET, 1),
        Moved(1_000.0, HELMET, "stable", 0, 1, "admin/tester", "push"),
    ]


async def test_pushing_the_same_content_again_creates_nothing_and_moves_the_channel(hub: HubStore) -> None:
    await push(hub.intake(), _model())
    hub.told.clear()
    again = _model(number=2, channel="canary")
    settled = await push(hub.intake(), again)
    assert (settled.number, settled.created) == (1, False)
    assert again.given == []
    assert hub.catalog.models.release(parse_ref("acme/helmet@canary")).number == 1
    assert hub.told == [Moved(1_000.0, HELMET, "canary", 0, 1, "admin/tester", "push")]


async def test_an_offer_whose_answer_was_lost_is_answered_again_and_moves_nothing(hub: HubStore) -> None:
    await push(hub.intake(), _model(1, 1, "stable"))
    wish = _model(2, 2, "stable")
    wish = replace(wish, offer=replace(wish.offer, id=b"i" * 16))
    assert (await push(hub.intake(), wish)).created
    hub.catalog.models.rollback(HELMET, "stable", "admin/ben", "it fails", 1_001.0)
    hub.told.clear()
    again = _model(2, 3, "stable")  # with the number that is next by now
    again = replace(again, offer=replace(again.offer, id=b"i" * 16))
    assert await push(hub.intake(), again) == Settled(2, False, digest_of(wish.offer.release.release))
    assert hub.catalog.models.release(parse_ref("acme/helmet@stable")).number == 1
    assert hub.told == []


async def test_a_number_that_is_not_the_next_is_refused_and_the_hint_names_the_next(hub: HubStore) -> None:
    await push(hub.intake(), _model(1, 1))
    for number in (1, 3):
        with pytest.raises(NumberTakenError) as refused:
            await hub.intake().consider(_model(2, number).offer)
        assert "acme/helmet:2" in refused.value.hint
    assert (await push(hub.intake(), _model(2, 2))).number == 2


async def test_a_peer_pushes_only_in_its_own_name_and_a_node_only_what_it_was_allowed(hub: HubStore) -> None:
    with pytest.raises(RefusedError, match="no right to publish"):
        await hub.intake(Peer(Kind.NODE, "n1")).consider(_model().offer)
    with pytest.raises(RefusedError, match="made it"):
        await hub.intake(Peer(Kind.ADMIN, "other")).consider(_model().offer)


async def test_chunks_of_an_earlier_release_are_not_asked_for_again(hub: HubStore) -> None:
    first = _model(chunks=4)
    await push(hub.intake(), first)
    data = b"".join(first.chunks)
    second = publication({"model.bin": data[: 3 * STEP] + weights(9, STEP)}, number=2)
    await push(hub.intake(), second)
    assert [ordinal for part, ordinal in second.given if part is Part.CONTENT] == [3]


async def test_equal_chunks_within_a_release_are_asked_for_once(hub: HubStore) -> None:
    block = weights(3, STEP)
    model = publication({"a": block * 3, "b": block + weights(4, 10)})
    await push(hub.intake(), model)
    assert [ordinal for part, ordinal in model.given if part is Part.CONTENT] == [0, 4]
    assert await _given(hub, model) == model.chunks


async def test_chunks_that_are_not_as_their_digest_says_are_spoiled_and_the_others_kept(hub: HubStore) -> None:
    model = _model()
    intake = hub.intake()
    await bring(intake, model, Part.MANIFEST, [0])
    model.spoiled = {1, 3}
    keeping = await bring(intake, model, Part.CONTENT, range(5))
    assert (keeping.kept, keeping.spoiled) == ((0, 2, 4), (1, 3))
    model.spoiled = set()
    assert list((await intake.survey(model.offer, Part.CONTENT)).ordinals) == [1, 3]


async def test_a_writing_that_can_not_be_read_is_spoiled(hub: HubStore) -> None:
    model = _model()
    intake = hub.intake()
    await bring(intake, model, Part.MANIFEST, [0])
    plain = model.chunks[0]
    for codec, payload in ((Codec.ZSTD, plain), (Codec.STORED, plain[:-1]), (Codec.STORED, plain + b"x")):
        keeping = await intake.keep([Keep(model.offer, Part.CONTENT, 0, codec, payload, None)])
        assert (keeping.kept, keeping.spoiled) == ((), (0,))


async def test_a_manifest_that_is_not_what_the_release_says_is_refused(hub: HubStore) -> None:
    honest, other = _model(1), _model(2)
    lie = Publication(honest.offer, honest.release, other.manifest_pieces, other.chunks)
    assert (await bring(hub.intake(), lie, Part.MANIFEST, [0])).spoiled == (0,)


async def test_a_release_is_not_committed_while_a_chunk_is_missing(hub: HubStore) -> None:
    model = _model()
    intake = hub.intake()
    await bring(intake, model, Part.MANIFEST, [0])
    await bring(intake, model, Part.CONTENT, [0, 1, 3, 4])
    with pytest.raises(DamageError):
        await intake.complete(model.offer)
    assert hub.catalog.models.next_number(HELMET) == 1


async def test_an_interrupted_push_goes_on_after_a_restart(hub: HubStore, tmp_path: Path) -> None:
    model = _model()
    await bring(hub.intake(), model, Part.MANIFEST, [0])
    await bring(hub.intake(), model, Part.CONTENT, [0, 1, 2])
    model.given.clear()
    hub.close()
    restarted = hub_store(tmp_path)
    try:
        assert (await push(restarted.intake(), model)).created
        assert model.given == [(Part.CONTENT, 3), (Part.CONTENT, 4)]
    finally:
        restarted.close()


async def test_chunks_that_were_durable_when_the_hub_was_killed_are_known_again_without_their_rows(
    hub: HubStore, tmp_path: Path
) -> None:
    model = _model()
    await push(hub.intake(), model)
    rows = hub.catalog.chunks.page(None, 100)
    hub.catalog.chunks.forget(rows)  # as if it was killed between the sync of the pack and the commit of the rows
    killed = tmp_path / "killed"
    shutil.copytree(tmp_path, killed, ignore=shutil.ignore_patterns("killed"))
    stores = open_stores(killed, "", "", 1_000.0)
    try:
        assert stores.recovered == len(rows)
        assert stores.stock.is_whole(model.ref())
    finally:
        stores.close()


async def test_two_pushes_at_once_of_overlapping_content_both_arrive(hub: HubStore) -> None:
    shared = weights(5, 4 * STEP)
    one = publication({"m": shared + weights(6, STEP)}, model="acme/one")
    two = publication({"m": shared + weights(7, STEP)}, model="acme/two")
    async with asyncio.TaskGroup() as group:
        pushing = [group.create_task(push(hub.intake(), model)) for model in (one, two)]
    assert [task.result().created for task in pushing] == [True, True]
    assert await _given(hub, one) == one.chunks
    assert await _given(hub, two) == two.chunks


async def test_of_two_pushes_of_the_same_content_at_once_one_creates_the_release(hub: HubStore) -> None:
    async with asyncio.TaskGroup() as group:
        pushing = [group.create_task(push(hub.intake(), _model())) for _ in range(2)]
    assert sorted(task.result().created for task in pushing) == [False, True]
    assert {task.result().number for task in pushing} == {1}


async def test_damaged_bytes_are_never_given_and_a_second_push_heals_them(hub: HubStore) -> None:
    model = _model()
    await push(hub.intake(), model)
    spoil(hub.catalog, hub.folder, model.chunks[2])
    with pytest.raises(DamageError) as damage:
        await _given(hub, model)
    assert "push it again" in damage.value.hint
    model.given.clear()
    assert not (await push(hub.intake(), model)).created
    assert model.given == [(Part.CONTENT, 2)]
    assert await _given(hub, model) == model.chunks


async def test_a_pack_that_is_gone_is_healed_by_a_second_push(hub: HubStore) -> None:
    model = _model()
    await push(hub.intake(), model)
    hub.writer.seal()
    for pack in hub.pack_files():
        pack.unlink()
    with pytest.raises(DamageError):
        await _given(hub, model)
    await push(hub.intake(), model)
    assert await _given(hub, model) == model.chunks


async def test_a_peer_that_reads_plain_bytes_only_gets_plain_bytes(hub: HubStore) -> None:
    model = publication({"zeros": bytes(2 * STEP)})
    await push(hub.intake(), model)
    (place,) = hub.catalog.chunks.places([digest_of(bytes(STEP))]).values()
    assert place.codec is Codec.ZSTD
    offers = hub.offers()
    chunks = await offers.load(model.manifest, Part.CONTENT, [0, 1], frozenset({Codec.STORED}), ())
    assert [(chunk.codec, bytes(chunk.payload)) for chunk in chunks] == [(Codec.STORED, bytes(STEP))] * 2


async def test_a_node_reads_only_what_its_channels_name_now(hub: HubStore) -> None:
    first, second = _model(1, 1, "stable"), _model(2, 2, "canary")
    await push(hub.intake(), first)
    await push(hub.intake(), second)
    hub.catalog.nodes.invite("n1", {}, 2_000.0, 1_000.0)
    right = AssignedOnly(hub.catalog, "n1")
    with pytest.raises(RefusedError, match="not assigned"):
        await _given(hub, first, right)
    hub.catalog.assignments.assign(HELMET, "stable", "n1", {})
    assert await _given(hub, first, right) == first.chunks
    with pytest.raises(RefusedError, match="not assigned"):
        await _given(hub, second, right)
    hub.catalog.models.promote(parse_ref("acme/helmet:2"), "stable", who="admin/a", note="", now=1_001.0)
    assert await _given(hub, second, right) == second.chunks
    with pytest.raises(RefusedError, match="not assigned"):
        await _given(hub, first, right)


async def test_a_chunk_that_is_not_in_the_manifest_is_refused_in_words(hub: HubStore) -> None:
    model = _model()
    await push(hub.intake(), model)
    offers = hub.offers()
    for ordinal in (5, -1, 1 << 31):
        with pytest.raises(BadInputError, match="no chunk"):
            await offers.load(model.manifest, Part.CONTENT, [ordinal], READABLE, ())

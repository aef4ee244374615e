"""What a hub gives to a peer that holds something like it: coded once, right, and never at the price of a transfer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from cloud_hub import encoder as encoder_room
from cloud_hub.efforts import EFFORTS, Efforts
from cloud_hub.encoder import Encoder, _Job
from cloud_hub.offers import Offers
from cloud_hub.rights import AssignedOnly, anything
from modelsyncd.bases import gather
from modelsyncd.codec import registry
from modelsyncd.codec.profile import Profile
from modelsyncd.codec.registry import NEEDS_BASE, READABLE, decode
from modelsyncd.digest import Digest, digest_of
from modelsyncd.errors import BadInputError, DamageError
from modelsyncd.names import parse_model, parse_ref
from modelsyncd.session.events import Encoded
from modelsyncd.session.frames import Part
from modelsyncd.store.packs import Record
from tests.fakes.hub_store import HubStore, hub_store, push, spoil
from tests.fakes.publisher import STEP, Publication, numbers, publication, trained

HELMET = parse_model("acme/helmet")
CHUNKS = 6
OLD = numbers(1, CHUNKS * STEP // 4 - 3)
NEW = trained(OLD, 2)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubStore]:
    store = hub_store(tmp_path)
    yield store
    store.close()


@pytest.fixture
async def pair(hub: HubStore) -> tuple[Publication, Publication]:
    old = publication({"model.bin": OLD}, channel="stable", dtype="f32")
    new = publication({"model.bin": NEW}, number=2, channel="stable", dtype="f32")
    await push(hub.intake(), old)
    await push(hub.intake(), new)
    return old, new


def plain_of(given: Sequence[Encoded], new: Publication, held: bytes = OLD) -> list[bytes]:
    """What a peer that holds one file makes of what it is given."""
    found = []
    for chunk in given:
        base = None
        if chunk.base is not None:
            base = gather(chunk.base.runs, lambda _, offset, size: held[offset : offset + size])
        found.append(bytes(decode(chunk.codec, chunk.payload, len(new.chunks[chunk.ordinal]), base)))
    return found


async def given(offers: Offers, what: Publication, *bases: Digest, rate: float = 0.0) -> Sequence[Encoded]:
    return await offers.load(what.manifest, Part.CONTENT, range(len(what.chunks)), READABLE, bases, rate=rate)


def wire(chunks: Sequence[Encoded]) -> int:
    return sum(len(chunk.payload) for chunk in chunks)


Pair = tuple[Publication, Publication]


async def test_what_the_peer_holds_makes_every_chunk_small_and_it_decodes_to_the_same_bytes(
    hub: HubStore, pair: Pair
) -> None:
    old, new = pair
    coded = await given(hub.offers(), new, old.manifest)
    assert plain_of(coded, new) == new.chunks
    assert all(chunk.codec in NEEDS_BASE and chunk.base is not None for chunk in coded)
    assert wire(coded) < 0.45 * wire(await given(hub.offers(), new))
    assert all(chunk.cpu > 0 for chunk in coded)


async def test_a_peer_that_names_nothing_or_can_not_decode_it_gets_what_rests(hub: HubStore, pair: Pair) -> None:
    old, new = pair
    resting = await given(hub.offers(), new)
    assert all(chunk.base is None for chunk in resting)
    alone = await hub.offers().load(new.manifest, Part.CONTENT, range(3), READABLE - NEEDS_BASE, [old.manifest])
    assert [chunk.base for chunk in alone] == [None] * 3
    assert plain_of(alone, new) == new.chunks[:3]


async def test_bases_that_this_hub_never_had_are_passed_over(hub: HubStore, pair: Pair) -> None:
    old, new = pair
    stranger = digest_of(b"never pushed here")
    assert all(chunk.base is None for chunk in await given(hub.offers(), new, stranger))
    coded = await given(hub.offers(), new, stranger, old.manifest)
    assert {chunk.base.manifest for chunk in coded if chunk.base} == {old.manifest}


async def test_a_chunk_that_nothing_makes_smaller_goes_as_it_rests_and_that_is_found_out_once(
    hub: HubStore, pair: Pair
) -> None:
    old, _ = pair
    other = publication({"model.bin": numbers(77, CHUNKS * STEP // 4 - 3)}, number=3, dtype="f32")
    await push(hub.intake(), other)
    encoder = hub.encoder()
    first = encoder.encode(other.manifest, range(CHUNKS), [old.manifest], READABLE, Profile.SMALLEST)
    made = encoder.encodings
    again = encoder.encode(other.manifest, range(CHUNKS), [old.manifest], READABLE, Profile.SMALLEST)
    assert plain_of(first, other) == plain_of(again, other) == other.chunks
    assert encoder.encodings == made <= CHUNKS


async def test_a_thousand_nodes_at_once_cost_one_encoding_of_each_chunk(hub: HubStore, pair: Pair) -> None:
    old, new = pair
    encoder = hub.encoder()
    offers = [Offers(hub.stock, encoder, anything, Efforts(EFFORTS["auto"])) for _ in range(1_000)]
    async with asyncio.TaskGroup() as group:
        loads = [group.create_task(given(each, new, old.manifest)) for each in offers]
    assert encoder.encodings == CHUNKS
    assert plain_of(loads[0].result(), new) == new.chunks
    sizes = {tuple(len(chunk.payload) for chunk in load.result()) for load in loads}
    assert len(sizes) == 1


async def test_two_at_the_same_instant_make_each_coding_once_though_none_is_kept(
    hub: HubStore, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = pair
    monkeypatch.setattr(hub.codings, "_room", 0)
    encoder = hub.encoder()
    waits = threading.Event()
    make, arrived = encoder._make, encoder_room._arrived

    def late(lacking: Mapping[Digest, _Job], *rest: Any) -> dict[Digest, Record]:
        assert not lacking or waits.wait(20), "nobody waited for what was being made"
        return make(lacking, *rest)

    def waiting(flight: Future[Record | None]) -> Record | None:
        waits.set()
        return arrived(flight)

    monkeypatch.setattr(encoder, "_make", late)
    monkeypatch.setattr(encoder_room, "_arrived", waiting)
    async with asyncio.TaskGroup() as group:
        both = [group.create_task(asyncio.to_thread(encode, encoder, new, old)) for _ in range(2)]
    assert encoder.encodings == CHUNKS
    assert [plain_of(task.result(), new) for task in both] == [new.chunks] * 2
    assert not encoder._flights


def encode(encoder: Encoder, new: Publication, old: Publication, how: Profile = Profile.SMALLEST) -> list[Encoded]:
    return encoder.encode(new.manifest, range(CHUNKS), [old.manifest], READABLE, how)


async def test_a_damaged_base_costs_its_own_chunks_only_and_never_the_transfer(hub: HubStore, pair: Pair) -> None:
    old, new = pair
    spoil(hub.catalog, hub.folder, old.chunks[CHUNKS - 1])
    coded = await given(hub.offers(), new, old.manifest)
    assert plain_of(coded, new) == new.chunks
    assert coded[-1].base is None
    assert {chunk.base is not None for chunk in coded[:-1]} == {True}


async def test_a_base_of_which_nothing_is_left_costs_nothing_but_bytes(hub: HubStore, pair: Pair) -> None:
    old, new = pair
    for chunk in old.chunks:
        spoil(hub.catalog, hub.folder, chunk)
    coded = await given(hub.offers(), new, old.manifest)
    assert plain_of(coded, new) == new.chunks
    assert all(chunk.base is None for chunk in coded)


async def test_a_base_whose_manifest_is_damaged_costs_nothing_but_bytes(hub: HubStore, pair: Pair) -> None:
    old, new = pair
    spoil(hub.catalog, hub.folder, old.manifest_pieces[0])
    coded = await given(hub.offers(), new, old.manifest)
    assert plain_of(coded, new) == new.chunks
    assert all(chunk.base is None for chunk in coded)


async def test_a_codec_that_stumbles_costs_nothing_but_bytes(
    hub: HubStore, pair: Pair, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    old, new = pair
    right = registry.encode

    def stumbling(plain: bytes, *rest: Any) -> object:
        if digest_of(plain) == digest_of(new.chunks[1]):
            raise IndexError("as a bug would")
        return right(plain, *rest)

    monkeypatch.setattr(encoder_room, "encode", stumbling)
    coded = await given(hub.offers(), new, old.manifest)
    assert plain_of(coded, new) == new.chunks
    assert [chunk.ordinal for chunk in coded if chunk.base is None] == [1]
    assert "coding.failed" in [record.getMessage() for record in caplog.records]


async def test_damaged_bytes_of_what_is_wanted_are_never_given_coded_or_not(hub: HubStore, pair: Pair) -> None:
    old, new = pair
    encoder = hub.encoder()
    encode(encoder, new, old)
    spoil(hub.catalog, hub.folder, new.chunks[2])
    with pytest.raises(DamageError):
        encode(encoder, new, old)


async def test_a_node_is_given_nothing_coded_against_what_its_channels_never_named(hub: HubStore, pair: Pair) -> None:
    old, new = pair
    secret = publication({"model.bin": trained(OLD, 9)}, number=3, channel="canary", dtype="f32")
    await push(hub.intake(), secret)
    hub.catalog.nodes.invite("n1", {}, 2_000.0, 1_000.0)
    hub.catalog.assignments.assign(HELMET, "stable", "n1", {})
    offers = hub.offers(AssignedOnly(hub.catalog, "n1"))
    assert {chunk.base for chunk in await given(offers, new, secret.manifest)} == {None}
    both = await given(offers, new, secret.manifest, old.manifest)
    assert {chunk.base.manifest for chunk in both if chunk.base} == {old.manifest}
    hub.catalog.models.promote(parse_ref("acme/helmet:3"), "stable", who="admin/a", note="", now=1.0)
    hub.catalog.models.promote(parse_ref("acme/helmet:2"), "stable", who="admin/a", note="", now=2.0)
    after = await given(offers, new, secret.manifest)
    assert {chunk.base.manifest for chunk in after if chunk.base} == {secret.manifest}
    assert plain_of(after, new, held=b"".join(secret.chunks)) == new.chunks


async def test_the_setting_or_the_link_says_how_hard_it_is_tried(hub: HubStore, pair: Pair) -> None:
    old, new = pair
    for effort, rate, coded in (
        ("plain", 0.0, False),
        ("auto", 1e12, False),
        ("auto", 0.0, True),
        ("auto", 1e6, True),
        ("fast", 1e12, True),
        ("smallest", 1e12, True),
    ):
        chunks = await given(hub.offers(effort=EFFORTS[effort]), new, old.manifest, rate=rate)
        assert {chunk.base is not None for chunk in chunks} == {coded}, effort
        assert plain_of(chunks, new) == new.chunks


async def test_a_smaller_coding_that_is_kept_serves_a_faster_link_too(hub: HubStore, pair: Pair) -> None:
    old, new = pair
    encoder = hub.encoder()
    smallest = encode(encoder, new, old)
    assert [bytes(chunk.payload) for chunk in encode(encoder, new, old, Profile.FAST)] == [
        bytes(chunk.payload) for chunk in smallest
    ]
    assert encoder.encodings == CHUNKS


async def test_an_ordinal_that_is_not_there_is_refused_though_bases_are_named(hub: HubStore, pair: Pair) -> None:
    old, new = pair
    with pytest.raises(BadInputError, match="no chunk"):
        await hub.offers().load(new.manifest, Part.CONTENT, [CHUNKS], READABLE, [old.manifest])


async def test_plain_bytes_in_a_turned_matrix_are_found_and_coded(hub: HubStore) -> None:
    pytest.importorskip("numpy")
    await _turned(hub)


async def _turned(hub: HubStore) -> None:
    side = 128
    rows = [OLD[row * side * 4 : (row + 1) * side * 4] for row in range(side)]
    turned = b"".join(row[column * 4 : column * 4 + 4] for column in range(side) for row in rows)
    old = publication({"a.bin": b"".join(rows)}, dtype="f32", shape=(side, side))
    new = publication({"b.bin": turned}, number=2, dtype="f32", shape=(side, side), tensor="other")
    await push(hub.intake(), old)
    await push(hub.intake(), new)
    coded = await given(hub.offers(), new, old.manifest)
    assert coded[0].base is not None
    assert coded[0].base.runs[0].turned is not None
    assert len(coded[0].payload) < STEP // 50

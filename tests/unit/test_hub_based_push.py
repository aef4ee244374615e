"""What a hub does with a push that is coded against what it holds."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from modelsyncd.bases import Run, gather
from modelsyncd.codec.hint import Hint
from modelsyncd.codec.registry import NEEDS_BASE, READABLE, Codec, decode, encode
from modelsyncd.digest import digest_of
from modelsyncd.names import parse_model, parse_ref
from modelsyncd.release import Parent
from modelsyncd.session.effects import Keep
from modelsyncd.session.frames import Base, Part
from modelsyncd.session.ports import Keeping
from tests.fakes.hub_store import HubStore, bring, hub_store, push, spoil
from tests.fakes.publisher import STEP, Publication, numbers, publication, trained

CHUNKS = 4
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
    await push(hub.intake(), old)
    new = publication({"model.bin": NEW}, number=2, dtype="f32")
    await bring(hub.intake(), new, Part.MANIFEST, [0])
    return old, new


Pair = tuple[Publication, Publication]


def coded(old: Publication, new: Publication, ordinal: int, held: bytes = OLD) -> Keep:
    """The chunk as somebody who holds `held` would send it, coded against the same place of `old`."""
    plain = new.chunks[ordinal]
    runs = (Run(0, ordinal * STEP, len(plain)),)
    base = gather(runs, lambda _, offset, size: held[offset : offset + size])
    codec, payload = encode(plain, READABLE, Hint("f32"), base)
    assert codec in NEEDS_BASE
    return Keep(new.offer, Part.CONTENT, ordinal, codec, bytes(payload), Base(old.manifest, runs))


async def resting(hub: HubStore, new: Publication) -> list[bytes]:
    """The content as a peer without anything would get it."""
    chunks = await hub.offers().load(new.manifest, Part.CONTENT, range(CHUNKS), READABLE, ())
    return [bytes(decode(each.codec, each.payload, len(new.chunks[each.ordinal]))) for each in chunks]


async def keep(hub: HubStore, *keeps: Keep) -> Keeping:
    return await hub.intake().keep(keeps)


async def test_what_came_against_a_base_rests_on_its_own_and_outlives_base_and_codings(
    hub: HubStore, pair: Pair
) -> None:
    old, new = pair
    keeping = await keep(hub, *(coded(old, new, ordinal) for ordinal in range(CHUNKS)))
    assert keeping.kept == tuple(range(CHUNKS))
    assert keeping.cpu > 0
    await hub.intake().complete(new.offer)
    places = hub.catalog.chunks.places([digest_of(chunk) for chunk in new.chunks])
    assert not {place.codec for place in places.values()} & NEEDS_BASE
    assert sum(place.length for place in places.values()) <= len(NEW)
    for chunk in old.chunks:
        spoil(hub.catalog, hub.folder, chunk)
    hub.codings.close()
    shutil.rmtree(hub.folder / "codings", ignore_errors=True)
    assert await resting(hub, new) == new.chunks


def _elsewhere(keep: Keep, **changes: object) -> Keep:
    assert keep.base is not None
    run = dataclasses.replace(keep.base.runs[0], **changes)  # type: ignore[arg-type]
    return dataclasses.replace(keep, base=dataclasses.replace(keep.base, runs=(run,)))


def _wrong(keep: Keep) -> Iterator[tuple[str, Keep]]:
    assert keep.base is not None
    yield "another place of the base", _elsewhere(keep, offset=keep.base.runs[0].offset - 64)
    yield "a file that is not there", _elsewhere(keep, file=7)
    yield "past the end of the file", _elsewhere(keep, offset=len(OLD) - 5)
    yield "fewer bytes than the chunk has", _elsewhere(keep, size=100)
    yield "no runs", dataclasses.replace(keep, base=Base(keep.base.manifest, ()))
    yield "a manifest that is not here", dataclasses.replace(keep, base=Base(digest_of(b"x"), keep.base.runs))
    yield "no base at all", dataclasses.replace(keep, base=None)
    yield "a payload that is cut", dataclasses.replace(keep, payload=keep.payload[:-9])
    yield "a payload of nonsense", dataclasses.replace(keep, payload=bytes(range(256)) * 8)
    yield "a chunk of another ordinal", dataclasses.replace(keep, ordinal=0)


async def test_whatever_is_wrong_with_a_base_or_a_payload_spoils_that_chunk_alone(hub: HubStore, pair: Pair) -> None:
    old, new = pair
    right, victim = coded(old, new, 1), coded(old, new, 2)
    for what, wrong in _wrong(victim):
        keeping = await keep(hub, wrong, right)
        assert (keeping.kept, keeping.spoiled) == ((1,), (wrong.ordinal,)), what
    assert list((await hub.intake().survey(new.offer, Part.CONTENT)).ordinals) == [0, 2, 3]
    assert (await bring(hub.intake(), new, Part.CONTENT, [0, 2, 3])).spoiled == ()
    await hub.intake().complete(new.offer)
    assert await resting(hub, new) == new.chunks


async def test_a_base_that_the_pusher_has_in_another_form_spoils_and_never_corrupts(hub: HubStore, pair: Pair) -> None:
    old, new = pair
    keeping = await keep(hub, coded(old, new, 0, held=trained(OLD, 99)))
    assert (keeping.kept, keeping.spoiled) == ((), (0,))


async def test_a_base_that_rots_between_offer_and_give_spoils_its_own_chunks(hub: HubStore, pair: Pair) -> None:
    old, new = pair
    intake = hub.intake()
    assert list((await intake.survey(new.offer, Part.CONTENT)).bases) == [old.manifest]
    spoil(hub.catalog, hub.folder, old.chunks[1])
    keeping = await intake.keep([coded(old, new, ordinal) for ordinal in range(CHUNKS)])
    assert (keeping.kept, keeping.spoiled) == ((0, 2, 3), (1,))
    assert (await intake.survey(new.offer, Part.CONTENT)).bases == ()  # it is not whole any more


async def test_the_bases_of_a_push_are_what_is_here_whole_channels_first_then_the_newest(hub: HubStore) -> None:
    models = [publication({"m": numbers(seed, 500)}, number=seed, dtype="f32") for seed in range(1, 21)]
    for model in models:
        await push(hub.intake(), model)
    hub.catalog.models.promote(parse_ref("acme/helmet:2"), "stable", who="admin/a", note="", now=1.0)
    spoil(hub.catalog, hub.folder, models[18].chunks[0])
    with pytest.raises(Exception, match="damaged"):
        await hub.offers().load(models[18].manifest, Part.CONTENT, [0], READABLE, ())
    new = publication({"m": numbers(99, 500)}, number=21, dtype="f32")
    bases = await _bases(hub, new)
    order = [2, 20, *range(18, 5, -1)]  # 16 are looked at, and 19 is not whole
    assert [next(n for n, each in enumerate(models, 1) if each.manifest == base) for base in bases] == order


async def _bases(hub: HubStore, new: Publication) -> Sequence[bytes]:
    intake = hub.intake()
    assert (await intake.survey(new.offer, Part.MANIFEST)).bases == ()
    await bring(intake, new, Part.MANIFEST, [0])
    return (await intake.survey(new.offer, Part.CONTENT)).bases


async def test_a_parent_of_another_model_is_a_base_and_comes_first(hub: HubStore) -> None:
    globe = publication({"m": OLD}, model="acme/global", dtype="f32")
    mine = publication({"m": numbers(5, 900)}, model="acme/client", dtype="f32")
    await push(hub.intake(), globe)
    await push(hub.intake(), mine)
    row = hub.catalog.models.release(parse_ref("acme/global:1"))
    parents = (
        Parent(parse_model("acme/global"), 1, row.digest, "base"),
        Parent(parse_model("acme/nobody"), 3, row.digest, "base"),
    )
    new = publication({"m": NEW}, model="acme/client", number=2, dtype="f32", parents=parents)
    assert list(await _bases(hub, new)) == [globe.manifest, mine.manifest]


async def test_an_old_release_that_is_damaged_is_no_reason_to_refuse_a_new_one(hub: HubStore, pair: Pair) -> None:
    old, new = pair
    spoil(hub.catalog, hub.folder, old.manifest_pieces[0])
    restarted = hub_store(hub.folder)  # which has nothing in memory
    try:
        missing = await restarted.intake().survey(new.offer, Part.CONTENT)
        assert (len(missing.ordinals), missing.bases) == (CHUNKS, ())
    finally:
        restarted.close()


async def test_a_push_without_a_base_rests_as_it_came(hub: HubStore) -> None:
    model = publication({"zeros": bytes(STEP)})
    await push(hub.intake(), model)
    (place,) = hub.catalog.chunks.places([digest_of(bytes(STEP))]).values()
    codec, payload = encode(bytes(STEP), READABLE)
    assert (place.codec, place.length) == (codec, len(payload))
    assert Codec(place.codec) is not Codec.STORED

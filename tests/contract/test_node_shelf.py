"""What a session expects of a taker's store (session/ports.py), asked of a node's, with real files under it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import edge_agent.shelf
from edge_agent.activate import TreeStore
from edge_agent.shelf import NodeShelf
from modelsyncd.codec.registry import READABLE, Codec, encode
from modelsyncd.digest import digest_of
from modelsyncd.errors import BadInputError, ConflictError, DamageError, DiskError, RefusedError
from modelsyncd.manifest import piece_digests
from modelsyncd.names import ModelName, ModelRef
from modelsyncd.release import ManifestRef, Release, SignedRelease, Variant
from modelsyncd.session.effects import Keep
from modelsyncd.session.events import Settled
from modelsyncd.session.frames import Offer, Part
from modelsyncd.session.ports import TakerStore
from modelsyncd.session.progress import Progress
from modelsyncd.store.cache import Cache
from modelsyncd.store.tree import EdgeTree
from modelsyncd.wire import nouns
from tests.fakes.versions import HELMET, STEP, Published, changed, content_of, fetch, published, some_files

FILES = some_files(random.Random(5), 20)
FIRST = published(FILES, 1)
SECOND = published(changed(FILES, "model.bin", 3 * STEP, b"new"), 2)
EVERYTHING = list(range(len(FIRST.chunks)))


class Node:
    """One life of an agent's store."""

    def __init__(self, root: Path) -> None:
        self.tree = EdgeTree(root, nouns)
        self.tree.prepare()
        self.cache = Cache(root / "cache.db")
        self.shelf = NodeShelf(self.tree, self.cache)

    def content(self, what: Published) -> dict[str, bytes]:
        return content_of(self.tree.layout.version(what.version))


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path)
    yield node
    node.shelf.close()
    node.cache.close()


def a_store(node: Node) -> TakerStore:
    return node.shelf


def spoil(path: Path, offset: int) -> None:
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 1]))


async def test_a_node_takes_nothing_that_it_was_not_assigned(node: Node) -> None:
    with pytest.raises(RefusedError):
        await a_store(node).consider(FIRST.offer)
    assert node.tree.staged() == frozenset()


async def test_a_version_arrives_whole(node: Node) -> None:
    fetched = await fetch(node.shelf, FIRST, settle=False)
    assert fetched.content() == EVERYTHING
    assert node.tree.versions() == []
    settled = await node.shelf.complete(FIRST.offer)
    assert settled == Settled(1, True, digest_of(FIRST.offer.release.release))
    assert node.tree.versions() == [FIRST.version]
    assert node.content(FIRST) == FILES
    assert node.tree.staged() == frozenset()


async def test_a_survey_lists_all_sizes_and_first_the_manifest(node: Node) -> None:
    missing = await node.shelf.survey(FIRST.offer, Part.MANIFEST)
    assert list(missing.sizes) == [len(FIRST.manifest_bytes)]
    assert list(missing.ordinals) == [0]
    await node.shelf.keep(FIRST.keeps(Part.MANIFEST, [0]))
    assert (await node.shelf.survey(FIRST.offer, Part.MANIFEST)).ordinals == []
    missing = await node.shelf.survey(FIRST.offer, Part.CONTENT)
    assert list(missing.sizes) == [len(plain) for plain in FIRST.chunks]
    assert list(missing.ordinals) == EVERYTHING


async def test_a_large_manifest_arrives_in_pieces_and_survives_a_death(tmp_path: Path) -> None:
    large = published({f"{number:05}.bin": b"" for number in range(9_000)})
    node = Node(tmp_path)
    missing = (await node.shelf.survey(large.offer, Part.MANIFEST)).ordinals
    assert len(missing) > 1
    await node.shelf.keep(large.keeps(Part.MANIFEST, missing[:1]))
    again = Node(tmp_path)
    assert (await again.shelf.survey(large.offer, Part.MANIFEST)).ordinals == missing[1:]
    await again.shelf.keep(large.keeps(Part.MANIFEST, missing[1:]))
    assert (await Node(tmp_path).shelf.survey(large.offer, Part.MANIFEST)).ordinals == []


async def test_arrivals_that_are_not_what_their_digest_says_are_spoiled_and_the_others_kept(node: Node) -> None:
    await fetch_manifest(node, FIRST)
    good = FIRST.keeps(Part.CONTENT, [1])[0]
    bad = [
        replace(good, ordinal=2),
        replace(good, ordinal=3, payload=FIRST.chunks[3] + b"x"),
        replace(good, ordinal=4, payload=b""),
        replace(good, ordinal=5, codec=Codec.ZSTD, payload=b"no zstd"),
        replace(good, ordinal=len(EVERYTHING)),
    ]
    keeping = await node.shelf.keep([bad[0], good, *bad[1:]])
    assert keeping.kept == (1,)
    assert keeping.spoiled == (2, 3, 4, 5, len(EVERYTHING))
    missing = (await node.shelf.survey(FIRST.offer, Part.CONTENT)).ordinals
    assert missing == [one for one in EVERYTHING if one != 1]


async def fetch_manifest(node: Node, what: Published) -> list[int]:
    """Takes the manifest in; returns the content that is missing."""
    missing = (await node.shelf.survey(what.offer, Part.MANIFEST)).ordinals
    await node.shelf.keep(what.keeps(Part.MANIFEST, missing))
    return list((await node.shelf.survey(what.offer, Part.CONTENT)).ordinals)


async def test_coded_chunks_are_decoded(node: Node) -> None:
    what = published({"words": b"the same words again and again " * 500})
    ordinals = await fetch_manifest(node, what)
    coded = [encode(what.chunks[one], READABLE) for one in ordinals]
    assert {codec for codec, _ in coded} == {Codec.ZSTD}
    batch = [
        Keep(what.offer, Part.CONTENT, one, codec, bytes(payload), None)
        for one, (codec, payload) in zip(ordinals, coded, strict=True)
    ]
    assert (await node.shelf.keep(batch)).kept == tuple(ordinals)
    await node.shelf.complete(what.offer)
    assert node.content(what) == what.files


async def test_a_digest_that_occurs_twice_travels_once(node: Node) -> None:
    what = published({"a": b"s" * STEP + b"t" * STEP + b"s" * STEP, "b": b"s" * STEP})
    assert (await fetch(node.shelf, what)).content() == [0, 1]
    assert node.content(what) == what.files


async def test_completing_twice_settles_once(node: Node) -> None:
    await fetch(node.shelf, FIRST)
    settled = await node.shelf.complete(FIRST.offer)
    assert settled == Settled(1, False, digest_of(FIRST.offer.release.release))


async def test_what_is_held_needs_nothing_even_in_a_new_life(node: Node, tmp_path: Path) -> None:
    await fetch(node.shelf, FIRST)
    again = Node(tmp_path)
    assert (await fetch(again.shelf, FIRST)).chunks == []
    assert again.tree.staged() == frozenset()


async def test_what_was_discarded_in_the_middle_begins_anew_with_its_manifest(node: Node) -> None:
    ordinals = await fetch_manifest(node, FIRST)
    await node.shelf.keep(FIRST.keeps(Part.CONTENT, ordinals[:2]))
    store = TreeStore(node.tree, node.cache, node.shelf.forget)
    store.discard(FIRST.version.manifest)
    assert not node.tree.has_manifest(FIRST.version.manifest)
    assert (await fetch(node.shelf, FIRST)).content() == EVERYTHING
    assert node.tree.has_manifest(FIRST.version.manifest)
    assert node.content(FIRST) == FILES


async def test_no_version_is_shown_without_its_manifest(node: Node) -> None:
    ordinals = await fetch_manifest(node, FIRST)
    await node.shelf.keep(FIRST.keeps(Part.CONTENT, ordinals))
    node.tree.layout.manifest(FIRST.version.manifest).unlink()
    with pytest.raises(DamageError):
        await node.shelf.complete(FIRST.offer)
    assert node.tree.versions() == []
    assert not node.tree.layout.version(FIRST.version).exists()


async def test_completing_too_early_is_damage_and_nothing_is_shown(node: Node) -> None:
    ordinals = await fetch_manifest(node, FIRST)
    await node.shelf.keep(FIRST.keeps(Part.CONTENT, ordinals[1:]))
    with pytest.raises(DamageError):
        await node.shelf.complete(FIRST.offer)
    assert node.tree.versions() == []
    assert not node.tree.layout.version(FIRST.version).exists()
    assert (await fetch(node.shelf, FIRST)).content() == ordinals[:1]


async def test_a_death_after_any_batch_costs_nothing(tmp_path: Path) -> None:
    travelled: list[int] = []

    class DiedError(Exception):
        pass

    def die(_: int) -> None:
        raise DiedError

    for _ in range(100):
        node = Node(tmp_path)  # nothing is closed, nothing flushed: the old objects are just gone
        before = set(await fetch_manifest(node, FIRST))
        try:
            await fetch(node.shelf, FIRST, batch=3, then=die)
            break
        except DiedError:
            after = set((await Node(tmp_path).shelf.survey(FIRST.offer, Part.CONTENT)).ordinals)
            travelled += before - after
    else:
        pytest.fail("it never came to an end")
    assert sorted(travelled) == EVERYTHING
    assert node.content(FIRST) == FILES


async def test_an_update_takes_only_what_changed_and_counts_the_rest_as_had(node: Node) -> None:
    await fetch(node.shelf, FIRST)
    fetched = await fetch(node.shelf, SECOND, settle=False)
    assert [SECOND.chunks[one] for one in fetched.content()] == [SECOND.files["model.bin"][3 * STEP : 4 * STEP]]
    total = SECOND.manifest.content_size
    assert node.shelf.progress(SECOND.offer.manifest) == Progress(total, total - STEP, total)
    await node.shelf.complete(SECOND.offer)
    assert node.content(SECOND) == SECOND.files
    assert node.content(FIRST) == FIRST.files


async def test_bytes_had_are_those_before_the_transfer_whatever_happens_to_the_link(node: Node) -> None:
    ordinals = await fetch_manifest(node, FIRST)
    await node.shelf.keep(FIRST.keeps(Part.CONTENT, ordinals[:2]))
    written = sum(len(FIRST.chunks[one]) for one in ordinals[:2])
    await node.shelf.survey(FIRST.offer, Part.MANIFEST)
    await node.shelf.survey(FIRST.offer, Part.CONTENT)  # another session
    assert node.shelf.progress(FIRST.offer.manifest) == Progress(FIRST.manifest.content_size, 0, written)
    assert node.shelf.progress(SECOND.offer.manifest) == Progress()


async def test_recorded_chunks_that_rot_are_found_before_anybody_sees_them_and_only_they_travel_again(
    node: Node, tmp_path: Path
) -> None:
    ordinals = await fetch_manifest(node, FIRST)
    await node.shelf.keep(FIRST.keeps(Part.CONTENT, ordinals))
    spoil(node.tree.layout.staged(FIRST.offer.manifest) / "model.bin", 5 * STEP)
    again = Node(tmp_path)
    assert (await again.shelf.survey(FIRST.offer, Part.CONTENT)).ordinals == []
    with pytest.raises(DiskError) as caught:
        await again.shelf.complete(FIRST.offer)
    assert "fetched again" in caught.value.hint
    assert caught.value.retryable
    assert again.tree.versions() == []
    fetched = await fetch(again.shelf, FIRST)
    assert [FIRST.chunks[one] for one in fetched.content()] == [FILES["model.bin"][5 * STEP : 6 * STEP]]
    assert again.content(FIRST) == FILES


async def test_a_damaged_version_is_repaired_with_its_bad_chunks_alone_and_serves_meanwhile(node: Node) -> None:
    await fetch(node.shelf, FIRST)
    stable = ModelRef(HELMET, channel="stable")
    node.tree.activate(stable, FIRST.version)
    spoil(node.tree.layout.version(FIRST.version) / "model.bin", 7 * STEP)
    node.tree.quarantine(FIRST.version)
    served: list[dict[str, bytes]] = []
    fetched = await fetch(node.shelf, FIRST, then=lambda _: served.append(content_of(node.tree.layout.channel(stable))))
    assert [one["labels/en.txt"] for one in served] == [FILES["labels/en.txt"]]
    assert [FIRST.chunks[one] for one in fetched.content()] == [FILES["model.bin"][7 * STEP : 8 * STEP]]
    assert node.content(FIRST) == FILES
    assert node.tree.observed().damaged == frozenset()
    assert node.tree.active(stable) == FIRST.version
    assert node.tree.staged() == frozenset()


async def test_a_damaged_version_that_healed_by_itself_is_taken_back(node: Node) -> None:
    await fetch(node.shelf, FIRST)
    node.tree.quarantine(FIRST.version)
    assert (await fetch(node.shelf, FIRST)).chunks == []
    assert node.tree.holds(FIRST.version)


async def test_a_manifest_that_rotted_at_rest_is_fetched_again(node: Node) -> None:
    await fetch(node.shelf, FIRST)
    spoil(node.tree.layout.manifest(FIRST.offer.manifest), 10)
    assert (await fetch(node.shelf, FIRST)).chunks == [(Part.MANIFEST, 0)]
    assert node.tree.has_manifest(FIRST.offer.manifest)


async def test_a_crash_between_the_version_and_its_release_is_taken_up(node: Node, tmp_path: Path) -> None:
    await fetch(node.shelf, FIRST)
    node.tree.layout.release(digest_of(FIRST.offer.release.release)).unlink()
    (tmp_path / "cache.db").unlink()
    again = EdgeTree(tmp_path, nouns)  # not prepared: that would take the manifest for an orphan
    shelf = NodeShelf(again, Cache(tmp_path / "cache.db"))
    assert (await fetch(shelf, FIRST)).chunks == []
    assert again.versions() == [FIRST.version]


async def test_a_release_that_was_published_anew_over_the_same_content_replaces_its_papers(node: Node) -> None:
    await fetch(node.shelf, FIRST)
    release = replace(FIRST.release, note="again, by a hub that was set up anew")
    anew = replace(FIRST, release=release, offer=replace(FIRST.offer, release=_signed(release)))
    assert (await fetch(node.shelf, anew)).chunks == []
    assert node.tree.release(FIRST.version).note == release.note


def _signed(release: Release) -> SignedRelease:
    return SignedRelease(nouns.encode_release(release))


async def test_pieces_that_make_another_manifest_than_the_named_one_are_refused(node: Node) -> None:
    other = SECOND.manifest_bytes
    ref = ManifestRef(FIRST.offer.manifest, len(other), 1, 1, piece_digests(other))
    release = replace(FIRST.release, variants=(Variant("default", ref),))
    offer = Offer(_signed(release), FIRST.offer.manifest)
    await node.shelf.survey(offer, Part.MANIFEST)
    await node.shelf.keep([Keep(offer, Part.MANIFEST, 0, Codec.STORED, other, None)])
    with pytest.raises(DamageError):
        await node.shelf.survey(offer, Part.CONTENT)
    assert not node.tree.has_manifest(FIRST.offer.manifest)


async def test_a_release_that_lies_about_the_size_of_its_content_is_refused(node: Node) -> None:
    ref = replace(FIRST.release.variants[0].manifest, content_size=1)
    release = replace(FIRST.release, variants=(Variant("default", ref),))
    lie = replace(FIRST, offer=Offer(_signed(release), FIRST.offer.manifest))
    with pytest.raises(BadInputError, match="speaks of"):
        await fetch(node.shelf, lie)
    assert node.tree.versions() == []


async def test_an_offer_of_a_manifest_that_its_release_does_not_have_is_refused(node: Node) -> None:
    with pytest.raises(BadInputError):
        await node.shelf.survey(Offer(FIRST.offer.release, digest_of(b"other")), Part.MANIFEST)
    with pytest.raises(BadInputError):
        await node.shelf.survey(Offer(SignedRelease(b"\xff"), digest_of(b"other")), Part.MANIFEST)


async def test_arrivals_go_on_after_the_shelf_let_go_of_a_transfer(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_agent.shelf, "TAKINGS", 1)
    vest = published({"vest.bin": random.Random(8).randbytes(10 * STEP)}, model=ModelName("acme", "vest"))
    both = [(what, await fetch_manifest(node, what)) for what in (FIRST, vest)]
    for step in range(len(EVERYTHING)):
        for what, ordinals in both:
            some = ordinals[step : step + 1]
            assert (await node.shelf.keep(what.keeps(Part.CONTENT, some))).kept == tuple(some)
    for what, _ in both:
        await node.shelf.complete(what.offer)
        assert node.content(what) == what.files


async def test_two_transfers_at_once_do_not_disturb_each_other(node: Node) -> None:
    await fetch(node.shelf, FIRST)
    vest = published({"vest.bin": random.Random(8).randbytes(30 * STEP)}, model=ModelName("acme", "vest"))
    async with asyncio.TaskGroup() as group:
        for what in (SECOND, vest):
            group.create_task(fetch(node.shelf, what, batch=1))
    assert node.content(SECOND) == SECOND.files
    assert node.content(vest) == vest.files


async def test_a_cancelled_call_leaves_a_store_that_goes_on(node: Node) -> None:
    await fetch(node.shelf, FIRST)
    await node.shelf.survey(SECOND.offer, Part.MANIFEST)
    await node.shelf.keep(SECOND.keeps(Part.MANIFEST, [0]))
    for _ in range(5):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await node.shelf.survey(SECOND.offer, Part.CONTENT)
    await fetch(node.shelf, SECOND)
    assert node.content(SECOND) == SECOND.files


async def test_an_empty_batch_is_nothing(node: Node) -> None:
    keeping = await node.shelf.keep([])
    assert (keeping.kept, keeping.spoiled) == ((), ())


async def test_a_closed_shelf_stops_copying_and_a_new_one_goes_on(node: Node, tmp_path: Path) -> None:
    await fetch(node.shelf, FIRST)
    node.shelf.close()
    with pytest.raises(ConflictError):
        await fetch(node.shelf, SECOND)
    again = Node(tmp_path)
    await fetch(again.shelf, SECOND)
    assert again.content(SECOND) == SECOND.files

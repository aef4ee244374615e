"""Chunks that were coded against versions on a node: decoded, or asked for anew where a version is not right."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.shelf import NodeShelf
from modelsyncd.bases import Run
from modelsyncd.codec.hint import Hint
from modelsyncd.codec.registry import READABLE, Codec, decode, encode
from modelsyncd.digest import Buffer, Digest, digest_of
from modelsyncd.names import ModelName, ModelRef
from modelsyncd.session.effects import Keep
from modelsyncd.session.frames import Base, Part
from modelsyncd.store import arrivals
from modelsyncd.store.cache import Cache
from modelsyncd.store.durable import remove_tree
from modelsyncd.store.tree import EdgeTree
from modelsyncd.wire import nouns
from tests.fakes.trained import as_bytes, trained, weights
from tests.fakes.versions import HELMET, STEP, Published, content_of, fetch, published

CHUNKS = 16
BEFORE = weights("node bases", 1)
OLD = published({"model.bin": as_bytes(BEFORE)[: CHUNKS * STEP], "notes": b"v1"}, 1)
NEW = published({"model.bin": as_bytes(trained(BEFORE))[: CHUNKS * STEP], "notes": b"v1"}, 2)
VEST = published({"vest.bin": random.Random(3).randbytes(2 * STEP)}, 7, model=ModelName("acme", "vest"))
EVERYTHING = list(range(CHUNKS))  # the one after them is the notes, which did not change


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path)
    yield node
    node.shelf.close()
    node.cache.close()


class Node:
    """A node's store."""

    def __init__(self, root: Path) -> None:
        self.tree = EdgeTree(root, nouns)
        self.tree.prepare()
        self.cache = Cache(root / "cache.db")
        self.shelf = NodeShelf(self.tree, self.cache)

    async def begin(self, what: Published) -> list[Digest]:
        """Surveys a transfer; returns the bases that the giver is told of."""
        missing = (await self.shelf.survey(what.offer, Part.MANIFEST)).ordinals
        if missing:
            await self.shelf.keep(what.keeps(Part.MANIFEST, missing))
        return list((await self.shelf.survey(what.offer, Part.CONTENT)).bases)

    async def missing(self, what: Published) -> list[int]:
        return list((await self.shelf.survey(what.offer, Part.CONTENT)).ordinals)


def coded(ordinal: int, base: Base | None = None) -> Keep:
    """A chunk of the new version's big file, coded against the same place of the old one."""
    runs = (Run(0, ordinal * STEP, STEP),)
    hint = Hint("f32", (-len_header() + ordinal * STEP) % 4)
    codec, payload = encode(NEW.chunks[ordinal], READABLE, hint, OLD.chunks[ordinal])
    assert codec is Codec.DELTA
    assert len(payload) < STEP * 3 / 4
    return Keep(NEW.offer, Part.CONTENT, ordinal, codec, bytes(payload), base or Base(OLD.offer.manifest, runs))


def len_header() -> int:
    return 8 + int.from_bytes(NEW.files["model.bin"][:8], "little")


async def test_the_same_model_s_versions_are_named_first_the_active_one_before_the_newest(node: Node) -> None:
    third = published({**OLD.files, "notes": b"v3"}, 3)
    for what in (VEST, OLD, third):
        await fetch(node.shelf, what)
    node.tree.activate(ModelRef(HELMET, channel="stable"), OLD.version)
    assert await node.begin(NEW) == [OLD.offer.manifest, third.offer.manifest, VEST.offer.manifest]


async def test_a_damaged_version_and_the_version_itself_are_no_bases(node: Node) -> None:
    for what in (OLD, VEST, NEW):
        await fetch(node.shelf, what)
    node.tree.quarantine(OLD.version)
    node.tree.quarantine(NEW.version)
    (node.tree.layout.version(NEW.version) / "model.bin").unlink()
    assert await node.begin(NEW) == [VEST.offer.manifest]


async def test_a_manifest_and_a_version_that_is_here_whole_are_asked_for_without_bases(node: Node) -> None:
    await fetch(node.shelf, OLD)
    assert (await node.shelf.survey(NEW.offer, Part.MANIFEST)).bases == ()
    assert await node.begin(OLD) == []


async def test_chunks_that_were_coded_against_a_version_become_the_new_one(node: Node) -> None:
    await fetch(node.shelf, OLD)
    await node.begin(NEW)
    wanted = await node.missing(NEW)
    assert wanted == EVERYTHING
    keeping = await node.shelf.keep([coded(ordinal) for ordinal in wanted])
    assert (keeping.kept, keeping.spoiled) == (tuple(wanted), ())
    assert 0 < keeping.cpu < 10
    await node.shelf.complete(NEW.offer)
    assert content_of(node.tree.layout.version(NEW.version)) == NEW.files


async def test_a_base_that_was_changed_spoils_only_the_chunks_that_needed_the_change(node: Node) -> None:
    await fetch(node.shelf, OLD)
    await node.begin(NEW)
    path = node.tree.layout.version(OLD.version) / "model.bin"
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(3 * STEP + 100)
        file.write(b"\xff\xff\xff\xff")
    keeping = await node.shelf.keep([coded(ordinal) for ordinal in (2, 3, 4)])
    assert (keeping.kept, keeping.spoiled) == ((2, 4), (3,))
    assert await node.missing(NEW) == [one for one in EVERYTHING if one not in (2, 4)]


async def test_a_base_that_is_gone_spoils_what_was_coded_and_nothing_else(node: Node) -> None:
    await fetch(node.shelf, OLD)
    await node.begin(NEW)
    remove_tree(node.tree.layout.version(OLD.version))
    keeping = await node.shelf.keep([coded(1), *NEW.keeps(Part.CONTENT, [2]), coded(3)])
    assert (keeping.kept, keeping.spoiled) == ((2,), (1, 3))


async def test_a_base_that_was_shortened_spoils(node: Node) -> None:
    await fetch(node.shelf, OLD)
    await node.begin(NEW)
    path = node.tree.layout.version(OLD.version) / "model.bin"
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.truncate(4 * STEP)
    keeping = await node.shelf.keep([coded(3), coded(4)])
    assert (keeping.kept, keeping.spoiled) == ((3,), (4,))


WRONG = {
    "never named": Base(digest_of(b"another"), (Run(0, STEP, STEP),)),
    "another place": Base(OLD.offer.manifest, (Run(0, 2 * STEP, STEP),)),
    "another length": Base(OLD.offer.manifest, (Run(0, STEP, STEP - 1),)),
    "another file": Base(OLD.offer.manifest, (Run(1, 0, STEP),)),
    "no such file": Base(OLD.offer.manifest, (Run(2, STEP, STEP),)),
    "outside": Base(OLD.offer.manifest, (Run(0, (CHUNKS - 1) * STEP + 1, STEP),)),
    "nothing": Base(OLD.offer.manifest, ()),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
async def test_a_base_that_can_not_be_spoils_its_chunk_and_the_next_ones_come_in(node: Node, wrong: Base) -> None:
    await fetch(node.shelf, OLD)
    await node.begin(NEW)
    keeping = await node.shelf.keep([coded(1, wrong), coded(2)])
    assert (keeping.kept, keeping.spoiled) == ((2,), (1,))


async def test_a_version_that_is_here_but_was_not_named_is_no_base(node: Node) -> None:
    await node.begin(NEW)
    await fetch(node.shelf, OLD)
    assert (await node.shelf.keep([coded(1)])).spoiled == (1,)


async def test_a_coded_chunk_that_does_not_say_against_what_is_spoiled(node: Node) -> None:
    await fetch(node.shelf, OLD)
    await node.begin(NEW)
    assert (await node.shelf.keep([replace(coded(1), base=None)])).spoiled == (1,)


async def test_a_codec_that_stumbles_spoils_its_chunk_and_no_session(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumbling(codec: Codec, payload: Buffer, size: int, base: Buffer | None = None) -> Buffer:
        if base is not None:
            raise IndexError("as a bug would")
        return decode(codec, payload, size)

    await fetch(node.shelf, OLD)
    await node.begin(NEW)
    monkeypatch.setattr(arrivals, "decode", stumbling)
    keeping = await node.shelf.keep([coded(1), *NEW.keeps(Part.CONTENT, [2])])
    assert (keeping.kept, keeping.spoiled) == ((2,), (1,))


async def test_what_a_transfer_may_be_coded_against_is_lent_until_it_is_over(node: Node) -> None:
    await fetch(node.shelf, OLD)
    assert node.shelf.lent([NEW.offer.manifest]) == frozenset()
    await node.begin(NEW)
    assert node.shelf.lent([NEW.offer.manifest]) == {OLD.offer.manifest}
    assert node.shelf.lent([VEST.offer.manifest]) == frozenset()
    await node.shelf.keep([coded(ordinal) for ordinal in EVERYTHING])
    await node.shelf.complete(NEW.offer)
    assert node.shelf.lent([NEW.offer.manifest]) == frozenset()


async def test_a_batch_leaves_no_file_of_a_base_open(node: Node) -> None:
    await fetch(node.shelf, OLD)
    await node.begin(NEW)
    folder = node.tree.layout.version(OLD.version)
    await node.shelf.keep([coded(1)])
    assert not [path for path in opened_files() if path.is_relative_to(folder)]


def opened_files() -> list[Path]:
    return [path.readlink() for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]

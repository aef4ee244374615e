"""Chunks that are on the node do not travel; those that are wrong there are found out."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from modelsyncd.errors import ConflictError
from modelsyncd.store import seeds as seeds_module
from modelsyncd.store.cache import Cache
from modelsyncd.store.seeds import Seeds
from modelsyncd.store.staging import Staging
from modelsyncd.store.tree import EdgeTree
from modelsyncd.wire import nouns
from tests.fakes.versions import STEP, Published, changed, published, some_files

FILES = some_files(random.Random(3))
FIRST = published(FILES, 1)
SECOND = published(changed(FILES, "model.bin", 4 * STEP + 1, b"new"), 2)
NEW = SECOND.files["model.bin"][4 * STEP : 5 * STEP]


class Node:
    """A tree, a cache and the seeds over both."""

    def __init__(self, root: Path) -> None:
        self.tree = EdgeTree(root / "data", nouns)
        self.tree.prepare()
        self.cache = Cache(root / "data/cache.db")
        self.seeds = Seeds(self.tree, self.cache)

    def stage(self, what: Published, *ordinals: int) -> Staging:
        self.tree.put_manifest(what.offer.manifest, what.manifest_bytes)
        staging = Staging(self.tree.layout.staged(what.offer.manifest), what.manifest)
        staging.prepare()
        staging.missing()
        staging.write([(ordinal, what.chunks[ordinal]) for ordinal in ordinals])
        self.cache.record(what.offer.manifest, map(staging.table.chunk, ordinals))
        return staging

    def install(self, what: Published) -> Path:
        staging = self.stage(what, *range(len(what.chunks)))
        self.tree.install(what.version, what.offer.release, staging)
        self.cache.settle(what.offer.manifest)
        return self.tree.layout.version(what.version)

    def fill(self, what: Published, staging: Staging) -> list[bytes]:
        """The chunks that would have to travel."""
        left = self.seeds.fill(what.offer.manifest, staging, staging.missing())
        assert left == staging.missing()
        return [what.chunks[ordinal] for ordinal in left]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def spoil(path: Path, offset: int) -> None:
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 1]))


def test_only_what_changed_travels(node: Node) -> None:
    node.install(FIRST)
    assert node.fill(SECOND, node.stage(SECOND)) == [NEW]


def test_the_same_content_under_another_name_does_not_travel_at_all(node: Node) -> None:
    node.install(FIRST)
    assert node.fill(published(FILES, 5), node.stage(published(FILES, 5))) == []


def test_an_interrupted_version_is_a_seed(node: Node) -> None:
    node.stage(FIRST, 0, 1, 2)
    left = node.fill(SECOND, node.stage(SECOND))
    assert left == [plain for plain in SECOND.chunks if plain not in FIRST.chunks[:3]]


def test_with_nothing_on_the_node_everything_travels(node: Node) -> None:
    assert node.fill(FIRST, node.stage(FIRST)) == FIRST.chunks


def test_a_damaged_seed_is_found_out_and_its_row_is_dropped(node: Node) -> None:
    spoil(node.install(FIRST) / "model.bin", 2 * STEP)
    bad = FIRST.files["model.bin"][2 * STEP : 3 * STEP]
    staging = node.stage(SECOND)
    digest = staging.table.digest(SECOND.chunks.index(bad))
    assert node.cache.places([digest])
    assert node.fill(SECOND, staging) == [bad, NEW]
    assert node.cache.places([digest]) == {}


def test_another_seed_stands_in_for_a_damaged_one(node: Node) -> None:
    spoil(node.install(FIRST) / "model.bin", 2 * STEP)
    node.install(published({"other.bin": FILES["model.bin"]}, 9))
    assert node.fill(SECOND, node.stage(SECOND)) == [NEW]


def test_a_damaged_version_is_the_seed_of_its_own_repair_without_any_row(node: Node) -> None:
    spoil(node.install(FIRST) / "model.bin", 2 * STEP)
    node.cache.drop(FIRST.offer.manifest)
    node.tree.quarantine(FIRST.version)
    assert node.fill(FIRST, node.stage(FIRST)) == [FIRST.files["model.bin"][2 * STEP : 3 * STEP]]


def test_a_seed_that_vanished_is_no_error(node: Node) -> None:
    folder = node.install(FIRST)
    (folder / "model.bin").unlink()
    assert node.fill(SECOND, node.stage(SECOND)) == [
        plain for plain in SECOND.chunks if plain != FILES["labels/en.txt"]
    ]


def test_a_seed_whose_manifest_rotted_is_no_error(node: Node) -> None:
    node.install(FIRST)
    spoil(node.tree.layout.manifest(FIRST.offer.manifest), 9)
    assert node.fill(SECOND, node.stage(SECOND)) == SECOND.chunks


def test_a_link_planted_in_a_seed_is_not_followed(node: Node, tmp_path: Path) -> None:
    folder = node.install(FIRST)
    (tmp_path / "outside").write_bytes(FILES["model.bin"])
    (folder / "model.bin").unlink()
    (folder / "model.bin").symlink_to(tmp_path / "outside")
    assert len(node.fill(SECOND, node.stage(SECOND))) > 1


def test_a_lost_cache_is_made_anew_from_the_files(node: Node, tmp_path: Path) -> None:
    node.install(FIRST)
    node.cache.close()
    for path in (tmp_path / "data").glob("cache.db*"):
        path.unlink()
    again = Node(tmp_path)
    assert not again.cache.aligned
    again.seeds.align()
    assert again.cache.sources() == {FIRST.offer.manifest: True}
    assert again.fill(SECOND, again.stage(SECOND)) == [NEW]


def test_rows_that_a_power_cut_took_come_back(node: Node) -> None:
    staging = node.stage(FIRST, *range(len(FIRST.chunks)))
    node.tree.install(FIRST.version, FIRST.offer.release, staging)
    node.cache.forget(FIRST.offer.manifest, map(staging.table.chunk, range(5)))  # and `settle` never came
    node.seeds.align()
    assert node.fill(SECOND, node.stage(SECOND)) == [NEW]


def test_rows_of_what_is_gone_are_dropped(node: Node) -> None:
    node.install(FIRST)
    node.stage(SECOND, 0)
    node.tree.remove(FIRST.version)
    node.seeds.align()
    assert set(node.cache.sources()) == {SECOND.offer.manifest}


def test_a_copy_stops_when_the_agent_does_and_what_it_copied_counts(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.install(FIRST)
    monkeypatch.setattr(seeds_module, "BATCH_BYTES", 2 * STEP)
    staging = node.stage(SECOND)
    real = Staging.write

    def write_once(*arguments: object) -> None:
        real(*arguments)  # type: ignore[arg-type]
        node.seeds.stop()

    monkeypatch.setattr(Staging, "write", write_once)
    with pytest.raises(ConflictError):
        node.seeds.fill(SECOND.offer.manifest, staging, staging.missing())
    assert 0 < len(staging.missing()) < len(SECOND.chunks)
    assert len(node.cache.recorded(SECOND.offer.manifest)) == len(SECOND.chunks) - len(staging.missing())

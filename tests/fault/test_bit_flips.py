"""A bit turns in anything that rests on a node: it is found before it is used, only that chunk comes again, all heals.

Each case is a life of an agent from a disk on which one bit was turned, by a seed that the test's name shows. At its
end each version is byte-exact, and nothing travelled that had no reason to.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent import reconcile
from modelsyncd.session.frames import Part
from tests.fakes.memory_disk import memory_disk
from tests.fakes.versions import STEP, Published
from tests.fault import reach, rotting
from tests.fault.rotting import LACKING, ONE, SEEDED, THREE, TWO, Life, folder_of


@pytest.fixture(scope="module")
def node() -> Iterator[Path]:
    with memory_disk() as folder:
        asyncio.run(rotting.make(folder / "node"))
        yield folder / "node"


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again after two seconds is tried again at once here."""
    monkeypatch.setattr(reconcile, "RETRY_FLOOR", 0.01)


@pytest.fixture
def root(node: Path) -> Iterator[Path]:
    with memory_disk() as folder:
        yield rotting.copy(node, folder / "node")


def seeds() -> pytest.MarkDecorator:
    """Of each class of things that rest on a node; with the hub's, more than 10,000 for a release."""
    return pytest.mark.parametrize("seed", reach.seeds(pr=20, full=650))


def lived(root: Path) -> Life:
    return asyncio.run(rotting.live(root))


def test_without_a_flip_only_what_is_lacking_travels(root: Path) -> None:
    life = lived(root)
    assert [life.content(what) for what in (ONE, TWO, THREE)] == [[], [], [LACKING]]
    assert life.papers() == 0


@seeds()
@pytest.mark.parametrize("what", [ONE, TWO], ids=["retained", "active"])
def test_a_flip_in_a_version(root: Path, seed: int, what: Published) -> None:
    at = rotting.turn_anywhere(folder_of(root, what) / "model.bin", random.Random(seed))
    life = lived(root)
    # a chunk that another version has too is mended from there
    for one in (ONE, TWO):
        assert life.content(one) in ([], [at // STEP])
    assert life.content(THREE) == [LACKING]
    assert life.papers() == 0


@seeds()
def test_a_flip_in_what_is_staged(root: Path, seed: int) -> None:
    rng = random.Random(seed)
    staged = root / "staging" / THREE.offer.manifest.hex() / "model.bin"
    chunk = rng.choice(list(rotting.data_of(staged)))
    rotting.turn(staged, chunk * STEP + rng.randrange(STEP), rng.randrange(8))
    life = lived(root)
    assert set(life.content(THREE)) <= {LACKING, chunk}
    assert life.content(ONE) == life.content(TWO) == []
    assert life.papers() == 0


@seeds()
def test_a_flip_in_a_seed(root: Path, seed: int) -> None:
    (staged,) = (root / "staging").glob(f"{rotting.FOUR.offer.manifest.hex()}/model.bin")
    rng = random.Random(seed)
    rotting.turn(staged, SEEDED * STEP + rng.randrange(STEP), rng.randrange(8))
    life = lived(root)
    assert life.content(THREE) == sorted({LACKING, SEEDED})
    assert life.papers() == 0


@seeds()
@pytest.mark.parametrize("what", [ONE, TWO, THREE], ids=["retained", "active", "staged"])
def test_a_flip_in_a_manifest(root: Path, seed: int, what: Published) -> None:
    rotting.turn_anywhere(root / "manifests" / what.offer.manifest.hex(), random.Random(seed))
    life = lived(root)
    assert [life.content(one) for one in (ONE, TWO, THREE)] == [[], [], [LACKING]]
    assert {(number, part) for number, part, _ in life.given if part is Part.MANIFEST} == {
        (what.version.number, Part.MANIFEST)
    }


@seeds()
def test_a_flip_in_a_release(root: Path, seed: int) -> None:
    rng = random.Random(seed)
    rotting.turn_anywhere(rng.choice(sorted((root / "releases").iterdir())), rng)
    life = lived(root)
    assert [life.content(one) for one in (ONE, TWO, THREE)] == [[], [], [LACKING]]
    assert life.papers() <= 1


@seeds()
def test_a_flip_in_the_orders(root: Path, seed: int) -> None:
    rotting.turn_anywhere(root / "desired.pb", random.Random(seed))
    life = lived(root)
    assert [life.content(one) for one in (ONE, TWO, THREE)] == [[], [], [LACKING]]
    assert life.papers() == 0


@seeds()
def test_a_flip_in_a_page_of_the_cache(root: Path, seed: int) -> None:
    rotting.turn_anywhere(root / "cache.db", random.Random(seed))
    life = lived(root)
    assert life.content(ONE) == life.content(TWO) == []
    assert set(life.content(THREE)) <= {LACKING, SEEDED}
    assert life.papers() == 0


@seeds()
def test_a_flip_in_a_row_of_the_cache(root: Path, seed: int) -> None:
    rotting.turn_in_row(root / "cache.db", random.Random(seed))
    life = lived(root)
    assert life.content(ONE) == life.content(TWO) == []
    assert set(life.content(THREE)) <= {LACKING, SEEDED}
    assert life.papers() == 0


@seeds()
@pytest.mark.parametrize("name", ["stable", ".stable.previous"])
def test_a_flip_in_a_link(root: Path, seed: int, name: str) -> None:
    rotting.turn_in_link(root / "models/acme/helmet" / name, random.Random(seed))
    life = lived(root)
    assert [life.content(one) for one in (ONE, TWO, THREE)] == [[], [], [LACKING]]
    assert life.papers() == 0

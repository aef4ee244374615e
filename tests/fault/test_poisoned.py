"""Whatever an earlier run, another program or a bad disk left behind: the node heals by itself, and in a few tries.

Row 5 of the fault table. Each life begins on a disk on which some things are poisoned, by the seed in the test's name,
and ends with every version byte-exact, after a session or two.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from edge_agent import reconcile
from tests.fakes.memory_disk import memory_disk
from tests.fakes.versions import STEP
from tests.fault import rotting
from tests.fault.reach import seeds
from tests.fault.rotting import CHUNKS, FOUR, ONE, THREE, TWO, folder_of

TRIES = 3  # sessions of a life: one, and what a failure may cost

Poison = Callable[[Path, random.Random], None]


def staged(root: Path, rng: random.Random) -> Path:
    what = rng.choice([THREE, FOUR])
    return root / "staging" / what.offer.manifest.hex() / "model.bin"


def garbage_in_a_partial(root: Path, rng: random.Random) -> None:
    path = staged(root, rng)
    path.write_bytes(rng.randbytes(path.stat().st_size))


def another_version_in_a_partial(root: Path, rng: random.Random) -> None:
    shutil.copyfile(folder_of(root, rng.choice([ONE, TWO])) / "model.bin", staged(root, rng))


def a_partial_of_another_size(root: Path, rng: random.Random) -> None:
    os.truncate(staged(root, rng), rng.choice([0, 5, 3 * STEP, 100 * STEP]))


def a_folder_in_place_of_a_partial(root: Path, rng: random.Random) -> None:
    path = staged(root, rng)
    path.unlink()
    path.mkdir()
    (path / "inside").write_bytes(b"x")


def a_link_in_place_of_a_partial(root: Path, rng: random.Random) -> None:
    path = staged(root, rng)
    path.unlink()
    path.symlink_to(rng.choice(["/etc/hostname", "model.bin", str(folder_of(root, TWO) / "model.bin")]))


def a_second_name_for_a_partial(root: Path, rng: random.Random) -> None:
    path = staged(root, rng)
    path.unlink()
    path.hardlink_to(folder_of(root, TWO) / "model.bin")


def strangers_beside_partials(root: Path, rng: random.Random) -> None:
    path = staged(root, rng)
    (path.parent / "stranger").write_bytes(b"x")
    (path.parent.parent / f"{rng.randbytes(32).hex()}").mkdir()
    (path.parent.parent / f"{rng.randbytes(32).hex()}.manifest").mkdir()


def garbage_in_pieces(root: Path, rng: random.Random) -> None:
    """The manifest is gone, and what there is of its pieces is wrong."""
    manifest = root / "manifests" / THREE.offer.manifest.hex()
    manifest.unlink(missing_ok=True)
    folder = root / "staging" / f"{THREE.offer.manifest.hex()}.manifest"
    folder.mkdir(exist_ok=True)
    (folder / "manifest").write_bytes(rng.randbytes(len(THREE.manifest_bytes)))


def rows_that_claim_everything(root: Path, _: random.Random) -> None:
    with sqlite3.connect(root / "cache.db") as cache:
        sources = [source for (source,) in cache.execute("SELECT id FROM source")]
        rows = [(source, ordinal) for source in sources for ordinal in range(CHUNKS + 1)]
        cache.executemany("INSERT OR IGNORE INTO staged VALUES (?, ?)", rows)
    cache.close()


def rows_that_lead_elsewhere(root: Path, rng: random.Random) -> None:
    with sqlite3.connect(root / "cache.db") as cache:
        change = rng.choice(["offset = 0", "file = 77", "offset = -1", "offset = 9000000000000000000", "file = NULL"])
        cache.execute(f"UPDATE OR IGNORE chunk SET {change}" if "NULL" not in change else "DELETE FROM chunk")  # noqa: S608
    cache.close()


def rows_without_their_heads(root: Path, _: random.Random) -> None:
    with sqlite3.connect(root / "cache.db") as cache:
        cache.execute("DELETE FROM source")
    cache.close()


def a_cache_that_is_none(root: Path, rng: random.Random) -> None:
    path = root / "cache.db"
    if rng.random() < 0.3:
        path.unlink()
        path.mkdir()
        return
    path.write_bytes(rng.choice([b"", rng.randbytes(50_000), path.read_bytes()[:6_000]]))


def a_log_of_another_cache(root: Path, rng: random.Random) -> None:
    (root / "cache.db-wal").write_bytes(rng.randbytes(20_000))
    (root / "cache.db-shm").write_bytes(rng.randbytes(32_768))


def a_mark_on_what_is_right(root: Path, rng: random.Random) -> None:
    folder = folder_of(root, rng.choice([ONE, TWO]))
    folder.with_name(f"{folder.name}.damaged").write_bytes(b"")


def leftovers_of_a_killed_process(root: Path, rng: random.Random) -> None:
    for name in (".stable.new", ".versions.gone", "versions/.9-abcdefabcdef.gone", "versions/.x.new"):
        (root / "models/acme/helmet" / name).write_bytes(rng.randbytes(9))
    (root / "manifests/.x.new").write_bytes(b"")


def orders_that_are_none(root: Path, rng: random.Random) -> None:
    (root / "desired.pb").write_bytes(rng.choice([b"", rng.randbytes(200)]))


def a_seed_that_is_gone(root: Path, rng: random.Random) -> None:
    folder = folder_of(root, rng.choice([ONE, TWO]))
    (folder / "model.bin").unlink()


POISONS: list[Poison] = [
    garbage_in_a_partial,
    another_version_in_a_partial,
    a_partial_of_another_size,
    a_folder_in_place_of_a_partial,
    a_link_in_place_of_a_partial,
    a_second_name_for_a_partial,
    strangers_beside_partials,
    garbage_in_pieces,
    rows_that_claim_everything,
    rows_that_lead_elsewhere,
    rows_without_their_heads,
    a_cache_that_is_none,
    a_log_of_another_cache,
    a_mark_on_what_is_right,
    leftovers_of_a_killed_process,
    orders_that_are_none,
    a_seed_that_is_gone,
]


@pytest.fixture(scope="module")
def node() -> Iterator[Path]:
    with memory_disk() as folder:
        asyncio.run(rotting.make(folder / "node"))
        yield folder / "node"


@pytest.fixture
def root(node: Path) -> Iterator[Path]:
    with memory_disk() as folder:
        yield rotting.copy(node, folder / "node")


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again after two seconds is tried again at once here."""
    monkeypatch.setattr(reconcile, "RETRY_FLOOR", 0.01)


def check(root: Path) -> None:
    life = asyncio.run(rotting.live(root))
    assert life.tries <= TRIES, "it ran in circles"
    for what in (ONE, TWO, THREE):
        content = life.content(what)
        assert len(content) == len(set(content)), "a chunk came twice"


@pytest.mark.parametrize("seed", seeds(pr=1, full=20))
@pytest.mark.parametrize("poison", POISONS, ids=lambda poison: poison.__name__)
def test_one_poison(root: Path, poison: Poison, seed: int) -> None:
    poison(root, random.Random(seed))
    check(root)


@pytest.mark.parametrize("seed", seeds(pr=12, full=200))
def test_poisons_together(root: Path, seed: int) -> None:
    rng = random.Random(seed)
    for poison in sorted(rng.sample(POISONS, rng.randint(2, 4)), key=POISONS.index):
        with suppress(OSError, sqlite3.Error):  # one poison may have taken away what another one wants
            poison(root, rng)
    check(root)

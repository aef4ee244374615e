"""The cache is gone, cut off or something else in the middle of a transfer: it is made anew from the files.

Nothing that was durable is fetched again. The same for the hub's last word, and for papers. Turned bits are in
`test_bit_flips.py`, power cuts in `test_power_cuts.py`.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from modelsyncd.digest import digest_of
from modelsyncd.errors import DamageError, DiskError
from modelsyncd.session.frames import Part
from tests.fakes.memory_disk import memory_disk
from tests.fakes.node_life import STABLE, Kept, NodeLife, story
from tests.fakes.oracle import whole_versions
from tests.fakes.versions import content_of
from tests.fault.reach import seeds

STORY = story(24, step=4_096, batch=3)
HALF = 5  # batches of the third release that are durable when the process dies


class DiedError(Exception):
    """The process is gone."""


@pytest.fixture(scope="module")
def middle() -> Iterator[Path]:
    """A node whose second release is active, and that was killed in the middle of the third one."""
    whole = replace(STORY, batch=1)

    def told(word: object) -> None:
        if isinstance(word, Kept) and word.number == 3 and word.part is Part.CONTENT and word.ordinals[0] >= HALF:
            raise DiedError

    with memory_disk() as folder:
        NodeLife.begin(folder / "living", STORY)
        node = NodeLife(folder / "living", whole, told)
        with pytest.raises(DiedError):
            node.live()
        shutil.copytree(folder / "living", folder / "node", symlinks=True)  # while the database is open, log and all
        node.close()
        yield folder / "node"


@pytest.fixture
def root(middle: Path) -> Iterator[Path]:
    with memory_disk() as folder:
        shutil.copytree(middle, folder / "node", symlinks=True)
        yield folder / "node"


def lived(root: Path, *, whole: bool = True) -> list[tuple[int, Part, int]]:
    """What travels until the node is up to date; it may stumble once over what it finds.

    `whole` says that nothing visible may have lost its papers for good.
    """
    node = NodeLife(root, STORY)
    try:
        node.live()
    except (DiskError, DamageError):
        node.live()
    finally:
        node.close()
    if whole:
        assert set(whole_versions(root)) == {"acme/helmet:2", "acme/helmet:3"}
    assert content_of(node.tree.layout.channel(STABLE)) == STORY.release(3).files
    return node.fetched


def absent(root: Path) -> list[tuple[int, Part, int]]:
    """What no file of the node has when it dies."""
    clean = root.with_name("clean")
    shutil.copytree(root, clean, symlinks=True)
    return lived(clean)


def _delete(path: Path) -> None:
    path.unlink()


def _empty(path: Path) -> None:
    os.truncate(path, 0)


def _halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "something").write_bytes(b"else")


def _fill(path: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(max(4_096, path.stat().st_size)))


LOSSES: dict[str, Callable[[Path], None]] = {
    "deleted": _delete,
    "empty": _empty,
    "cut in half": _halve,
    "a folder in its place": _make_folder,
    "other bytes": _fill,
}


@pytest.mark.parametrize("name", ["cache.db", "cache.db-wal", "cache.db-shm"])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_cache_that_was_lost_is_made_anew_and_nothing_is_fetched_again(root: Path, loss: str, name: str) -> None:
    lacking = absent(root)
    assert lacking
    LOSSES[loss](root / name)
    assert lived(root) == lacking


@pytest.mark.parametrize("seed", seeds(pr=20, full=1_000))
def test_a_log_of_the_cache_that_is_cut_anywhere_costs_nothing(root: Path, seed: int) -> None:
    lacking = absent(root)
    log = root / "cache.db-wal"
    os.truncate(log, random.Random(seed).randrange(log.stat().st_size))
    assert lived(root) == lacking


@pytest.mark.parametrize("loss", LOSSES)
def test_orders_that_were_lost_cost_nothing(root: Path, loss: str) -> None:
    lacking = absent(root)
    LOSSES[loss](root / "desired.pb")
    fetched = lived(root)
    assert set(fetched) <= set(lacking)


@pytest.mark.parametrize("number", [2, 3])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_manifest_that_was_lost_is_all_that_is_fetched_again(root: Path, loss: str, number: int) -> None:
    lacking = absent(root)
    what = STORY.release(number)
    LOSSES[loss](root / "manifests" / what.offer.manifest.hex())
    extra = set(lived(root, whole=number == 3)) - set(lacking)
    assert extra <= {(number, Part.MANIFEST, 0)}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_release_that_was_lost_costs_nothing(root: Path, loss: str) -> None:
    lacking = absent(root)
    LOSSES[loss](root / "releases" / digest_of(STORY.release(2).offer.release.release).hex())
    assert set(lived(root, whole=False)) <= set(lacking)

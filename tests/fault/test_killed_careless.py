"""Stores that are careless in one place: the deaths that the real ones survive find each of them out."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from cloud_hub import stores
from cloud_hub.codings import Codings, Swept
from edge_agent import orders
from modelsyncd.store import durable, packs
from modelsyncd.store.failpoints import Point, passing
from modelsyncd.store.packs import pack_key
from tests.fakes.hub_tale import HubTale
from tests.fakes.memory_disk import memory_disk
from tests.fakes.node_tale import NodeTale
from tests.fault.deaths import Death, Tale, survive

MOST = 30  # passings that are tried
Plant = Callable[[pytest.MonkeyPatch], None]


def unlinked_first(link: Path, target: str) -> None:
    """Takes the old link away before the new one is there."""
    link.unlink(missing_ok=True)
    passing(Point.LINK_MADE)
    link.symlink_to(target)


def removed_in_place(path: Path) -> None:
    """Removes what is in a folder while it still has its name."""
    for file in sorted(path.rglob("*")):
        if file.is_file():
            file.unlink()
            passing(Point.TREE_DOOMED)
    if path.exists():
        shutil.rmtree(path)


def written_in_place(path: Path, data: bytes) -> None:
    """Writes over what is there."""
    path.write_bytes(data[: len(data) // 2])
    passing(Point.FILE_WRITTEN)
    path.write_bytes(data)


def thrown_away(spool: Path, *_: object) -> list[packs.Place]:
    """Throws away what a killed hub left open."""
    for path in spool.glob("*.pack") if spool.is_dir() else ():
        path.unlink()
    return []


def bytes_first(codings: Codings) -> Swept:
    """Deletes packs of codings before it forgets them."""
    going = list(codings._rows.packs())[:-1]
    for name in going:
        codings._blobs.delete(pack_key(name))
        passing(Point.CODINGS_EVICTED)
    codings._rows.drop(going)
    return Swept(len(going), 0)


def careless_orders(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(orders, "write_paper", written_in_place)


BUGS: dict[str, tuple[Tale, Point, Plant]] = {
    "a channel's link is gone for a moment": (
        NodeTale(),
        Point.LINK_MADE,
        lambda patch: patch.setattr(durable, "switch_link", unlinked_first),
    ),
    "a version is removed under its name": (
        NodeTale(),
        Point.TREE_DOOMED,
        lambda patch: patch.setattr(durable, "remove_tree", removed_in_place),
    ),
    "the hub's word is written over the one before": (NodeTale(), Point.FILE_WRITTEN, careless_orders),
    "an open pack is thrown away": (
        HubTale(),
        Point.CHUNKS_INDEXED,
        lambda patch: patch.setattr(stores, "recover", thrown_away),
    ),
    "codings go before their rows": (
        HubTale(),
        Point.CODINGS_EVICTED,
        lambda patch: patch.setattr(Codings, "_evict", bytes_first),
    ),
}


@pytest.fixture
def disk() -> Iterator[Path]:
    with memory_disk() as folder:
        yield folder


@pytest.mark.slow
@pytest.mark.parametrize("bug", BUGS)
def test_a_store_that_is_careless_in_one_place_is_found_out(
    disk: Path, monkeypatch: pytest.MonkeyPatch, bug: str
) -> None:
    tale, point, plant = BUGS[bug]
    survive(tale, disk / "real", Death(f"{point.word}=kill"))
    plant(monkeypatch)
    for nth in range(1, MOST):
        with suppress(AssertionError):
            survive(tale, disk / f"careless-{nth}", Death(f"{point.word}=kill@{nth}"))
            continue
        return
    pytest.fail("no death found it out")

"""Long work on a node's folder holds no switch up: whoever removes a version is held here, and others go on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_agent.activate import TreeStore
from modelsyncd.errors import ConflictError, NotFoundError
from modelsyncd.store import failpoints
from modelsyncd.store.failpoints import Point
from tests.fakes.node_life import STABLE
from tests.fakes.node_tale import STORY, laid_store

ONE, TWO, THREE = (what.version for what in STORY.releases)
PATIENCE = 60.0  # seconds


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TreeStore]:
    with laid_store(tmp_path) as found:
        yield found


@contextmanager
def held_at(point: Point) -> Iterator[threading.Event]:
    """Whoever passes there stays until the context ends; the event says that somebody does."""
    there, go = threading.Event(), threading.Event()

    def met(passed: Point) -> None:
        if passed is point:
            there.set()
            assert go.wait(PATIENCE)

    failpoints.watch(met)
    try:
        yield there
    finally:
        go.set()


def test_a_channel_leads_back_while_another_version_is_being_deleted(store: TreeStore) -> None:
    store.activate(STABLE, ONE)
    store.try_out(STABLE, TWO, ONE)
    with ThreadPoolExecutor(1) as pool:
        with held_at(Point.TREE_DOOMED) as there:
            going: Future[None] = pool.submit(store.prune, THREE)
            assert there.wait(PATIENCE)
            assert store.go_back(STABLE, ONE).number == 1
            assert not going.done()
            assert not store.tree.holds(THREE)
            assert THREE not in store.observe().held | store.observe().damaged
        going.result(PATIENCE)
    assert store.tree.versions() == [ONE, TWO]


def test_nobody_is_switched_to_what_is_being_deleted(store: TreeStore) -> None:
    store.activate(STABLE, ONE)
    with ThreadPoolExecutor(1) as pool:
        with held_at(Point.TREE_DOOMED) as there:
            going = pool.submit(store.prune, TWO)
            assert there.wait(PATIENCE)
            with pytest.raises(NotFoundError):
                store.go_back(STABLE, TWO)
        going.result(PATIENCE)
    assert store.tree.active(STABLE) == ONE


def test_what_a_channel_was_led_back_to_a_moment_ago_is_not_deleted(store: TreeStore) -> None:
    store.activate(STABLE, ONE)
    store.try_out(STABLE, TWO, ONE)
    store.go_back(STABLE, ONE)
    with pytest.raises(ConflictError):
        store.prune(ONE)
    assert store.tree.holds(ONE)

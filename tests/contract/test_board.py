"""What nodes should hold is the same whether one looks or all do, and many cost little; on every database."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from cloud_hub.board import Board, Told
from cloud_hub.catalog import By, Catalog, LimitRow, Terms, Whom
from cloud_hub.desired import desired
from modelsyncd.errors import NotFoundError
from tests.contract.databases import URLS, opened
from tests.fakes.releases import HELMET, made

NODES = [f"n{number}" for number in range(40)]


@pytest.fixture(params=URLS)
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalog]:
    with opened(request.param, tmp_path) as found:
        for number, name in enumerate(NODES):
            found.nodes.invite(name, {"site": "oslo" if number % 2 else "lima"}, 2_000.0, 1.0)
        publish(found, 1)
        found.assignments.assign(HELMET, "stable", None, {"site": "oslo"})
        found.assignments.assign(HELMET, "stable", "n0", {})
        found.rights.allow(Whom(selector={"site": "lima"}), "acme/*", ["candidate"], By("admin/ann", 10.0, ""))
        yield found


@pytest.fixture
def asked() -> Iterator[list[str]]:
    """The statements that databases were asked."""
    found: list[str] = []

    def note(*words: object) -> None:
        if words[2] != "BEGIN":
            found.append(str(words[2]))

    event.listen(Engine, "before_cursor_execute", note)
    yield found
    event.remove(Engine, "before_cursor_execute", note)


def publish(catalog: Catalog, number: int) -> None:
    what = made(number, f"content {number}")
    catalog.models.commit(what.signed, what.release, what.digest, channel="stable", who="admin/ann", now=1.0)


def alone(catalog: Catalog, node: str) -> Told:
    return Told(desired(catalog.assignments.desired(node)), catalog.rights.list(node))


def test_each_node_is_told_the_same_as_if_it_had_looked_alone(catalog: Catalog) -> None:
    board = Board(catalog, few=3)
    assert [board.look(node) for node in NODES] == [alone(catalog, node) for node in NODES]
    assert {len(board.look(node).desired.assignments) for node in NODES} == {0, 1}
    assert {len(board.look(node).rights) for node in NODES} == {0, 1}


def test_every_look_after_a_change_sees_it(catalog: Catalog) -> None:
    board = Board(catalog, few=3)
    changes: list[Callable[[], object]] = [
        lambda: catalog.nodes.label("n2", {"site": "oslo"}),
        lambda: catalog.limits.set(LimitRow(Whom(), Terms(rate=1_000)), By("admin/ann", 20.0, "")),
        lambda: catalog.rights.disallow(Whom(selector={"site": "lima"}), "acme/*", By("admin/ann", 30.0, "")),
        lambda: publish(catalog, 2),
        lambda: catalog.assignments.unassign(HELMET, "stable", "n0", {}),
    ]
    for change in changes:
        change()
        for node in NODES:
            assert board.look(node) == alone(catalog, node)


def test_many_nodes_that_look_after_one_change_ask_the_database_little_more_than_few(
    catalog: Catalog, asked: list[str]
) -> None:
    board = Board(catalog, few=3)
    asked.clear()
    for node in NODES[:4]:
        board.look(node)
    few = len(asked)
    for node in NODES[4:]:
        board.look(node)
    assert few > 20
    assert len(asked) - few == len(NODES) - 4, "each asks for the revision and for nothing else"


def test_nodes_that_look_at_the_same_time_have_it_worked_out_once(catalog: Catalog) -> None:
    board, together = Board(catalog, few=0), threading.Barrier(8)
    worked_out: list[int] = []
    by_node = catalog.assignments.desired_by_node

    def counted() -> object:
        worked_out.append(1)
        return by_node()

    catalog.assignments.desired_by_node = counted  # type: ignore[method-assign,assignment]

    def look(node: str) -> Told:
        together.wait(60)
        return board.look(node)

    with ThreadPoolExecutor(8) as threads:
        told = list(threads.map(look, NODES[:8]))
    assert told == [alone(catalog, node) for node in NODES[:8]]
    assert len(worked_out) == 1


def test_a_node_that_is_gone_is_not_found_however_many_look(catalog: Catalog) -> None:
    board = Board(catalog, few=1)
    catalog.nodes.remove("n5")
    for node in NODES[:5]:
        board.look(node)
    with pytest.raises(NotFoundError):
        board.look("n5")

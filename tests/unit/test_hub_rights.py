"""What a node may read, and against what chunks may be coded for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud_hub.catalog import Catalog
from cloud_hub.rights import AssignedOnly, anything
from modelsyncd.digest import Digest
from modelsyncd.errors import RefusedError
from modelsyncd.names import ModelName, parse_ref
from tests.fakes.releases import HELMET, made, manifest_of

VEST = ModelName("acme", "vest")


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.open(f"sqlite:///{tmp_path}/catalog.db") as opened:
        opened.nodes.invite("n1", {"site": "oslo"}, 2_000.0, 1_000.0)
        yield opened


def publish(catalog: Catalog, number: int, content: str, channel: str | None, model: ModelName = HELMET) -> Digest:
    what = made(number, content, model=model)
    catalog.models.commit(what.signed, what.release, what.digest, channel=channel, who="admin/ann", now=1.0)
    return manifest_of(content)


def test_whatever_a_channel_has_ever_named_may_be_a_base_in_the_order_of_the_peer(catalog: Catalog) -> None:
    held = [publish(catalog, number, f"v{number}", "stable") for number in (1, 2, 3)]
    catalog.assignments.assign(HELMET, "stable", "n1", {})
    right = AssignedOnly(catalog, "n1")
    assert right.bases(held[::-1]) == held[::-1]
    assert right.bases([]) == []
    catalog.models.rollback(HELMET, "stable", who="admin/ann", note="", now=2.0)
    assert right.bases(held) == held


def test_what_no_channel_of_the_node_has_named_is_no_base_though_the_node_says_that_it_holds_it(
    catalog: Catalog,
) -> None:
    mine = publish(catalog, 1, "mine", "stable")
    others = [
        publish(catalog, 2, "another channel", "canary"),
        publish(catalog, 3, "no channel", None),
        publish(catalog, 1, "another model", "stable", VEST),
        manifest_of("never committed"),
    ]
    catalog.assignments.assign(HELMET, "stable", "n1", {})
    right = AssignedOnly(catalog, "n1")
    assert right.bases([*others, mine]) == [mine]


def test_another_nodes_assignment_gives_no_bases(catalog: Catalog) -> None:
    held = publish(catalog, 1, "v1", "stable")
    catalog.nodes.invite("n2", {}, 2_000.0, 1_000.0)
    catalog.assignments.assign(HELMET, "stable", "n2", {})
    assert AssignedOnly(catalog, "n1").bases([held]) == []
    assert AssignedOnly(catalog, "nobody").bases([held]) == []
    assert AssignedOnly(catalog, "n2").bases([held]) == [held]


def test_an_assignment_that_ends_takes_its_bases_away_and_a_new_one_brings_them(catalog: Catalog) -> None:
    held = publish(catalog, 1, "v1", "stable")
    right = AssignedOnly(catalog, "n1")
    assert right.bases([held]) == []
    catalog.assignments.assign(HELMET, "stable", None, {"site": "oslo"})
    assert right.bases([held]) == [held]
    catalog.assignments.unassign(HELMET, "stable", None, {"site": "oslo"})
    assert right.bases([held]) == []


def test_a_release_that_the_channel_comes_to_name_becomes_a_base_at_once(catalog: Catalog) -> None:
    publish(catalog, 1, "v1", "stable")
    later = publish(catalog, 2, "v2", "canary")
    catalog.assignments.assign(HELMET, "stable", "n1", {})
    right = AssignedOnly(catalog, "n1")
    assert right.bases([later]) == []
    catalog.models.promote(parse_ref("acme/helmet:2"), "stable", who="admin/ann", note="", now=2.0)
    assert right.bases([later]) == [later]


def test_a_base_is_not_readable_by_that(catalog: Catalog) -> None:
    older, newer = (publish(catalog, number, f"v{number}", "stable") for number in (1, 2))
    catalog.assignments.assign(HELMET, "stable", "n1", {})
    right = AssignedOnly(catalog, "n1")
    assert right.bases([older]) == [older]
    with pytest.raises(RefusedError, match="not assigned"):
        right(older)
    right(newer)


def test_an_admin_may_have_chunks_coded_against_anything(catalog: Catalog) -> None:
    held = publish(catalog, 1, "v1", None)
    assert anything.bases([held]) == [held]
    anything(held)

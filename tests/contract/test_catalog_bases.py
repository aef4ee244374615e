"""Which releases may be bases, on every database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud_hub.catalog import Catalog
from modelsyncd.digest import Digest
from modelsyncd.names import ModelName, parse_ref
from tests.contract.databases import URLS, opened
from tests.fakes.releases import HELMET, made, manifest_of

VEST = ModelName("acme", "vest")


@pytest.fixture(params=URLS)
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalog]:
    with opened(request.param, tmp_path) as found:
        found.nodes.invite("n1", {}, 2_000.0, 1_000.0)
        yield found


def publish(catalog: Catalog, number: int, *contents: str, channel: str = "", model: ModelName = HELMET) -> None:
    what = made(number, *contents, model=model)
    catalog.models.commit(what.signed, what.release, what.digest, channel=channel or None, who="admin/ann", now=1.0)


def names(catalog: Catalog, among: list[str]) -> set[Digest]:
    return set(catalog.assignments.once_named("n1", [manifest_of(content) for content in among]))


def test_recent_releases_are_those_of_channels_and_then_the_newest(catalog: Catalog) -> None:
    for number in range(1, 8):
        publish(catalog, number, f"v{number}")
    for number, channel in ((2, "stable"), (5, "canary"), (2, "other")):
        catalog.models.promote(parse_ref(f"acme/helmet:{number}"), channel, who="a", note="", now=2.0)
    publish(catalog, 1, "of another model", model=VEST)
    assert [row.number for row in catalog.models.recent(HELMET, 16)] == [5, 2, 7, 6, 4, 3, 1]
    assert [row.number for row in catalog.models.recent(HELMET, 3)] == [5, 2, 7]
    assert catalog.models.recent(ModelName("acme", "nothing"), 16) == []


def test_all_variants_of_what_a_channel_ever_named_and_nothing_else(catalog: Catalog) -> None:
    publish(catalog, 1, "v1", "v1 for gpu", channel="stable")
    publish(catalog, 2, "v2", channel="canary")
    publish(catalog, 3, "v3", channel="stable")
    publish(catalog, 1, "vest", channel="stable", model=VEST)
    asked = ["v1", "v1 for gpu", "v2", "v3", "vest", "never"]
    assert names(catalog, asked) == set()
    catalog.assignments.assign(HELMET, "stable", "n1", {})
    assert names(catalog, asked) == {manifest_of(content) for content in ("v1", "v1 for gpu", "v3")}
    assert names(catalog, ["v3"]) == {manifest_of("v3")}
    assert names(catalog, []) == set()


def test_the_same_content_in_a_release_that_no_channel_named_counts_by_its_name_elsewhere(catalog: Catalog) -> None:
    publish(catalog, 1, "same", channel="stable")
    publish(catalog, 1, "same", model=VEST)
    catalog.assignments.assign(VEST, "stable", "n1", {})
    assert names(catalog, ["same"]) == set()
    catalog.assignments.assign(HELMET, "stable", "n1", {})
    assert names(catalog, ["same"]) == {manifest_of("same")}

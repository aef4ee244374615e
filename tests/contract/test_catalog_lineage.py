"""Which releases came from which, walked both ways; on every database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from cloud_hub.catalog import Catalog, lineage, schema
from cloud_hub.catalog.lineage import Kin, Name
from modelsyncd.digest import digest_of
from modelsyncd.names import ModelName, parse_model
from modelsyncd.release import Parent
from tests.contract.databases import URLS, opened
from tests.fakes.releases import made

BASE, HELMET, FAR = parse_model("acme/base"), parse_model("acme/helmet"), parse_model("other/hub")


@pytest.fixture(params=URLS)
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalog]:
    """base:1 → base:2 → helmet:1 → helmet:2 ← other/hub:7, which is not here; base:1 and helmet:2 → helmet:3."""
    with opened(request.param, tmp_path) as found:
        commit(found, BASE, 1)
        commit(found, BASE, 2, (BASE, 1, "fine-tuned-from"))
        commit(found, HELMET, 1, (BASE, 2, "distilled-from"))
        commit(found, HELMET, 2, (HELMET, 1, "fine-tuned-from"), (FAR, 7, "aggregated-from"))
        commit(found, HELMET, 3, (BASE, 1, "fine-tuned-from"), (HELMET, 2, "fine-tuned-from"))
        yield found


def commit(catalog: Catalog, model: ModelName, number: int, *parents: tuple[ModelName, int, str]) -> None:
    what = made(number, f"{model} {number}", model=model)
    named = tuple(Parent(of, its, digest_of(f"{of}{its}".encode()), role) for of, its, role in parents)
    release = replace(what.release, parents=named)
    catalog.models.commit(what.signed, release, what.digest, channel=None, who="admin/ann", now=1.0)
    with catalog._database.write() as connection:
        rows, models = schema.releases, schema.models
        query = select(rows.c.id).join(models, models.c.id == rows.c.model_id)
        release_id = connection.scalars(query.where(models.c.name == str(model), rows.c.number == number)).one()
        for _ in range(2):  # indexed again, it is not there twice
            lineage.write(connection, release_id, release)


def ties(kin: Kin) -> set[str]:
    return {f"{shown(tie.child)} {tie.role} {shown(tie.parent)}" for tie in kin.ties}


def shown(name: Name) -> str:
    return f"{name.model}:{name.number}"


def names(kin: Kin) -> set[str]:
    return {f"{row.model}:{row.number}" for row in kin.rows}


def test_all_that_a_release_came_from_is_found_over_several_steps_and_by_both_ways(catalog: Catalog) -> None:
    kin = catalog.lineage.of(HELMET, 3, depth=10)
    assert names(kin) == {"acme/base:1", "acme/base:2", "acme/helmet:1", "acme/helmet:2", "acme/helmet:3"}
    assert ties(kin) == {
        "acme/helmet:3 fine-tuned-from acme/base:1",
        "acme/helmet:3 fine-tuned-from acme/helmet:2",
        "acme/helmet:2 fine-tuned-from acme/helmet:1",
        "acme/helmet:2 aggregated-from other/hub:7",
        "acme/helmet:1 distilled-from acme/base:2",
        "acme/base:2 fine-tuned-from acme/base:1",
    }
    assert not kin.cut


def test_all_that_came_from_a_release_is_found_and_not_what_else_that_came_from(catalog: Catalog) -> None:
    kin = catalog.lineage.of(HELMET, 1, depth=10)
    assert ties(kin) == {
        "acme/helmet:1 distilled-from acme/base:2",
        "acme/base:2 fine-tuned-from acme/base:1",
        "acme/helmet:2 fine-tuned-from acme/helmet:1",
        "acme/helmet:3 fine-tuned-from acme/helmet:2",
    }


def test_a_parent_that_is_not_here_tells_of_its_children(catalog: Catalog) -> None:
    kin = catalog.lineage.of(FAR, 7, depth=10)
    assert names(kin) == {"acme/helmet:2", "acme/helmet:3"}


def test_what_is_too_far_away_or_too_much_is_left_out_and_said(catalog: Catalog) -> None:
    near = catalog.lineage.of(HELMET, 1, depth=1)
    assert (names(near), near.cut) == ({"acme/base:2", "acme/helmet:1", "acme/helmet:2"}, True)
    far = catalog.lineage.of(HELMET, 1, depth=2)
    assert (len(far.rows), far.cut) == (5, False)
    few = catalog.lineage.of(HELMET, 3, depth=10, most=2)
    assert (names(few), few.cut) == ({"acme/base:1", "acme/helmet:3"}, True)
    assert ties(few) == {"acme/helmet:3 fine-tuned-from acme/base:1"}

"""What steps have made of which versions is found in the catalogue; on every database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from cloud_hub.catalog import Catalog, schema
from cloud_hub.catalog import derivations as table
from modelsyncd.digest import Digest, digest_of
from modelsyncd.names import ModelName, parse_model
from modelsyncd.release import Derivation
from tests.contract.databases import URLS, opened
from tests.fakes.releases import made

HELMET, SMALL = parse_model("acme/helmet"), parse_model("acme/small")
SOURCE, OTHER = digest_of(b"source"), digest_of(b"other source")
CAST, INT8 = digest_of(b"cast"), digest_of(b"int8")


@pytest.fixture(params=URLS)
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalog]:
    """helmet:1 has variants made by a cast and by int8 of the same source; helmet:2 and small:1 by the same cast."""
    with opened(request.param, tmp_path) as found:
        commit(found, HELMET, 1, Derivation(SOURCE, CAST, "cast"), Derivation(SOURCE, INT8, "onnx-int8"))
        commit(found, HELMET, 2, Derivation(SOURCE, CAST, "cast"), Derivation(OTHER, INT8, "onnx-int8"))
        commit(found, SMALL, 1, Derivation(SOURCE, CAST, "cast"), channel="stable")
        yield found


def commit(
    catalog: Catalog, model: ModelName, number: int, *derivations: Derivation, channel: str | None = None
) -> None:
    """A release with a variant that says nothing, and one for each of these."""
    what = made(number, "plain", *(f"{model}{number}{place}" for place in range(len(derivations))), model=model)
    first, *others = what.release.variants
    variants = (first, *(replace(one, derivation=how) for one, how in zip(others, derivations, strict=True)))
    release = replace(what.release, variants=variants)
    catalog.models.commit(what.signed, release, what.digest, channel=channel, who="admin/ann", now=1.0)
    with catalog._database.write() as connection:
        rows, models = schema.releases, schema.models
        query = select(rows.c.id).join(models, models.c.id == rows.c.model_id)
        release_id = connection.scalars(query.where(models.c.name == str(model), rows.c.number == number)).one()
        for _ in range(2):  # indexed again, it is not there twice
            table.write(connection, release_id, release)


def found(catalog: Catalog, source: Digest, step: Digest) -> list[str]:
    return [
        f"{row.model}:{row.number} {row.variant} {','.join(row.channels)}".strip()
        for row in catalog.derivations.find(source, step)
    ]


def test_a_step_finds_all_that_it_made_of_a_version_the_newest_first(catalog: Catalog) -> None:
    assert found(catalog, SOURCE, CAST) == [
        "acme/small:1 variant-1 stable",
        "acme/helmet:2 variant-1",
        "acme/helmet:1 variant-1",
    ]


def test_the_same_step_on_another_version_and_another_step_on_the_same_are_others(catalog: Catalog) -> None:
    assert found(catalog, SOURCE, INT8) == ["acme/helmet:1 variant-2"]
    assert found(catalog, OTHER, INT8) == ["acme/helmet:2 variant-2"]
    assert found(catalog, OTHER, CAST) == []

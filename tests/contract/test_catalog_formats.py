"""A catalogue of each earlier format becomes what a new one is, on every database, and keeps what was in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, make_url, text

from cloud_hub.catalog import Catalog
from cloud_hub.catalog.schema import SCHEMA_VERSION
from modelsyncd.errors import RoadError
from modelsyncd.names import ModelRef
from tests.contract.databases import URLS, database
from tests.fakes.old_catalogs import NEW_SINCE, UNDO
from tests.fakes.releases import HELMET, made

Shape = dict[str, tuple[object, ...]]


@pytest.mark.parametrize("kind", URLS)
@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION))
def test_a_catalogue_of_an_earlier_format_is_brought_up_to_date(kind: str, version: int, tmp_path: Path) -> None:
    with database(kind, tmp_path) as url:
        with Catalog.open(url) as catalog:
            what = made(1, "some")
            catalog.models.commit(what.signed, what.release, what.digest, channel="stable", who="admin/ann", now=1.0)
        new = shape(url)
        make_older(url, version)
        assert shape(url) != new
        for _ in range(2):
            with Catalog.open(url) as catalog:
                assert catalog.models.release(ModelRef(HELMET, channel="stable")).signed == what.signed
            assert shape(url) == new


def make_older(url: str, version: int) -> None:
    """Takes out what came after a version."""
    engine = create_engine(_driven(url))
    with engine.begin() as connection:
        for later in range(SCHEMA_VERSION, version, -1):
            for statement in UNDO.get(later, ()):
                connection.execute(text(statement))
            for table in NEW_SINCE[later]:
                connection.execute(text(f"DROP TABLE {table}"))
        connection.execute(text("UPDATE facts SET value = :version WHERE name = 'schema'"), {"version": version})
    engine.dispose()


def shape(url: str) -> Shape:
    """All tables with their columns, keys and indexes."""
    engine = create_engine(_driven(url))
    found = inspect(engine)
    shapes: Shape = {}
    for name in sorted(found.get_table_names()):
        columns = sorted((one["name"], str(one["type"]), one["nullable"]) for one in found.get_columns(name))
        indexes = sorted((str(one["name"]), tuple(one["column_names"])) for one in found.get_indexes(name))
        foreign = sorted((str(one["referred_table"]), str(one["options"])) for one in found.get_foreign_keys(name))
        key = tuple(found.get_pk_constraint(name)["constrained_columns"])
        shapes[name] = (columns, indexes, foreign, key)
    engine.dispose()
    return shapes


def _driven(url: str) -> str:
    parsed = make_url(url)
    chosen = parsed.set(drivername="postgresql+psycopg") if parsed.drivername == "postgresql" else parsed
    return chosen.render_as_string(hide_password=False)


def test_a_database_server_that_does_not_answer_is_told_as_a_road_and_not_as_damage(tmp_path: Path) -> None:
    with pytest.raises(RoadError, match="does not answer"):
        Catalog.open(f"postgresql://postgres:@/none?host={tmp_path}")

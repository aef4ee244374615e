"""A catalogue of each earlier format becomes, step by step, what a new one is."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from sqlalchemy import create_mock_engine
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.ddl import ExecutableDDLElement

from cloud_hub.catalog import Catalog, schema
from cloud_hub.catalog.migrations import STEPS
from cloud_hub.catalog.schema import SCHEMA_VERSION
from tests.fakes.old_catalogs import NEW_SINCE, as_of


def _tables(file: Path) -> set[tuple[str, str]]:
    connection = sqlite3.connect(file)
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    connection.close()
    return {(name, re.sub(r"\s+", " ", sql)) for name, sql in rows}


def test_there_is_a_step_to_each_version() -> None:
    assert [step.version for step in STEPS] == list(range(2, SCHEMA_VERSION + 1))
    assert sorted(NEW_SINCE) == list(range(2, SCHEMA_VERSION + 1))


def test_an_older_catalogue_gets_the_same_tables_as_a_new_one(tmp_path: Path) -> None:
    Catalog.open(f"sqlite:///{tmp_path}/new.db").close()
    for version in range(1, SCHEMA_VERSION):
        old = tmp_path / f"{version}.db"
        as_of(version, old)
        before = _tables(old)
        Catalog.open(f"sqlite:///{old}").close()
        assert _tables(old) == _tables(tmp_path / "new.db") != before


def test_the_tables_can_be_made_in_postgres() -> None:
    said: list[str] = []

    def note(statement: ExecutableDDLElement, *_: object, **__: object) -> None:
        said.append(str(statement.compile(dialect=postgresql.dialect())))  # type: ignore[no-untyped-call]

    schema.metadata.create_all(create_mock_engine("postgresql://", note), checkfirst=False)
    text = "\n".join(said)
    assert "CREATE TABLE codings" in text
    assert "used_at DOUBLE PRECISION NOT NULL" in text
    assert "digest BYTEA NOT NULL" in text

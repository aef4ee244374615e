"""How the catalogue's database is opened, brought up to date, and what becomes of its errors."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, text

from cloud_hub.catalog import Catalog, database, migrations
from cloud_hub.catalog.database import Database
from cloud_hub.catalog.schema import SCHEMA_VERSION, facts
from modelsyncd.errors import (
    BadInputError,
    DamageError,
    DiskError,
    LockedError,
    ModelsyncError,
    NewerFormatError,
)
from tests.fakes.releases import HELMET, made


def url(folder: Path) -> str:
    return f"sqlite:///{folder}/catalog.db"


def test_sqlite_waits_for_the_disk_at_each_commit_and_checks_references(tmp_path: Path) -> None:
    Catalog.open(url(tmp_path)).close()
    opened = Database(url(tmp_path))
    with opened.read() as connection:
        found = {name: connection.execute(text(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "synchronous")}
        assert found == {"journal_mode": "wal", "synchronous": 2}
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1
    opened.close()


def test_what_was_committed_is_there_after_opening_again(tmp_path: Path) -> None:
    what = made(1, "a")
    with Catalog.open(url(tmp_path)) as catalog:
        catalog.models.commit(what.signed, what.release, what.digest, channel="stable", who="admin/ann", now=1.0)
        revision = catalog.revision()
    with Catalog.open(url(tmp_path)) as catalog:
        assert catalog.models.next_number(HELMET) == 2
        assert catalog.revision() == revision


def test_a_catalogue_of_a_newer_hub_is_refused_and_not_changed(tmp_path: Path) -> None:
    Catalog.open(url(tmp_path)).close()
    with sqlite3.connect(tmp_path / "catalog.db") as connection:
        connection.execute("UPDATE facts SET value = 99 WHERE name = 'schema'")
        connection.execute("DROP TABLE chunks")
    with pytest.raises(NewerFormatError, match="format 99") as caught:
        Catalog.open(url(tmp_path))
    assert "newer modelsync-hub" in caught.value.hint
    assert sqlite3.connect(tmp_path / "catalog.db").execute("SELECT count(*) FROM nodes").fetchone() == (0,)


def test_an_older_catalogue_takes_the_steps_that_it_lacks_in_order_and_once(tmp_path: Path) -> None:
    opened = Database(url(tmp_path))
    migrations.migrate(opened)
    taken: list[int] = []

    def step(version: int) -> migrations.Step:
        return migrations.Step(version, lambda _: taken.append(version))

    steps = [step(version) for version in range(1, SCHEMA_VERSION + 3)]
    for _ in range(2):
        migrations.migrate(opened, steps, SCHEMA_VERSION + 2)
    assert taken == [SCHEMA_VERSION + 1, SCHEMA_VERSION + 2]
    opened.close()


def test_a_step_that_fails_leaves_the_catalogue_as_it_was(tmp_path: Path) -> None:
    opened = Database(url(tmp_path))
    migrations.migrate(opened)

    def half(connection: Connection) -> None:
        connection.execute(text("DROP TABLE chunks"))
        connection.execute(text("DROP TABLE no_such_table"))

    with pytest.raises(ModelsyncError):
        migrations.migrate(opened, [migrations.Step(SCHEMA_VERSION + 1, half)], SCHEMA_VERSION + 1)
    migrations.migrate(opened)
    with opened.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM chunks")).scalar() == 0
    opened.close()


def test_a_write_that_raises_changes_nothing(tmp_path: Path) -> None:
    opened = Database(url(tmp_path))
    migrations.migrate(opened)
    with suppress(ZeroDivisionError), opened.write() as connection:
        connection.execute(insert(facts).values(name="x", value=1))
        raise ZeroDivisionError
    with opened.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM facts WHERE name = 'x'")).scalar() == 0
    opened.close()


def test_a_reader_sees_one_moment_while_others_write(tmp_path: Path) -> None:
    opened = Database(url(tmp_path))
    migrations.migrate(opened)
    with opened.read() as reading:
        before = migrations.revision(reading)
        with opened.write() as writing:
            migrations.bump(writing)
        assert migrations.revision(reading) == before
    with opened.read() as reading:
        assert migrations.revision(reading) == before + 1
    opened.close()


@pytest.mark.parametrize("bad", ["", "sqlite://", "sqlite:///", "nonsense", "nosuch://x/y"])
def test_a_url_that_can_not_be_opened_says_what_to_write(bad: str) -> None:
    with pytest.raises(BadInputError) as caught:
        Catalog.open(bad)
    assert "sqlite:////absolute/path/catalog.db" in caught.value.hint


def test_a_file_that_is_no_database_is_damage(tmp_path: Path) -> None:
    (tmp_path / "catalog.db").write_bytes(b"this is no database at all " * 100)
    with pytest.raises(DamageError, match="damaged"):
        Catalog.open(url(tmp_path))


def test_a_folder_that_is_not_there_is_the_disks_fault(tmp_path: Path) -> None:
    with pytest.raises(DiskError):
        Catalog.open(url(tmp_path / "none"))


def test_a_catalogue_that_another_program_holds_is_said_to_be_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    with Catalog.open(url(tmp_path)) as catalog:
        other = sqlite3.connect(tmp_path / "catalog.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LockedError) as caught:
            catalog.nodes.invite("n1", {}, 9.0, 1.0)
        assert "nothing" in caught.value.safe
        other.execute("ROLLBACK")
        other.close()
        catalog.nodes.invite("n1", {}, 9.0, 1.0)
        assert [node.name for node in catalog.nodes.list()] == ["n1"]

"""A node's extract of the catalogue: the only place that keeps it, and the second with SQL on a node.

Releases of the models that the node follows, by what they are found, as the hub told of them last. Law: a cache, and
nothing but. It may be deleted at any time: then the hub tells all of it again. A file that can't be read is thrown
away. No id of a release is given twice: who still works with one that was forgotten finds nothing under it.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelsyncd.errors import DiskError, DiskFullError
from modelsyncd.query.judging import matches
from modelsyncd.query.traits import Trait
from modelsyncd.query.words import Compare

SCHEMA = 2  # PRAGMA user_version
_TABLES = """
CREATE TABLE model (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, mark TEXT NOT NULL);
CREATE TABLE channel (model INTEGER NOT NULL, name TEXT NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (model, name))
    WITHOUT ROWID;
CREATE TABLE release (id INTEGER PRIMARY KEY AUTOINCREMENT, model INTEGER NOT NULL, number INTEGER NOT NULL,
    at REAL NOT NULL, who TEXT NOT NULL, UNIQUE (model, number));
CREATE TABLE trait (release INTEGER NOT NULL, key TEXT NOT NULL, variant TEXT NOT NULL, text TEXT, number REAL);
CREATE INDEX release_by_time ON release (at, id);
CREATE INDEX trait_by_release ON trait (release);
CREATE INDEX trait_by_value ON trait (key, number, text, release);
CREATE INDEX trait_by_text ON trait (key, text, release);
CREATE TABLE heard (at REAL NOT NULL);
"""
_NUMBERS = {
    Compare.LESS: "SELECT release FROM trait WHERE key = ? AND number < ?",
    Compare.AT_MOST: "SELECT release FROM trait WHERE key = ? AND number <= ?",
    Compare.EQUAL: "SELECT release FROM trait WHERE key = ? AND number = ?",
    Compare.AT_LEAST: "SELECT release FROM trait WHERE key = ? AND number >= ?",
    Compare.MORE: "SELECT release FROM trait WHERE key = ? AND number > ?",
}
_UP = "SELECT release, text, number FROM trait WHERE key = ? ORDER BY number, text"
_DOWN = "SELECT release, text, number FROM trait WHERE key = ? ORDER BY number DESC, text DESC"
_RELEASE_NUMBERS = {
    Compare.LESS: "SELECT id FROM release WHERE number < ?",
    Compare.AT_MOST: "SELECT id FROM release WHERE number <= ?",
    Compare.EQUAL: "SELECT id FROM release WHERE number = ?",
    Compare.AT_LEAST: "SELECT id FROM release WHERE number >= ?",
    Compare.MORE: "SELECT id FROM release WHERE number > ?",
}
"""One statement for each way to compare; what somebody asks is only ever a value in it."""


@dataclass(frozen=True, slots=True)
class KeptRelease:
    """A release, as the hub told of it; `at` is when it was committed, in seconds since 1970."""

    number: int
    at: float
    who: str
    traits: Sequence[Trait]


@dataclass(frozen=True, slots=True)
class ReleaseLine:
    """A release that was found, with the channels that name it, by name."""

    id: int
    model: str
    number: int
    at: float
    who: str
    channels: tuple[str, ...]


class Extract:
    """One SQLite file and one connection to it, for use from any thread. Everything here blocks."""

    def __init__(self, path: Path) -> None:
        """Opens it when it is first used; one that can't be read, or is of another format, is begun anew."""
        self._path = path
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None

    def close(self) -> None:
        """Ends all use of it; it may be used again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    # --- what the hub tells ---

    def marks(self) -> dict[str, str]:
        """How far the hub has told of each model. Raises DiskError."""
        with self._transaction() as connection:
            return dict(connection.execute("SELECT name, mark FROM model"))

    def keep_only(self, models: Collection[str]) -> None:
        """Forgets all other models. Raises DiskError."""
        with self._transaction() as connection:
            for model, name in connection.execute("SELECT id, name FROM model").fetchall():
                if name not in models:
                    _empty(connection, model)
                    connection.execute("DELETE FROM model WHERE id = ?", (model,))

    def put(self, model: str, releases: Iterable[KeptRelease], *, anew: bool) -> None:
        """Replaces what is known of these releases; with `anew`, of all of the model's. Raises DiskError."""
        with self._transaction() as connection:
            row = _model(connection, model)
            # A mark speaks of all that was told: until it comes again, nothing may be left out next time.
            connection.execute("UPDATE model SET mark = '' WHERE id = ?", (row,))
            if anew:
                _empty(connection, row)
            for one in releases:
                _put(connection, row, one)

    def mark(self, model: str, mark: str, channels: Mapping[str, int]) -> None:
        """All was told, up to this mark; these are the model's channels. Raises DiskError."""
        with self._transaction() as connection:
            row = _model(connection, model)
            connection.execute("UPDATE model SET mark = ? WHERE id = ?", (mark, row))
            connection.execute("DELETE FROM channel WHERE model = ?", (row,))
            named = [(row, name, number) for name, number in channels.items()]
            connection.executemany("INSERT INTO channel VALUES (?, ?, ?)", named)

    def heard(self, at: float) -> None:
        """The hub was heard now, and nothing is missing. Raises DiskError."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM heard")
            connection.execute("INSERT INTO heard VALUES (?)", (at,))

    @property
    def heard_at(self) -> float:
        """When the hub was heard last; 0 for never. Raises DiskError."""
        with self._transaction() as connection:
            return float((connection.execute("SELECT max(at) FROM heard").fetchone() or (0,))[0] or 0.0)

    # --- what releases are found by: sets of their ids ---

    def everything(self, models: Collection[str]) -> set[int]:
        """All releases of these models."""
        with self._transaction() as connection:
            known = dict(connection.execute("SELECT id, name FROM model"))
            if all(name in models for name in known.values()):
                return {one for (one,) in connection.execute("SELECT id FROM release")}
            rows = connection.execute("SELECT id, model FROM release")
            return {one for one, model in rows if known.get(model) in models}

    def with_any(self, key: str) -> set[int]:
        """Releases with any value of a field."""
        if key == "channel":
            return self._ids("SELECT release.id FROM release JOIN channel USING (model, number)")
        if key in ("model", "number"):
            return self._ids("SELECT id FROM release")
        return self._ids("SELECT release FROM trait WHERE key = ?", key)

    def with_number(self, key: str, how: Compare, value: float) -> set[int]:
        """Releases with a number that compares so."""
        if key == "number":
            return self._ids(_RELEASE_NUMBERS[how], value)
        return self._ids(_NUMBERS[how], key, value)

    def with_text(self, key: str, how: Compare, text: str) -> set[int]:
        """Releases with a text that compares so."""
        if key == "channel":
            pairs = self._pairs("SELECT release.id, channel.name FROM release JOIN channel USING (model, number)")
        elif key == "model":
            pairs = self._pairs("SELECT release.id, model.name FROM release JOIN model ON model.id = release.model")
        elif how is Compare.EQUAL and "*" not in text:
            return self._ids("SELECT release FROM trait WHERE key = ? AND text = ?", key, text)
        else:
            pairs = self._pairs("SELECT release, text FROM trait WHERE key = ? AND text IS NOT NULL", key)
        return {one for one, found in pairs if matches(found, how, text)}

    def values(self, key: str) -> dict[int, list[str | float]]:
        """All values of a field, by release."""
        found: dict[int, list[str | float]] = {}
        with self._transaction() as connection:
            rows = connection.execute("SELECT release, text, number FROM trait WHERE key = ?", (key,))
            for one, text, number in rows:
                found.setdefault(one, []).append(text if number is None else number)
        return found

    # --- what is told of them ---

    def newest(self, among: Collection[int], limit: int) -> list[int]:
        """The first of these, what was committed last first."""
        found: list[int] = []
        with self._transaction() as connection:
            rows = connection.execute("SELECT id FROM release ORDER BY at DESC, id DESC")
            for (one,) in rows:
                if len(found) >= limit:
                    break
                if one in among:
                    found.append(one)
        return found

    def ranked(
        self, key: str, among: Collection[int], limit: int, *, largest_first: bool
    ) -> list[tuple[int, str | float]]:
        """The first of these by a field, with its value, and all that have the same value as the last of them."""
        found: dict[int, str | float] = {}
        last: str | float | None = None
        with self._transaction() as connection:
            for one, text, number in connection.execute(_DOWN if largest_first else _UP, (key,)):
                value = text if number is None else number
                if len(found) >= limit and value != last:
                    break
                if one in among and one not in found:
                    found[one] = last = value
        return list(found.items())

    def lines(self, releases: Iterable[int]) -> list[ReleaseLine]:
        """These releases, in this order."""
        found: list[ReleaseLine] = []
        with self._transaction() as connection:
            for one in releases:
                row = connection.execute(
                    "SELECT release.model, name, number, at, who FROM release JOIN model ON model.id = model"
                    " WHERE release.id = ?",
                    (one,),
                ).fetchone()
                if row is None:
                    continue
                model, name, number, at, who = row
                named = connection.execute(
                    "SELECT name FROM channel WHERE model = ? AND number = ? ORDER BY name", (model, number)
                )
                found.append(ReleaseLine(one, name, number, at, who, tuple(channel for (channel,) in named)))
        return found

    def numbers(self) -> dict[int, int]:
        """The number of each release, by id."""
        return dict(self._pairs("SELECT id, number FROM release"))

    def models(self) -> dict[int, str]:
        """The model of each release, by id."""
        return dict(self._pairs("SELECT release.id, name FROM release JOIN model ON model.id = model"))

    def traits(self, release: int, keys: Collection[str]) -> list[Trait]:
        """Those of a release with some keys, in the order in which they were told."""
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT key, variant, text, number FROM trait WHERE release = ? ORDER BY rowid", (release,)
            )
            return [
                Trait(key, text if number is None else number, variant)
                for key, variant, text, number in rows
                if key in keys
            ]

    # --- inside ---

    def _ids(self, statement: str, *values: object) -> set[int]:
        with self._transaction() as connection:
            return {one for (one,) in connection.execute(statement, values)}

    def _pairs(self, statement: str, *values: object) -> list[tuple[int, Any]]:
        with self._transaction() as connection:
            return connection.execute(statement, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                connection = self._connection = self._connection or self._opened()
                with connection:
                    yield connection
            except sqlite3.Error as error:
                if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                    self._begin_anew()
                if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
                    raise DiskFullError("there is no room for the extract of the catalogue") from error
                raise DiskError(
                    f"the extract of the catalogue can't be used: {error}",
                    safe="it is a copy: the hub tells it again",
                ) from error

    def _opened(self) -> sqlite3.Connection:
        for _ in range(2):
            connection = sqlite3.connect(self._path, check_same_thread=False, isolation_level="IMMEDIATE")
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                (version,) = connection.execute("PRAGMA user_version").fetchone()
                if version == 0:
                    connection.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {SCHEMA}; COMMIT;")
                if version in (0, SCHEMA):
                    return connection
            except sqlite3.DatabaseError:
                connection.close()
                self._begin_anew()
                continue
            connection.close()
            self._begin_anew()
        raise sqlite3.OperationalError("it can't be begun anew")

    def _begin_anew(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        for end in ("", "-wal", "-shm"):
            with suppress(OSError):
                self._path.with_name(self._path.name + end).unlink(missing_ok=True)


def _model(connection: sqlite3.Connection, name: str) -> int:
    connection.execute("INSERT OR IGNORE INTO model (name, mark) VALUES (?, '')", (name,))
    (found,) = connection.execute("SELECT id FROM model WHERE name = ?", (name,)).fetchone()
    return int(found)


def _empty(connection: sqlite3.Connection, model: int) -> None:
    connection.execute("DELETE FROM trait WHERE release IN (SELECT id FROM release WHERE model = ?)", (model,))
    connection.execute("DELETE FROM release WHERE model = ?", (model,))
    connection.execute("DELETE FROM channel WHERE model = ?", (model,))


def _put(connection: sqlite3.Connection, model: int, one: KeptRelease) -> None:
    connection.execute(
        "INSERT INTO release (model, number, at, who) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (model, number) DO UPDATE SET at = excluded.at, who = excluded.who",
        (model, one.number, one.at, one.who),
    )
    (row,) = connection.execute("SELECT id FROM release WHERE model = ? AND number = ?", (model, one.number)).fetchone()
    connection.execute("DELETE FROM trait WHERE release = ?", (row,))
    traits = [
        (row, trait.key, trait.variant, *((trait.value, None) if isinstance(trait.value, str) else (None, trait.value)))
        for trait in one.traits
    ]
    connection.executemany("INSERT INTO trait VALUES (?, ?, ?, ?, ?)", traits)

"""The only place where the catalogue's database is opened, where transactions begin and end, and where SQL errors end.

Law: an acknowledged write survives a power cut, so SQLite runs with WAL and synchronous=FULL. One thread writes at a
time, in the order in which they asked, and a write transaction takes SQLite's lock at its start (BEGIN IMMEDIATE): one
that read first and wrote later could be refused half-way, and no waiting would help.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Connection, Engine, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from cloud_hub.catalog.turns import Turns
from modelsyncd.errors import (
    BadInputError,
    DamageError,
    DiskError,
    DiskFullError,
    LockedError,
    ModelsyncError,
    RoadError,
)
from modelsyncd.store.failpoints import Point, passing

BUSY_SECONDS = 10.0  # how long a writer waits for another process (a backup, a person with sqlite3) before it gives up
BATCH = 500  # values in one IN list: SQLite compiles larger ones no faster per value
_WRITE = "modelsyncd_write"
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_PG_DISK_FULL = "53100"
_PG_BUSY = ("55P03", "40001", "40P01")
_PG_AWAY = ("08", "57P")
_T = TypeVar("_T")


class Database:
    """A pool of connections to one database. Safe to use from any thread."""

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        self._writing = Turns()
        self._sqlite = self._engine.dialect.name == "sqlite"
        if self._sqlite:
            event.listen(self._engine, "connect", _prepare_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One transaction that sees the database as it was at its first query, whoever writes meanwhile.

        Raises DiskError, LockedError or DamageError.
        """
        with _sql_errors(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that is durable when the block has ended, or has changed nothing when it raises.

        Raises DiskFullError, DiskError, LockedError or DamageError.
        """
        with self._writing.turn(), _sql_errors(), self._engine.connect() as connection:
            marked = connection.execution_options(**{_WRITE: True})
            with marked.begin():
                yield marked
                passing(Point.CHANGE_MADE)
            passing(Point.CHANGE_KEPT)

    def close(self) -> None:
        """Closes every connection; SQLite folds its log back into the file."""
        self._engine.dispose()


def insert_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, object]]) -> None:
    """Inserts the rows whose key is not there yet; a row that is there stays as it is."""
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        connection.execute(postgresql.insert(table).on_conflict_do_nothing(), rows)
        return
    connection.execute(sqlite.insert(table).on_conflict_do_nothing(), rows)


def batches(items: Sequence[_T], size: int = BATCH) -> Iterator[Sequence[_T]]:
    """The items in runs short enough for one IN list."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite" and not parsed.database:
            raise BadInputError(f"{url!r} names no file", hint="write sqlite:////absolute/path/catalog.db")
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")  # the driver of the extra modelsyncd[postgres]
        return create_engine(parsed)
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise BadInputError(
            f"{url[:80]!r} is no database that this hub can open",
            hint="write sqlite:////absolute/path/catalog.db; for postgresql://…: pip install 'modelsyncd[postgres]'",
        ) from error


def _prepare_sqlite(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    # Python's own transaction handling is switched off: it begins late and never with IMMEDIATE.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _sql_errors() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        raise _translated(error) from error


def _translated(error: SQLAlchemyError) -> ModelsyncError:
    cause = error.orig if isinstance(error, DBAPIError) else None
    name = getattr(cause, "sqlite_errorname", "")
    state = getattr(cause, "sqlstate", None) or ""
    safe = "nothing of this change was made; what was there before is still there"
    if name == "SQLITE_FULL" or state == _PG_DISK_FULL:
        return DiskFullError("the disk of the catalogue is full", safe=safe, hint="make room, then try again")
    if name in ("SQLITE_BUSY", "SQLITE_LOCKED") or state in _PG_BUSY:
        return LockedError("another program holds the catalogue", safe=safe, hint="close it, then try again")
    odd = "Could not decode to UTF-8" in str(cause)  # Python's words for a number or name that is neither any more
    if odd or name in ("SQLITE_CORRUPT", "SQLITE_NOTADB") or name.startswith("SQLITE_CORRUPT_"):
        return DamageError(
            f"the catalogue is damaged: {cause}", hint="stop the hub and restore catalog.db from a backup"
        )
    if not name and isinstance(error, OperationalError) and (not state or state.startswith(_PG_AWAY)):
        return RoadError(f"the database does not answer: {cause}", safe=safe, hint="see whether its server runs")
    if name.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM")):
        return DiskError(
            f"the catalogue can't be read or written: {cause}", safe=safe, hint="check its disk and folder"
        )
    return ModelsyncError(f"the catalogue refused: {cause or error}", safe=safe)

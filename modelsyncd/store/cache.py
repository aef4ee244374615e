"""The only place that keeps in SQL which chunk lies in which version, and which staged chunks are durable.

Law: a cache, and nothing but. Files are the truth; each row only saves reading them, is written after the bytes it
speaks of, and is verified by whoever follows it. It may be deleted at any time while the agent is down. So there is no
full fsync for each commit either (WAL, synchronous=NORMAL): what a power cut takes are the newest rows, in order.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelsyncd.digest import DIGEST_SIZE, Digest
from modelsyncd.errors import DiskError, DiskFullError
from modelsyncd.manifest import Chunk
from modelsyncd.store.durable import erase, make_folder, rename
from modelsyncd.store.failpoints import Point, passing

if TYPE_CHECKING:
    from sqlite_utils import Database

SCHEMA = 1  # PRAGMA user_version that this file writes and reads
_AROUND = {
    *(0, sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM),
    *(sqlite3.SQLITE_READONLY, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL),
    *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_AUTH),
}
"""What says nothing about the file. All other errors do: the statements here never change, so none is to blame."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a chunk's plain bytes should lie: `file` is an index in the manifest, `offset` is in bytes."""

    manifest: Digest
    file: int
    offset: int


class Cache:
    """One SQLite file and one connection to it, for use from any thread."""

    def __init__(self, path: Path) -> None:
        """Opens, makes or migrates it; one that can't be read is set aside as NAME.damaged and begun anew.

        So is one of a newer format. Raises DiskError.
        """
        self.path = path
        self.aligned = False
        """Whether somebody compared it with the files since it was opened or begun anew."""
        self._lock = threading.RLock()
        self._lost = False  # it was damaged, and the disk did not let us begin anew yet
        make_folder(path.parent)
        self._connection = self._opened()

    def close(self) -> None:
        """Ends all use of it."""
        with self._lock:
            self._connection.close()

    # --- what is staged ---

    def record(self, manifest: Digest, chunks: Iterable[Chunk]) -> None:
        """Notes that these chunks of a version in staging are durable. Raises DiskError."""
        chunks = list(chunks)
        with self._transaction() as connection:
            source = _source(connection, manifest)
            _add_chunks(connection, source, chunks)
            connection.executemany(
                "INSERT OR IGNORE INTO staged (source, ordinal) VALUES (?, ?)",
                [(source, chunk.ordinal) for chunk in chunks],
            )
            passing(Point.ROWS_WRITTEN)
        passing(Point.ROWS_KEPT)

    def recorded(self, manifest: Digest) -> frozenset[int]:
        """The ordinals that `record` noted and nobody took back. Raises DiskError."""
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT ordinal FROM staged JOIN source ON source.id = staged.source WHERE manifest = ?", (manifest,)
            )
            return frozenset(ordinal for (ordinal,) in rows if isinstance(ordinal, int))

    def forget(self, manifest: Digest, chunks: Iterable[Chunk]) -> None:
        """Takes back that these chunks are where the manifest has them. Raises DiskError."""
        chunks = list(chunks)
        with self._transaction() as connection:
            source = _source(connection, manifest)
            connection.executemany(
                "DELETE FROM staged WHERE source = ? AND ordinal = ?", [(source, chunk.ordinal) for chunk in chunks]
            )
            connection.executemany(
                "DELETE FROM chunk WHERE digest = ? AND source = ?", [(chunk.digest, source) for chunk in chunks]
            )

    def settle(self, manifest: Digest, chunks: Iterable[Chunk] = ()) -> None:
        """Notes that a version is whole; `chunks` are those of its chunks that may have no row. Raises DiskError."""
        with self._transaction() as connection:
            source = _source(connection, manifest)
            _add_chunks(connection, source, chunks)
            connection.execute("DELETE FROM staged WHERE source = ?", (source,))
            connection.execute("UPDATE source SET whole = 1 WHERE id = ?", (source,))
        passing(Point.CACHE_SETTLED)

    # --- where chunks are ---

    def places(self, digests: Sequence[Digest]) -> dict[Digest, list[Place]]:
        """Where these chunks should lie; those that lie nowhere are left out. Raises DiskError."""
        found: dict[Digest, list[Place]] = {}
        with self._transaction() as connection:
            for digest in digests:
                for manifest, file, offset in connection.execute(
                    "SELECT manifest, file, offset FROM chunk JOIN source ON source.id = source WHERE digest = ?",
                    (digest,),
                ):
                    if _is_digest(manifest) and isinstance(file, int) and isinstance(offset, int):
                        found.setdefault(digest, []).append(Place(Digest(manifest), file, offset))
        return found

    def misplaced(self, digest: Digest, manifest: Digest) -> None:
        """Drops the row of a chunk that was not where it should lie. Raises DiskError."""
        with self._transaction() as connection:
            connection.execute(
                "DELETE FROM chunk WHERE digest = ? AND source = (SELECT id FROM source WHERE manifest = ?)",
                (digest, manifest),
            )

    # --- sources ---

    def sources(self) -> dict[Digest, bool]:
        """The manifests that rows speak of, and whether all of their chunks have rows. Raises DiskError."""
        with self._transaction() as connection:
            rows = connection.execute("SELECT manifest, whole FROM source")
            return {Digest(manifest): bool(whole) for manifest, whole in rows if _is_digest(manifest)}

    def drop(self, manifest: Digest) -> None:
        """Forgets all about a manifest. Raises DiskError."""
        with self._transaction() as connection:
            source = _source(connection, manifest)
            connection.execute("DELETE FROM staged WHERE source = ?", (source,))
            connection.execute("DELETE FROM chunk WHERE source = ?", (source,))
            connection.execute("DELETE FROM source WHERE id = ?", (source,))
        passing(Point.CACHE_DROPPED)

    # --- the file ---

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._lost:
                self._begin_anew()
            try:
                with self._connection:
                    self._connection.execute("BEGIN")
                    yield self._connection
            except UnicodeDecodeError as error:  # SQLite quotes what it found in the file
                raise self._translated(_broken("its words can't be read")) from error
            except sqlite3.Error as error:
                raise self._translated(error) from error

    def _translated(self, error: sqlite3.Error) -> DiskError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            return DiskFullError(
                f"no room left for {self.path}",
                safe="chunks that are stored stay stored",
                hint="free some space there; the next try goes on by itself",
            )
        if code not in _AROUND:
            self._lost = True
            self._begin_anew()
            return DiskError(
                f"{self.path} was damaged: {error}",
                safe="it is only a cache, and was begun anew; models are not touched",
                hint="nothing needs doing; look at the disk if it happens again",
            )
        return DiskError(
            f"{self.path}: {error}",
            safe="chunks that are stored stay stored",
            hint="look at the disk and the kernel's log; the next try goes on by itself",
        )

    def _begin_anew(self) -> None:
        """Raises DiskError; then the next use tries again."""
        self._connection.close()
        self._set_aside()
        self._connection = self._opened()
        self.aligned = self._lost = False

    def _opened(self) -> sqlite3.Connection:
        try:
            if any(path.is_dir() for path in (self.path, *self._beside())):
                raise _broken("a folder is in its place")
            return self._connect()
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _AROUND:
                raise DiskError(
                    f"{self.path}: {error}",
                    safe="models are not touched",
                    hint=f"delete {self.path}: it is only a cache",
                ) from error
        self._set_aside()
        try:
            return self._connect()
        except sqlite3.Error as error:
            raise DiskError(f"{self.path}: {error}", hint=f"delete {self.path}: it is only a cache") from error

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=30)
        try:
            (found,) = connection.execute("PRAGMA user_version").fetchone()
            if found > SCHEMA:  # a newer agent's, or a bit that turned: to begin anew costs some reading, and no byte
                raise _broken(f"format {found}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            if found < SCHEMA:
                passing(Point.CACHE_BARE)
                _migrate(connection)
                passing(Point.CACHE_MADE)
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise _broken(str(verdict))
            connection.text_factory = bytes  # there are no texts; what rot makes one is no reason to fail
        except UnicodeDecodeError as error:  # SQLite quotes what it found in the file
            connection.close()
            raise _broken("its words can't be read") from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _beside(self) -> list[Path]:
        return [self.path.with_name(self.path.name + ending) for ending in ("-wal", "-shm")]

    def _set_aside(self) -> None:
        for path in self._beside():
            erase(path)
        aside = self.path.with_name(self.path.name + ".damaged")
        erase(aside)
        if self.path.exists():
            rename(self.path, aside)
        passing(Point.CACHE_SET_ASIDE)


def _broken(why: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(why)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def _is_digest(value: object) -> bool:
    """SQLite keeps whatever a page says, also in a column of another type."""
    return isinstance(value, bytes) and len(value) == DIGEST_SIZE


def _source(connection: sqlite3.Connection, manifest: Digest) -> int:
    connection.execute("INSERT OR IGNORE INTO source (manifest, whole) VALUES (?, 0)", (manifest,))
    (source,) = connection.execute("SELECT id FROM source WHERE manifest = ?", (manifest,)).fetchone()
    return int(source)


def _add_chunks(connection: sqlite3.Connection, source: int, chunks: Iterable[Chunk]) -> None:
    connection.executemany(
        "INSERT OR IGNORE INTO chunk (digest, source, file, offset) VALUES (?, ?, ?, ?)",
        ((chunk.digest, source, chunk.file, chunk.offset) for chunk in chunks),
    )


def _migrate(connection: sqlite3.Connection) -> None:
    """Brings the schema up to date. sqlite-utils is imported here alone: an agent that runs does not carry it."""
    from sqlite_utils import Database, Migrations  # noqa: PLC0415

    steps = Migrations("modelsyncd-cache")

    @steps()
    def chunks_and_staged(db: Database) -> None:
        db.table("source").create({"id": int, "manifest": bytes, "whole": int}, pk="id", not_null={"manifest", "whole"})
        db.table("source").create_index(["manifest"], unique=True)
        # without a rowid the key is the table: a chunk costs some 45 bytes and one page, not two
        db.execute(
            "CREATE TABLE chunk (digest BLOB NOT NULL, source INTEGER NOT NULL, file INTEGER NOT NULL,"
            " offset INTEGER NOT NULL, PRIMARY KEY (digest, source)) WITHOUT ROWID"
        )
        db.execute(
            "CREATE TABLE staged (source INTEGER NOT NULL, ordinal INTEGER NOT NULL,"
            " PRIMARY KEY (source, ordinal)) WITHOUT ROWID"
        )

    steps.apply(Database(connection))
    connection.execute(f"PRAGMA user_version = {SCHEMA}")

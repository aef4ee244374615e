"""The cache may be lost, damaged or too new; it never holds anybody up, and never says what is not so."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from modelsyncd.digest import Digest, digest_of
from modelsyncd.errors import DiskError, DiskFullError
from modelsyncd.manifest import Chunk
from modelsyncd.store.cache import SCHEMA, Cache, Place

FIRST, SECOND = digest_of(b"first"), digest_of(b"second")


def chunks(*ordinals: int) -> list[Chunk]:
    return [Chunk(ordinal, digest_of(bytes([ordinal])), 10, ordinal // 4, ordinal % 4 * 10) for ordinal in ordinals]


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache.db")


def test_what_is_recorded_is_there_after_a_restart(cache: Cache, tmp_path: Path) -> None:
    cache.record(FIRST, chunks(1, 5))
    cache.record(SECOND, chunks(5))
    cache.close()
    again = Cache(tmp_path / "cache.db")
    assert again.recorded(FIRST) == {1, 5}
    assert again.recorded(SECOND) == {5}
    assert again.recorded(digest_of(b"other")) == frozenset()
    again.close()


def test_a_chunk_is_found_in_every_version_that_has_it(cache: Cache) -> None:
    cache.record(FIRST, chunks(1, 5))
    cache.settle(SECOND, chunks(5))
    five, none = digest_of(bytes([5])), digest_of(b"none")
    assert cache.places([five, none]) == {five: [Place(FIRST, 1, 10), Place(SECOND, 1, 10)]}


def test_a_settled_version_is_a_source_and_staged_no_more(cache: Cache) -> None:
    cache.record(FIRST, chunks(1, 2))
    assert cache.sources() == {FIRST: False}
    cache.settle(FIRST)
    assert cache.sources() == {FIRST: True}
    assert cache.recorded(FIRST) == frozenset()
    assert digest_of(bytes([1])) in cache.places([digest_of(bytes([1]))])


def test_what_is_forgotten_is_neither_durable_nor_a_seed(cache: Cache) -> None:
    cache.record(FIRST, chunks(1, 2))
    cache.forget(FIRST, chunks(2))
    assert cache.recorded(FIRST) == {1}
    assert cache.places([digest_of(bytes([2]))]) == {}


def test_a_misplaced_chunk_stays_where_others_have_it(cache: Cache) -> None:
    cache.record(FIRST, chunks(2))
    cache.record(SECOND, chunks(2))
    two = digest_of(bytes([2]))
    cache.misplaced(two, FIRST)
    assert cache.places([two]) == {two: [Place(SECOND, 0, 20)]}


def test_a_dropped_manifest_leaves_no_row(cache: Cache, tmp_path: Path) -> None:
    cache.record(FIRST, chunks(1, 2))
    cache.record(SECOND, chunks(2))
    cache.drop(FIRST)
    assert cache.sources() == {SECOND: False}
    with sqlite3.connect(tmp_path / "cache.db") as look:
        assert look.execute("SELECT (SELECT count(*) FROM chunk), (SELECT count(*) FROM staged)").fetchone() == (1, 1)
    look.close()


def test_it_is_used_from_many_threads_at_once(cache: Cache) -> None:
    def record(start: int) -> None:
        for ordinal in range(start, start + 25):
            cache.record(FIRST, chunks(ordinal))
            cache.recorded(FIRST)

    threads = [threading.Thread(target=record, args=(25 * number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.recorded(FIRST) == set(range(200))


def test_a_newer_cache_is_set_aside_and_begun_anew(cache: Cache, tmp_path: Path) -> None:
    cache.close()
    with sqlite3.connect(tmp_path / "cache.db") as newer:
        newer.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    newer.close()
    before = (tmp_path / "cache.db").read_bytes()
    again = Cache(tmp_path / "cache.db")
    assert again.sources() == {}
    again.close()
    assert (tmp_path / "cache.db.damaged").read_bytes() == before


@pytest.mark.parametrize(
    "rot",
    [
        "UPDATE source SET manifest = CAST(x'00ff' AS TEXT)",
        "UPDATE chunk SET file = x'00', offset = 'far'",
        "UPDATE staged SET ordinal = 'first' WHERE ordinal = 1",
    ],
)
def test_a_row_with_other_things_in_it_than_it_should_have_is_no_row(cache: Cache, tmp_path: Path, rot: str) -> None:
    cache.record(FIRST, chunks(1, 5))
    cache.close()
    with sqlite3.connect(tmp_path / "cache.db") as connection:
        connection.execute(rot)
    connection.close()
    again = Cache(tmp_path / "cache.db")
    assert all(len(manifest) == 32 for manifest in again.sources())
    assert all(isinstance(ordinal, int) for ordinal in again.recorded(FIRST))
    assert again.places([chunk.digest for chunk in chunks(1, 5)]) == {} or "staged" in rot
    again.close()


def test_a_table_that_is_gone_is_one_error_and_then_it_works(cache: Cache, tmp_path: Path) -> None:
    cache.close()
    with sqlite3.connect(tmp_path / "cache.db") as connection:
        connection.execute("DROP TABLE staged")
    connection.close()
    again = Cache(tmp_path / "cache.db")
    with pytest.raises(DiskError, match="was damaged"):
        again.record(FIRST, chunks(1, 5))
    again.record(FIRST, chunks(1, 5))
    assert again.recorded(FIRST)
    again.close()


@pytest.mark.parametrize("damage", ["no database", "header", "middle", "wal"])
def test_a_damaged_cache_is_set_aside_and_begun_anew(cache: Cache, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "cache.db"
    for start in range(0, 256, 16):
        cache.record(FIRST, [Chunk(one, digest_of(b"%d" % one), 1, 0, 0) for one in range(start * 8, start * 8 + 128)])
    cache.close()
    if damage == "no database":
        path.write_bytes(b"this is no database at all" * 100)
    elif damage == "wal":
        path.write_bytes(os.urandom(8_192))
        path.with_name("cache.db-wal").write_bytes(os.urandom(5_000))
    else:
        start = 0 if damage == "header" else 8_192
        with path.open("r+b") as file:
            file.seek(start)
            file.write(b"\xa5" * 20_000)
    again = Cache(path)
    assert again.sources() == {}
    assert not again.aligned
    assert (tmp_path / "cache.db.damaged").exists()
    again.record(FIRST, chunks(1))
    again.close()


def test_damage_found_while_in_use_is_one_error_and_then_it_works(cache: Cache, tmp_path: Path) -> None:
    for number in range(100):
        cache.record(
            FIRST, [Chunk(one, digest_of(b"%d" % one), 1, 0, 0) for one in range(number * 50, number * 50 + 50)]
        )
    cache.close()
    path = tmp_path / "cache.db"
    opened = Cache(path)
    opened.aligned = True
    opened._connection.execute("PRAGMA shrink_memory")  # what it read when it was opened
    with path.open("r+b") as file:
        file.seek(4_096)
        file.write(b"\xa5" * (path.stat().st_size - 4_096))
    with pytest.raises(DiskError) as caught:
        opened.places([digest_of(b"%d" % one) for one in range(5_000)])
    assert "begun anew" in caught.value.safe
    assert not opened.aligned
    opened.record(FIRST, chunks(3))
    assert opened.recorded(FIRST) == {3}
    opened.close()


def test_a_full_disk_is_said_as_one(cache: Cache) -> None:
    cache._connection.execute("PRAGMA max_page_count = 8")  # SQLite's own way to have no room
    with pytest.raises(DiskFullError) as caught:
        cache.record(FIRST, [Chunk(one, digest_of(b"%d" % one), 1, 0, 0) for one in range(2_000)])
    assert "stay stored" in caught.value.safe
    cache._connection.execute("PRAGMA max_page_count = 100000")
    assert cache.recorded(FIRST) == frozenset(), "nothing of a failed transaction is left"
    cache.record(FIRST, chunks(1))
    assert cache.recorded(FIRST) == {1}


def test_a_folder_in_its_place_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "cache.db.damaged").write_bytes(b"an older one")
    (tmp_path / "cache.db").mkdir()
    Cache(tmp_path / "cache.db").close()
    assert (tmp_path / "cache.db").is_file()
    assert (tmp_path / "cache.db.damaged").is_dir()


def test_a_place_that_can_not_be_used_is_a_disk_error(tmp_path: Path) -> None:
    (tmp_path / "cache.db").symlink_to("gone/cache.db")
    with pytest.raises(DiskError) as caught:
        Cache(tmp_path / "cache.db")
    assert "only a cache" in caught.value.hint


def test_the_library_for_migrations_is_loaded_when_one_is_needed_and_not_otherwise(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys; from modelsyncd.store.cache import Cache;"
        "Cache(pathlib.Path(sys.argv[1])).close(); print('sqlite_utils' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "cache.db")]
    first, second = (subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(2))
    assert (first, second) == ("True\n", "False\n")


def test_digests_come_back_as_they_went_in(cache: Cache) -> None:
    cache.record(FIRST, chunks(7))
    (source,) = cache.sources()
    assert source == Digest(FIRST)
    assert isinstance(source, bytes)


def _damaged() -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError("file is not a database")
    error.sqlite_errorcode = sqlite3.SQLITE_NOTADB
    return error


def test_a_cache_that_could_not_be_begun_anew_is_when_the_disk_lets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(tmp_path / "cache.db")
    cache.record(FIRST, chunks(1))

    def full() -> sqlite3.Connection:
        raise DiskFullError("no room")

    with monkeypatch.context() as patched:
        patched.setattr(cache, "_opened", full)
        with pytest.raises(DiskFullError):
            cache._translated(_damaged())
        with pytest.raises(DiskFullError):
            cache.record(SECOND, chunks(2))
    cache.record(SECOND, chunks(3))
    assert cache.recorded(SECOND) == {3}
    cache.close()

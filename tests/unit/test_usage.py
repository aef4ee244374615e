"""Room is what the file system gives back, and a version's last use is remembered where nothing can lose it."""

import os
from pathlib import Path

from modelsyncd.store.usage import COARSE, last_used, note_use, taken, written


def test_holes_take_no_room_and_data_takes_whole_blocks(tmp_path: Path) -> None:
    empty = taken(tmp_path)
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    assert taken(tmp_path) - empty < 1 << 20
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "data").write_bytes(os.urandom(100_000))
    os.sync()
    assert taken(tmp_path) - empty >= 100_000


def test_what_is_not_there_takes_nothing_and_was_never_used(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    assert taken(gone) == 0
    assert last_used(gone) == 0.0
    note_use(gone, 1e9)
    assert not gone.exists()


def test_a_use_is_remembered_and_uses_near_to_one_another_are_one(tmp_path: Path) -> None:
    note_use(tmp_path, 1e9)
    assert last_used(tmp_path) == 1e9
    note_use(tmp_path, 1e9 + COARSE / 2)
    assert last_used(tmp_path) == 1e9
    note_use(tmp_path, 1e9 + COARSE)
    assert last_used(tmp_path) == 1e9 + COARSE


def test_a_clock_that_was_wrong_does_not_keep_a_version_for_ever(tmp_path: Path) -> None:
    note_use(tmp_path, 4e9)
    note_use(tmp_path, 1e9)
    assert last_used(tmp_path) == 1e9


def test_what_is_written_is_counted(tmp_path: Path) -> None:
    before = written()
    with (tmp_path / "file").open("wb") as file:
        file.write(bytes(1 << 20))
        os.fsync(file.fileno())
    assert written() >= before

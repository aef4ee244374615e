"""Files of a version are opened below their folder, never through a link, and few at a time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelsyncd.errors import DiskError
from modelsyncd.store.folder import OPEN_FILES, Folder, clear_strangers, data_runs, folders_of


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_bytes(b"secret")
    return folder


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    folder = tmp_path / "inside"
    folder.mkdir()
    return folder


def test_a_link_to_a_file_is_not_followed(inside: Path, outside: Path) -> None:
    (inside / "link").symlink_to(outside / "secret")
    for folder in (Folder(inside), Folder(inside, writable=True)):
        with pytest.raises(DiskError):
            folder.descriptor("link")
    assert (outside / "secret").read_bytes() == b"secret"


def test_a_link_in_the_middle_of_a_path_is_not_followed(inside: Path, outside: Path) -> None:
    (inside / "link").symlink_to(outside)
    for folder in (Folder(inside), Folder(inside, writable=True)):
        with pytest.raises(DiskError):
            folder.read("link/secret", 0, 6)


def test_a_pipe_does_not_hold_anybody_up(inside: Path) -> None:
    os.mkfifo(inside / "pipe")
    with pytest.raises(DiskError):
        Folder(inside).descriptor("pipe")


def test_few_files_are_open_at_a_time(inside: Path) -> None:
    names = [f"file{number}" for number in range(3 * OPEN_FILES)]
    before = descriptors()
    folder = Folder(inside, writable=True)
    for name in names:
        os.pwrite(folder.descriptor(name), name.encode(), 0)
    assert descriptors() - before <= OPEN_FILES
    assert [folder.read(name, 0, 100) for name in names] == [name.encode() for name in names]
    folder.close()
    assert descriptors() == before


def test_an_object_that_is_dropped_closes_its_files(inside: Path) -> None:
    before = descriptors()
    Folder(inside, writable=True).descriptor("file")
    assert descriptors() == before


def test_reading_past_the_end_gives_what_there_is(inside: Path) -> None:
    (inside / "file").write_bytes(b"12345")
    assert Folder(inside).read("file", 3, 100) == b"45"


def test_holes_are_told_from_data(inside: Path) -> None:
    with (inside / "file").open("wb") as file:
        file.truncate(10 << 20)
        os.pwrite(file.fileno(), b"x" * 4_096, 1 << 20)
        os.pwrite(file.fileno(), b"x" * 4_096, 5 << 20)
        assert list(data_runs(file.fileno(), 10 << 20)) == [
            (1 << 20, (1 << 20) + 4_096),
            (5 << 20, (5 << 20) + 4_096),
        ]


def test_a_file_that_ends_with_a_hole_or_is_empty_has_its_runs(inside: Path) -> None:
    with (inside / "file").open("wb") as file:
        assert list(data_runs(file.fileno(), 0)) == []
        file.truncate(1 << 20)
        assert list(data_runs(file.fileno(), 1 << 20)) == []


def test_folders_come_outer_before_inner() -> None:
    assert folders_of(["a/b/c", "a/d", "e", "f/g"]) == ["a", "a/b", "f"]


def test_all_but_the_named_files_and_their_folders_is_removed(inside: Path, outside: Path) -> None:
    (inside / "keep").mkdir()
    (inside / "keep/file").write_bytes(b"x")
    (inside / "keep/stranger").write_bytes(b"x")
    (inside / "folder/deep").mkdir(parents=True)
    (inside / "link").symlink_to(outside)
    (inside / "wrong").mkdir()
    os.link(outside / "secret", inside / "second-name")
    clear_strangers(inside, ["keep/file", "wrong", "second-name", "link"])
    assert sorted(str(path.relative_to(inside)) for path in inside.rglob("*")) == ["keep", "keep/file"]
    assert (outside / "secret").read_bytes() == b"secret"

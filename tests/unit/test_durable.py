"""What store/durable promises: whole or as before, no OSError outside, one process to a folder."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from modelsyncd.errors import DiskError, DiskFullError, LockedError
from modelsyncd.store import durable


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_no_room_and_no_quota_are_one_error_with_a_hint(number: int) -> None:
    with pytest.raises(DiskFullError) as caught, durable.disk_errors(Path("/data")):
        raise OSError(number, os.strerror(number))
    assert "free some space" in caught.value.hint
    assert "/data" in caught.value.message
    assert caught.value.safe


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.EACCES, errno.EMFILE, errno.EFBIG])
def test_other_errors_of_the_disk_say_what_to_do(number: int) -> None:
    with pytest.raises(DiskError) as caught, durable.disk_errors(Path("/data")):
        raise OSError(number, os.strerror(number))
    assert not isinstance(caught.value, DiskFullError)
    assert caught.value.hint


def test_a_device_without_room_is_a_full_disk() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(DiskFullError), durable.disk_errors(Path("/dev/full")):
            durable.write_at(descriptor, b"x", 0)
    finally:
        os.close(descriptor)


def test_a_short_write_is_carried_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, offset: real(descriptor, bytes(data)[:3], offset))
    durable.write_file(tmp_path / "file", b"0123456789")
    assert (tmp_path / "file").read_bytes() == b"0123456789"


def test_a_file_is_replaced_whole_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    durable.write_file(path, b"old")
    durable.write_file(path, b"new", 0o600)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_a_file_that_can_not_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    durable.write_file(path, b"old")
    monkeypatch.setattr(os, "pwrite", _full)
    with pytest.raises(DiskFullError):
        durable.write_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["file"], "what was half written takes no room"


def _full(*_: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_leftover_does_not_stop_the_next_write_even_if_it_is_a_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"safe")
    (tmp_path / ".file.new").symlink_to(victim)
    durable.write_file(tmp_path / "file", b"new")
    assert victim.read_bytes() == b"safe"
    assert (tmp_path / "file").read_bytes() == b"new"


def test_a_link_is_switched_over_a_leftover(tmp_path: Path) -> None:
    link = tmp_path / "stable"
    durable.switch_link(link, "versions/1")
    (tmp_path / ".stable.new").write_bytes(b"")
    durable.switch_link(link, "versions/2")
    assert str(link.readlink()) == "versions/2"
    assert [one.name for one in tmp_path.iterdir()] == ["stable"]


def test_a_folder_in_place_of_a_link_is_an_error_and_stays(tmp_path: Path) -> None:
    (tmp_path / "stable").mkdir()
    with pytest.raises(DiskError):
        durable.switch_link(tmp_path / "stable", "versions/1")
    assert (tmp_path / "stable").is_dir()


def test_a_removed_folder_is_gone_under_its_name_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "version"
    folder.mkdir()
    (folder / "file").write_bytes(b"x")

    def die(_: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", die)
    with pytest.raises(KeyboardInterrupt):
        durable.remove_tree(folder)
    monkeypatch.undo()
    assert not folder.exists()
    durable.clear_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_removing_follows_no_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"safe")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to(outside)
    (tmp_path / "link").symlink_to(outside)
    durable.remove_tree(inside)
    durable.remove_tree(tmp_path / "link")
    assert (outside / "file").read_bytes() == b"safe"
    assert [one.name for one in tmp_path.iterdir()] == ["outside"]


def test_removing_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    durable.remove_tree(tmp_path / "none")
    durable.remove_file(tmp_path / "none")
    durable.erase(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


def test_only_its_own_temporary_names_are_leftovers(tmp_path: Path) -> None:
    for name in (".a.new", ".b.gone", "c.new", ".stable.previous", ".hidden"):
        (tmp_path / name).write_bytes(b"")
    durable.clear_leftovers(tmp_path)
    assert sorted(one.name for one in tmp_path.iterdir()) == [".hidden", ".stable.previous", "c.new"]


def test_folders_are_made_down_to_the_last_and_may_be_there(tmp_path: Path) -> None:
    durable.make_folder(tmp_path / "a/b/c")
    durable.make_folder(tmp_path / "a/b/c")
    assert (tmp_path / "a/b/c").is_dir()


def test_a_file_in_the_way_of_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(DiskError):
        durable.make_folder(tmp_path / "a/b")


def test_a_second_lock_names_the_process_that_has_the_first(tmp_path: Path) -> None:
    with durable.lock_folder(tmp_path / "data", "agent.lock"):
        with pytest.raises(LockedError) as caught:
            durable.lock_folder(tmp_path / "data", "agent.lock")
        assert str(os.getpid()) in caught.value.message
    durable.lock_folder(tmp_path / "data", "agent.lock").release()


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, sys; from modelsyncd.store import durable;"
        "durable.lock_folder(pathlib.Path(sys.argv[1]), 'agent.lock'); os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert ended.returncode == -9
    durable.lock_folder(tmp_path, "agent.lock").release()


def test_a_second_name_takes_the_place_of_what_had_it(tmp_path: Path) -> None:
    durable.write_file(tmp_path / "one", b"1", 0o444)
    durable.write_file(tmp_path / "other", b"2")
    for _ in range(2):  # the second time, both are one file already
        durable.put_link(tmp_path / "one", tmp_path / "other")
        assert (tmp_path / "other").samefile(tmp_path / "one")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "other"]


def test_a_copy_takes_the_place_of_what_had_its_name(tmp_path: Path) -> None:
    durable.write_file(tmp_path / "one", b"1", 0o444)
    durable.write_file(tmp_path / "other", b"2")
    for _ in range(2):
        durable.put_copy(tmp_path / "one", tmp_path / "other")
        assert (tmp_path / "other").read_bytes() == b"1"
        assert (tmp_path / "other").stat().st_mode & 0o777 == 0o444
        assert not (tmp_path / "other").samefile(tmp_path / "one")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "other"]


@pytest.mark.parametrize("put", [durable.put_link, durable.put_copy])
def test_what_can_not_be_put_in_place_leaves_what_was_there(tmp_path: Path, put: Callable[[Path, Path], None]) -> None:
    durable.write_file(tmp_path / "other", b"2")
    with pytest.raises(DiskError):
        put(tmp_path / "missing", tmp_path / "other")
    assert (tmp_path / "other").read_bytes() == b"2"
    assert [path.name for path in tmp_path.iterdir()] == ["other"]

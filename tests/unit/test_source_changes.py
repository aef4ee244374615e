"""Sources: what changes is noticed, while it is scanned and when it is read again."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from modelsyncd.errors import (
    DiskError,
    SourceChangedError,
)
from modelsyncd.store import source as source_module
from modelsyncd.store.source import scan
from tests.fakes.folders import SMALL, noise, put


def _rewrite(path: Path) -> None:
    path.write_bytes(noise(path.stat().st_size, 99))


def _append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def _truncate(path: Path) -> None:
    os.truncate(path, 10)


def _replace(path: Path) -> None:
    new = path.with_name("new")
    new.write_bytes(noise(path.stat().st_size, 99))
    new.rename(path)


def _to_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _to_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


CHANGES = [_rewrite, _append, _truncate, _replace, Path.unlink, _to_pipe, _to_link, _to_folder]


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_while_it_is_scanned_is_noticed(tmp_path: Path, change: Callable[[Path], None]) -> None:
    put(tmp_path, big=noise(9_000_000))
    changed: list[int] = []

    def progress(done: int, _total: int) -> None:
        if not changed:
            changed.append(done)
            change(tmp_path / "big")

    with pytest.raises(SourceChangedError) as refusal:
        scan(tmp_path, progress=progress)
    assert 0 < changed[0] < 9_000_000
    assert refusal.value.retryable
    assert refusal.value.hint


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_before_its_turn_is_noticed(tmp_path: Path, change: Callable[[Path], None]) -> None:
    put(tmp_path, a=b"first", b=noise(2_000))
    with pytest.raises(SourceChangedError, match="/b changed"):
        scan(tmp_path, progress=lambda done, _total: change(tmp_path / "b") if done == 5 else None)


@pytest.mark.parametrize("change", [_rewrite, _truncate, _replace, Path.unlink, _to_pipe, _to_link, _to_folder])
def test_a_file_that_changed_after_the_scan_is_noticed_when_it_is_read(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    source = scan(put(tmp_path, a=noise(2_000)))
    change(tmp_path / "a")
    with pytest.raises(SourceChangedError, match="/a changed"):
        source.read(0)


def test_another_file_that_is_there_only_while_it_is_opened_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, a=noise(2_000), b=noise(2_000, 2))
    opened = source_module._open
    monkeypatch.setattr(source_module, "_open", lambda place: opened(place.replace("/a", "/b")))
    with pytest.raises(SourceChangedError, match="/a changed"):
        scan(tmp_path / "a")


def test_a_link_that_took_a_files_place_is_not_followed_whatever_it_leads_to(tmp_path: Path) -> None:
    put(tmp_path, elsewhere=noise(2_000))
    source = scan(put(tmp_path / "model", a=noise(2_000)))
    (tmp_path / "model" / "a").unlink()
    (tmp_path / "model" / "a").symlink_to("../elsewhere")
    with pytest.raises(SourceChangedError):
        source.read(0)


def test_a_change_in_one_chunk_spoils_no_other(tmp_path: Path) -> None:
    source = scan(put(tmp_path, a=noise(50_000)), SMALL)
    last = source.manifest.chunk_count - 1
    with (tmp_path / "a").open("r+b") as file:
        file.seek(49_999)
        file.write(b"\0")
    with pytest.raises(SourceChangedError):
        source.read(last)
    assert source.read(0) == noise(50_000)[: source.manifest.files[0].chunk_sizes[0]]


def test_a_file_that_came_back_is_read_again(tmp_path: Path) -> None:
    source = scan(put(tmp_path, a=noise(2_000)))
    _replace(tmp_path / "a")
    with pytest.raises(SourceChangedError):
        source.read(0)
    put(tmp_path, a=noise(2_000))
    assert source.read(0) == noise(2_000)


def test_an_ordinal_that_is_not_in_the_manifest_is_our_own_mistake(tmp_path: Path) -> None:
    source = scan(put(tmp_path, a=b"x"))
    for ordinal in (-1, 1):
        with pytest.raises(IndexError):
            source.read(ordinal)


def test_a_disk_that_fails_is_the_disks_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise OSError(5, "Input/output error")

    put(tmp_path, a=b"x")
    monkeypatch.setattr(os, "preadv", fail)
    with pytest.raises(DiskError, match="Input/output error"):
        scan(tmp_path)

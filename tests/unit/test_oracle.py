"""The oracle itself: it must see every way in which a version can be wrong."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.installed import activate, install
from tests.fakes.oracle import whole_versions
from tests.fakes.publisher import publication, weights


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    version = install(tmp_path, publication({"model.bin": weights(1, 200_000), "deep/config.json": b"{}"}))
    activate(tmp_path, "acme/helmet@stable", version)
    return tmp_path / "models" / "acme" / "helmet" / "versions" / version.folder_name


def test_what_the_store_shows_is_whole(folder: Path, tmp_path: Path) -> None:
    assert whole_versions(tmp_path) == {"acme/helmet:1": folder}


def flip(folder: Path) -> None:
    data = bytearray((folder / "model.bin").read_bytes())
    data[150_000] ^= 1
    (folder / "model.bin").chmod(0o644)
    (folder / "model.bin").write_bytes(data)


def shorten(folder: Path) -> None:
    (folder / "model.bin").chmod(0o644)
    os.truncate(folder / "model.bin", 199_999)


def add(folder: Path) -> None:
    (folder / "stranger").write_bytes(b"")


def lose(folder: Path) -> None:
    (folder / "deep" / "config.json").unlink()


def unpaper(folder: Path) -> None:
    for path in (folder.parents[4] / "releases").iterdir():
        path.unlink()


def mislead(folder: Path) -> None:
    (folder.parents[1] / "canary").symlink_to("../../../staging")


def dangle(folder: Path) -> None:
    (folder.parents[1] / "canary").symlink_to("versions/9-0123456789ab")


@pytest.mark.parametrize("harm", [flip, shorten, add, lose, unpaper, mislead, dangle])
def test_the_oracle_sees_harm(folder: Path, tmp_path: Path, harm: Callable[[Path], None]) -> None:
    harm(folder)
    with pytest.raises(AssertionError):
        whole_versions(tmp_path)

"""A hub forgets a chunk only when it read it and it is wrong, or when its pack is gone from a place that is there."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cloud_hub.stores import Stores, open_stores
from modelsyncd.codec.registry import Codec
from modelsyncd.digest import Digest, digest_of, short
from modelsyncd.errors import DamageError, DiskError, ModelsyncError
from modelsyncd.store import packs
from modelsyncd.store.blobs import open_blobs
from modelsyncd.store.marked import MARK, MarkedBlobs
from modelsyncd.store.packs import PackWriter, Record
from tests.fakes.hub_store import spoil

CHUNKS = [bytes([number]) * 5_000 for number in range(6)]
NAMES = [digest_of(plain) for plain in CHUNKS]


@contextmanager
def hub(data: Path) -> Iterator[Stores]:
    stores = open_stores(data, "", "", 1_000.0)
    try:
        yield stores
    finally:
        stores.close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The folder of a hub that has some chunks in a pack, and does not run."""
    with hub(tmp_path / "hub") as stores:
        stores.stock.keep([Record(digest_of(plain), Codec.STORED, plain, len(plain)) for plain in CHUNKS])
    return tmp_path / "hub"


def known(stores: Stores) -> set[Digest]:
    return set(stores.catalog.chunks.places(NAMES))


def test_a_hub_whose_packs_are_not_mounted_does_not_start_and_says_what_to_do(data: Path) -> None:
    (data / "packs").rename(data / "elsewhere")
    for _ in range(2):  # what the first try made is no reason for the second to go on
        with pytest.raises(DiskError) as caught:
            open_stores(data, "", "", 1_000.0)
        assert str(data / "packs") in caught.value.message
        assert "mount it" in caught.value.hint
    (data / "packs").rmdir()
    (data / "elsewhere").rename(data / "packs")
    with hub(data) as stores:
        assert stores.stock.verify(NAMES) == (30_000, [])


def test_a_hub_is_told_that_its_packs_are_lost_for_good_and_starts(data: Path) -> None:
    for pack in (data / "packs").rglob("*.pack"):
        pack.unlink()
    (data / "packs" / MARK).unlink()
    with pytest.raises(DiskError):
        open_stores(data, "", "", 1_000.0)
    (data / "packs" / MARK).touch()
    with hub(data) as stores:
        assert stores.stock.verify(NAMES) == (0, NAMES)
        assert known(stores) == set()


def test_packs_without_a_mark_are_taken_for_what_they_are(data: Path) -> None:
    (data / "packs" / MARK).unlink()
    with hub(data) as stores:
        assert stores.stock.verify(NAMES) == (30_000, [])
    assert (data / "packs" / MARK).is_file()


def test_a_new_hub_marks_its_place(tmp_path: Path) -> None:
    with hub(tmp_path):
        assert [path.name for path in (tmp_path / "packs").iterdir()] == [MARK]


def test_packs_that_go_away_while_the_hub_runs_are_not_forgotten(data: Path) -> None:
    with hub(data) as stores:
        (data / "packs").rename(data / "elsewhere")
        for mounted_below in (False, True):
            if mounted_below:
                (data / "packs").mkdir()
            with pytest.raises(DiskError) as caught:
                stores.stock.verify(NAMES)
            assert MARK in caught.value.message
            with pytest.raises(DiskError):
                stores.stock.read(NAMES)
            assert known(stores) == set(NAMES)
        (data / "packs").rmdir()
        (data / "elsewhere").rename(data / "packs")
        assert stores.stock.verify(NAMES) == (30_000, [])


def test_a_data_folder_that_goes_away_is_no_damage(data: Path) -> None:
    with hub(data) as stores:
        (data / "spool").rename(data / "gone")
        (pack,) = (data / "packs").rglob("*.pack")
        pack.rename(data / "pack")
        with pytest.raises(DiskError):
            stores.stock.verify(NAMES)
        assert known(stores) == set(NAMES)
        (data / "gone").rename(data / "spool")


def test_a_sector_that_does_not_read_is_no_damage(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with hub(data) as stores:
        monkeypatch.setattr("modelsyncd.store.blobs.read_range", failing)
        for ask in (stores.stock.verify, stores.stock.read):
            with pytest.raises(DiskError) as caught:
                ask(NAMES)
            assert ".pack: Input/output error" in caught.value.message
        assert known(stores) == set(NAMES)


def test_a_pack_that_is_gone_from_a_place_that_is_there_is_forgotten(data: Path) -> None:
    with hub(data) as stores:
        (pack,) = (data / "packs").rglob("*.pack")
        pack.unlink()
        with pytest.raises(DamageError):
            stores.stock.read(NAMES)
        assert known(stores) == set()


def test_nothing_is_put_into_a_place_that_is_not_mounted(tmp_path: Path) -> None:
    place = MarkedBlobs(open_blobs((tmp_path / "packs").as_uri()), "the place")
    place.claim(tmp_path / "spool", expected=False)
    writer = PackWriter(tmp_path / "spool", place)
    (tmp_path / "packs").rename(tmp_path / "elsewhere")
    (tmp_path / "packs").mkdir()
    (put,) = writer.append([Record(NAMES[0], Codec.STORED, CHUNKS[0], 5_000)])
    with pytest.raises(DiskError):
        writer.seal()
    assert list((tmp_path / "packs").iterdir()) == []
    assert (tmp_path / "spool" / f"{put.pack}.pack").is_file()
    (tmp_path / "packs").rmdir()
    (tmp_path / "elsewhere").rename(tmp_path / "packs")
    writer.close()
    assert (tmp_path / "packs" / packs.pack_key(put.pack)).is_file()


def test_damage_that_a_read_finds_is_an_error_in_the_log_with_chunk_and_pack(
    data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with hub(data) as stores:
        spoil(stores.catalog, data, CHUNKS[2])
        pack = stores.catalog.chunks.places([NAMES[2]])[NAMES[2]].pack
        with pytest.raises(DamageError):
            stores.stock.read(NAMES)
        assert known(stores) == set(NAMES) - {NAMES[2]}
    (line,) = (record for record in caplog.records if record.getMessage() == "chunks.damaged")
    assert line.levelname == "ERROR"
    assert vars(line)["facts"] == {"pack": pack, "count": 1, "chunks": short(NAMES[2])}


@pytest.mark.parametrize("url", ["memory:///"])
def test_an_object_store_of_another_name_is_no_loss(data: Path, url: str) -> None:
    with pytest.raises(ModelsyncError) as caught:
        open_stores(data, "", url, 1_000.0)
    assert "correct `blobs`" in caught.value.hint

"""How codings are kept: found by every process, worth nothing when damaged, gone when they are too many."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud_hub import codings as room
from cloud_hub.catalog import Catalog
from cloud_hub.codings import Codings, Swept
from modelsyncd.codec.registry import Codec
from modelsyncd.digest import digest_of
from modelsyncd.store.blobs import FolderBlobs
from modelsyncd.store.packs import PackReader, PackWriter, Record, recover
from tests.fakes.packing import WatchedBlobs


class Place:
    """A hub's folder with codings in it, and a clock that stands still."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 1_000.0
        self.catalog = Catalog.open(f"sqlite:///{folder}/catalog.db")
        self.blobs = WatchedBlobs(FolderBlobs(folder / "codings"))

    def codings(self, process: str = "one", *, most: int = 1 << 30) -> Codings:
        spool = self.folder / f"spool-{process}"
        writer = PackWriter(spool, self.blobs, pack_bytes=1 << 20)
        reader = PackReader(spool, self.blobs)
        return Codings(self.catalog, writer, reader, self.blobs, self.folder, room=most, clock=lambda: self.now)

    def packs(self) -> list[Path]:
        return sorted((self.folder / "codings").rglob("*.pack"))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    opened = Place(tmp_path)
    yield opened
    opened.catalog.close()


def coding(number: int, size: int = 1_000) -> Record:
    return Record(digest_of(number.to_bytes(8, "big")), Codec.DELTA, bytes([number % 251]) * size, 4 * size)


def same(found: dict[bytes, Record] | object, *codings: Record) -> bool:
    assert isinstance(found, dict)
    return {key: (each.codec, bytes(each.payload), each.plain_size) for key, each in found.items()} == {
        each.digest: (each.codec, bytes(each.payload), each.plain_size) for each in codings
    }


def test_what_was_kept_is_found_before_and_after_it_was_laid_down_and_sealed(place: Place) -> None:
    codings = place.codings()
    one, two = coding(1), coding(2, room.GATHERED)
    codings.keep([one])
    assert same(codings.find([one.digest, two.digest]), one)
    codings.keep([two])  # enough to be laid down
    assert same(codings.find([one.digest, two.digest]), one, two)
    codings.close()
    assert same(codings.find([one.digest, two.digest]), one, two)
    assert same(place.codings("after a restart").find([one.digest, two.digest]), one, two)


def test_another_process_finds_what_is_sealed_and_sealing_is_a_matter_of_seconds(place: Place) -> None:
    here, there = place.codings("here"), place.codings("there")
    one = coding(1)
    here.keep([one])
    here.tidy()
    assert there.find([one.digest]) == {}
    place.now += room.OPEN_SECONDS
    here.tidy()
    assert same(there.find([one.digest]), one)


def test_no_row_leads_to_a_pack_that_is_open(place: Place) -> None:
    here, there = place.codings("here"), place.codings("there")
    sizes = [room.GATHERED // 2] * 9
    for number, size in enumerate(sizes):
        here.keep([coding(number, size)])
        assert set(place.catalog.codings.packs()) == {path.stem for path in place.packs()}
    keys = [coding(number).digest for number in range(9)]
    assert 0 < len(there.find(keys)) < len(here.find(keys)) == 9


def test_what_a_killed_process_laid_down_is_known_after_its_restart(place: Place) -> None:
    killed = place.codings("killed")
    one, lost = coding(1, room.GATHERED), coding(2)
    killed.keep([one])
    killed.keep([lost])  # only in memory
    assert place.catalog.codings.kept().codings == 0
    spool = place.folder / "spool-killed"
    again = place.codings("killed")
    again.adopt(recover(spool, place.blobs))
    assert same(again.find([one.digest, lost.digest]), one)
    assert list(spool.iterdir()) == []


def test_a_kill_between_a_sealed_pack_and_its_rows_loses_codings_and_the_sweep_finds_the_bytes(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = place.codings()
    monkeypatch.setattr(killed._rows, "add", lambda *_: None)  # as if the process ended there
    one = coding(1)
    killed.keep([one])
    killed.close()
    monkeypatch.undo()
    after = place.codings("after")
    assert after.find([one.digest]) == {}
    size = place.packs()[0].stat().st_size
    assert after.sweep() == Swept(1, size)
    assert place.packs() == []


@pytest.mark.parametrize("harm", ["turned bit", "cut", "gone"])
def test_a_damaged_coding_is_not_found_and_may_be_kept_again(place: Place, harm: str) -> None:
    codings = place.codings()
    one, two = coding(1), coding(2)
    codings.keep([one])
    codings.close()
    (pack,) = place.packs()
    match harm:
        case "turned bit":
            with pack.open("r+b") as file:
                file.seek(-5, os.SEEK_END)
                file.write(b"\xff")
        case "cut":
            os.truncate(pack, 100)
        case _:
            pack.unlink()
    assert codings.find([one.digest]) == {}
    codings.keep([one, two])
    codings.close()
    assert same(codings.find([one.digest, two.digest]), one, two)


def test_packs_of_no_use_for_longest_go_first_and_whole(place: Place) -> None:
    codings = place.codings(most=5_000)
    for number in range(4):
        codings.keep([coding(number, 2_000)])
        codings.close()  # one pack each
        place.now += 1
        if number == 1:
            codings.find([coding(0).digest])
            codings.tidy()
    found = codings.find([coding(number).digest for number in range(4)])
    assert set(found) == {coding(number).digest for number in (2, 3)}
    assert place.catalog.codings.kept().size <= 5_000
    assert len(place.packs()) == 2


def test_use_keeps_a_pack(place: Place) -> None:
    codings = place.codings(most=5_000)
    for number in range(3):
        place.now += 1
        codings.keep([coding(number, 2_000)])
        assert set(codings.find([coding(0).digest])) == {coding(0).digest}
        codings.close()
        place.now += 1
        codings.find([coding(0).digest])
        codings.tidy()
    assert set(codings.find([coding(number).digest for number in range(3)])) == {
        coding(number).digest for number in (0, 2)
    }


def test_room_for_none_keeps_none(place: Place) -> None:
    codings = place.codings(most=0)
    codings.keep([coding(1)])
    codings.close()
    assert codings.find([coding(1).digest]) == {}
    assert place.packs() == []


def test_a_sweep_of_a_hub_that_keeps_none_any_more_gives_everything_back(place: Place) -> None:
    codings = place.codings()
    codings.keep([coding(1)])
    codings.close()
    size = place.packs()[0].stat().st_size
    assert place.codings(most=0).sweep() == Swept(1, size)
    assert place.codings().sweep() == Swept(0, 0)
    assert place.packs() == []


def test_rows_without_a_pack_are_swept(place: Place) -> None:
    codings = place.codings()
    codings.keep([coding(1)])
    codings.close()
    place.packs()[0].unlink()
    codings.sweep()
    assert place.catalog.codings.kept().packs == 0


def test_a_store_that_is_away_fails_nobody_and_forgets_nothing(place: Place) -> None:
    codings = place.codings()
    one, two = coding(1), coding(2)
    codings.keep([one])
    codings.close()
    place.blobs.away = True
    codings.keep([two])
    codings.close()
    assert same(codings.find([one.digest, two.digest]), one, two)
    place.blobs.away = False
    codings.close()
    assert same(place.codings("there").find([two.digest]), two)


def test_a_disk_that_is_nearly_full_gets_no_codings(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, room.SPARE - 1))
    codings = place.codings()
    codings.keep([coding(1)])
    codings.close()
    assert codings.find([coding(1).digest]) == {}
    assert place.packs() == []

"""Chunks go into packs and come out as they were, or with an error that says so."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from modelsyncd.codec.registry import Codec
from modelsyncd.errors import DamageError, DiskError, DiskFullError, NewerFormatError, RoadError
from modelsyncd.store.blobs import FolderBlobs
from modelsyncd.store.packs import (
    GAP_BYTES,
    RUN_BYTES,
    PackReader,
    PackWriter,
    Place,
    pack_key,
    recover,
    scan_blob,
    scan_pack,
)
from modelsyncd.store.records import HEADER_SIZE, PACK_MARK
from tests.fakes.packing import WatchedBlobs, record


class Shop:
    def __init__(self, folder: Path, pack_bytes: int = 1_000) -> None:
        self.spool = folder / "spool"
        self.blobs = WatchedBlobs(FolderBlobs(folder / "packs"))
        self.writer = PackWriter(self.spool, self.blobs, pack_bytes=pack_bytes)
        self.reader = PackReader(self.spool, self.blobs)

    def spooled(self) -> list[Path]:
        return sorted(self.spool.iterdir())

    def sealed(self) -> list[str]:
        return sorted(blob.key for blob in self.blobs.list())


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_place_means_the_same_bytes_before_and_after_its_pack_is_sealed(shop: Shop) -> None:
    batch = [record(seed) for seed in range(5)]
    places = shop.writer.append(batch)
    for _ in range(2):
        assert [bytes(found) for found in shop.reader.read_all(places)] == [each.payload for each in batch]
        shop.writer.seal()
    assert shop.spooled() == []
    assert shop.sealed() == [pack_key(places[0].pack)]


def test_places_say_all_that_an_index_needs(shop: Shop) -> None:
    one = record(1)
    (place,) = shop.writer.append([one])
    assert (place.digest, place.codec, place.plain_size, place.length) == (one.digest, one.codec, 100, 100)
    assert place.offset == len(PACK_MARK) + HEADER_SIZE


def test_the_next_batch_after_a_full_pack_begins_a_new_one(shop: Shop) -> None:
    packs = [shop.writer.append([record(seed, 600)])[0].pack for seed in range(4)]
    assert packs[0] == packs[1] != packs[2] == packs[3]
    assert shop.sealed() == [pack_key(packs[0])]
    assert [path.stem for path in shop.spooled()] == [packs[2]]


def test_what_was_reserved_and_not_used_is_given_back(shop: Shop) -> None:
    (place,) = shop.writer.append([record(1)])
    shop.writer.seal()
    assert shop.blobs.size(pack_key(place.pack)) == place.offset + place.length


def test_nothing_is_made_for_an_empty_batch(shop: Shop) -> None:
    assert shop.writer.append([]) == []
    shop.writer.seal()
    shop.writer.close()
    assert shop.spooled() == []
    assert shop.sealed() == []


def test_neighbours_are_read_at_once_and_answers_keep_the_order_asked_for(tmp_path: Path) -> None:
    shop = Shop(tmp_path, 64 << 20)
    batch = [record(seed, 1_000) for seed in range(8)]
    places = shop.writer.append(batch)
    shop.writer.seal()
    order = [5, 0, 7, 0, 3, 1]
    assert [bytes(found) for found in shop.reader.read_all([places[index] for index in order])] == [
        batch[index].payload for index in order
    ]
    assert len(shop.blobs.reads) == 1


def test_far_places_and_long_runs_are_read_on_their_own(tmp_path: Path) -> None:
    shop = Shop(tmp_path, 64 << 20)
    first, _, third = shop.writer.append([record(1), record(2, GAP_BYTES), record(3)])
    many = shop.writer.append([record(seed, 1 << 20) for seed in range(8)])
    shop.writer.seal()
    shop.reader.read_all([first, third])
    assert len(shop.blobs.reads) == 2
    shop.blobs.reads.clear()
    shop.reader.read_all(many)
    assert len(shop.blobs.reads) == 3
    assert all(length <= RUN_BYTES for _, _, length in shop.blobs.reads)


def test_chunks_of_several_packs_come_back_in_one_call(shop: Shop) -> None:
    batch = [record(seed, 600) for seed in range(6)]
    places = [shop.writer.append([each])[0] for each in batch]
    assert len({place.pack for place in places}) == 3
    assert [bytes(found) for found in shop.reader.read_all(places[::-1])] == [each.payload for each in batch[::-1]]


def test_each_flipped_byte_of_a_chunk_is_damage(shop: Shop) -> None:
    (place,) = shop.writer.append([record(1, 64)])
    (path,) = shop.spooled()
    for at in range(place.offset, place.offset + place.length):
        flip(path, at)
        with pytest.raises(DamageError, match="damaged"):
            shop.reader.read(place)
        flip(path, at)
    assert shop.reader.read(place) == record(1, 64).payload


def test_a_pack_that_is_gone_or_cut_short_is_damage(shop: Shop, tmp_path: Path) -> None:
    places = shop.writer.append([record(1), record(2)])
    shop.writer.seal()
    path = tmp_path / "packs" / pack_key(places[0].pack)
    os.truncate(path, places[1].offset + 10)
    assert shop.reader.read(places[0]) == record(1).payload
    with pytest.raises(DamageError):
        shop.reader.read(places[1])
    path.unlink()
    with pytest.raises(DamageError, match="gone"):
        shop.reader.read(places[0])


class Disk:
    """os.pread of a disk with bad sectors: from `first` to `last` nothing can be read, `refusals` times."""

    def __init__(self, first: int, last: int, refusals: int = 1 << 30) -> None:
        self.bad = range(first, last)
        self.left = refusals

    def pread(self, descriptor: int, length: int, offset: int) -> bytes:
        if self.left and max(self.bad.start, offset) < min(self.bad.stop, offset + length):
            self.left -= 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(descriptor, length, offset)


pread = os.pread


@pytest.mark.parametrize("sealed", [False, True])
def test_what_a_bad_sector_holds_is_damage_and_its_neighbours_are_read(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, sealed: bool
) -> None:
    first, second, third = shop.writer.append([record(1), record(2), record(3)])
    if sealed:
        shop.writer.seal()
    monkeypatch.setattr(os, "pread", Disk(second.offset, second.offset + 1).pread)
    with pytest.raises(DamageError, match="does not give"):
        shop.reader.read(second)
    assert [bytes(shop.reader.read(place)) for place in (first, third)] == [record(1).payload, record(3).payload]


def test_a_sector_that_is_read_at_the_second_try_is_no_damage(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    (place,) = shop.writer.append([record(1)])
    monkeypatch.setattr(os, "pread", Disk(place.offset, place.offset + 1, refusals=1).pread)
    assert bytes(shop.reader.read(place)) == record(1).payload


def test_a_disk_that_gives_nothing_says_nothing_about_a_chunk(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    (place,) = shop.writer.append([record(1)])
    monkeypatch.setattr(os, "pread", Disk(0, 1 << 40).pread)
    with pytest.raises(DiskError):
        shop.reader.read(place)


def test_the_index_can_be_made_anew_from_packs(shop: Shop) -> None:
    places = [shop.writer.append([record(seed, 600)])[0] for seed in range(7)]
    shop.writer.seal()
    found = [place for pack in {place.pack for place in places} for place in scan_blob(shop.blobs, pack).places]
    assert set(found) == set(places)


def test_a_scan_steps_over_a_damaged_chunk_and_believes_nothing_after_a_damaged_header(shop: Shop) -> None:
    places = shop.writer.append([record(seed) for seed in range(4)])
    (path,) = shop.spooled()
    flip(path, places[1].offset)
    assert scan_pack(path).places == (places[0], places[2], places[3])
    for at in range(places[2].offset - HEADER_SIZE, places[2].offset):
        flip(path, at)
        assert scan_pack(path).places == (places[0],)
        flip(path, at)


def test_a_chunk_that_looks_like_records_is_never_taken_for_one(shop: Shop) -> None:
    shop.writer.append([record(1), record(2)])
    (path,) = shop.spooled()
    lure = path.read_bytes()[len(PACK_MARK) :]
    (place,) = shop.writer.append([type(record(1))(record(9).digest, record(9).codec, lure, len(lure))])
    flip(path, place.offset - 1)
    assert len(scan_pack(path).places) == 2


def test_a_pack_of_a_newer_hub_is_refused_and_left_alone(shop: Shop) -> None:
    path = shop.spool / "aa.pack"
    path.write_bytes(PACK_MARK[:-1] + b"\x02" + b"unknown")
    with pytest.raises(NewerFormatError):
        recover(shop.spool, shop.blobs)
    assert path.read_bytes().endswith(b"unknown")


def test_what_a_killed_process_left_is_sealed_without_its_torn_end(shop: Shop) -> None:
    batch = [record(seed) for seed in range(3)]
    places = shop.writer.append(batch)
    (path,) = shop.spooled()
    os.truncate(path, places[2].offset + 50)
    assert recover(shop.spool, shop.blobs) == places[:2]
    assert shop.spooled() == []
    assert shop.blobs.size(pack_key(places[0].pack)) == places[1].offset + places[1].length
    assert [bytes(found) for found in shop.reader.read_all(places[:2])] == [each.payload for each in batch[:2]]
    assert recover(shop.spool, shop.blobs) == []


@pytest.mark.parametrize("at", [3, len(PACK_MARK) - 1, len(PACK_MARK) + 5])
def test_a_turned_bit_before_what_was_acknowledged_takes_nothing_of_it(shop: Shop, at: int) -> None:
    batch = [record(seed) for seed in range(3)]
    places = shop.writer.append(batch)
    (path,) = shop.spooled()
    flip(path, at)
    recover(shop.spool, shop.blobs, lambda _: places[2].offset + places[2].length)
    assert shop.spooled() == []
    assert [bytes(found) for found in shop.reader.read_all(places)] == [each.payload for each in batch]


@pytest.mark.parametrize("what", ["digest", "codec", "plain_size"])
def test_an_index_that_says_other_things_than_the_header_is_not_believed(shop: Shop, what: str) -> None:
    (place,) = shop.writer.append([record(1)])
    other = {"digest": record(2).digest, "codec": Codec.PLANES, "plain_size": place.plain_size ^ 1}
    with pytest.raises(DamageError):
        shop.reader.read(replace(place, **{what: other[what]}))  # type: ignore[arg-type]


def test_a_header_that_rotted_by_itself_keeps_nobody_from_its_chunk(shop: Shop) -> None:
    (place,) = shop.writer.append([record(1)])
    (path,) = shop.spooled()
    flip(path, place.offset - 20)
    assert bytes(shop.reader.read(place)) == record(1).payload


@pytest.mark.parametrize("left", [b"", PACK_MARK[:7], PACK_MARK, bytes(500), PACK_MARK + bytes(500)])
def test_a_pack_without_one_whole_record_is_removed(shop: Shop, left: bytes) -> None:
    (shop.spool / "aa.pack").write_bytes(left)
    assert recover(shop.spool, shop.blobs) == []
    assert shop.spooled() == []
    assert shop.sealed() == []


def test_while_the_blob_store_is_away_nothing_is_lost_and_the_spool_does_not_grow(shop: Shop) -> None:
    places = [shop.writer.append([record(seed, 600)])[0] for seed in range(2)]
    shop.blobs.away = True
    for _ in range(3):
        with pytest.raises(RoadError):
            shop.writer.append([record(3, 600)])
    assert len(shop.spooled()) == 1
    assert [bytes(found) for found in shop.reader.read_all(places)] == [record(0, 600).payload, record(1, 600).payload]
    shop.blobs.away = False
    places += shop.writer.append([record(3, 600)])
    assert places[2].pack != places[0].pack
    assert [place.pack for place in places] == [places[0].pack] * 2 + [shop.spooled()[0].stem]


def test_a_seal_that_failed_is_done_by_the_next_call(shop: Shop) -> None:
    (place,) = shop.writer.append([record(1)])
    shop.blobs.away = True
    with pytest.raises(RoadError):
        shop.writer.seal()
    assert shop.reader.read(place) == record(1).payload
    shop.blobs.away = False
    (other,) = shop.writer.append([record(2)])
    assert other.pack != place.pack
    assert shop.sealed() == [pack_key(place.pack)]
    assert shop.reader.read(place) == record(1).payload


@pytest.mark.parametrize(("number", "error"), [(errno.EIO, DiskError), (errno.ENOSPC, DiskFullError)])
def test_after_a_failed_sync_that_pack_is_never_written_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, number: int, error: type[DiskError]
) -> None:
    (kept,) = shop.writer.append([record(1)])

    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", fail)
        with pytest.raises(error):
            shop.writer.append([record(2)])
    (again,) = shop.writer.append([record(2)])
    assert again.pack != kept.pack
    assert scan_blob(shop.blobs, kept.pack).places == (kept,)
    assert [bytes(found) for found in shop.reader.read_all([kept, again])] == [record(1).payload, record(2).payload]


def test_a_write_that_stops_half_way_is_finished(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.pwritev

    def half(descriptor: int, buffers: list[bytes], offset: int) -> int:
        return whole(descriptor, [b"".join(buffers)[:333]], offset)

    monkeypatch.setattr(os, "pwritev", half)
    batch = [record(seed, 200) for seed in range(6)]
    places = shop.writer.append(batch)
    assert [bytes(found) for found in shop.reader.read_all(places)] == [each.payload for each in batch]


def test_a_batch_may_have_more_chunks_than_one_call_of_the_kernel_takes(shop: Shop) -> None:
    batch = [record(seed, 3) for seed in range(1_500)]
    places = shop.writer.append(batch)
    assert [bytes(found) for found in shop.reader.read_all(places)] == [each.payload for each in batch]


def test_many_threads_may_append_seal_and_read_at_once(tmp_path: Path) -> None:
    shop = Shop(tmp_path, 5_000)

    def work(worker: int) -> list[Place]:
        places: list[Place] = []
        for turn in range(12):
            batch = [record(worker * 1_000 + turn * 10 + each, 300) for each in range(4)]
            places += shop.writer.append(batch)
            assert [bytes(found) for found in shop.reader.read_all(places[-4:])] == [each.payload for each in batch]
        return places

    with ThreadPoolExecutor(6) as threads:
        places = [place for found in threads.map(work, range(6)) for place in found]
    shop.writer.close()
    assert len(set(places)) == 6 * 12 * 4
    assert len(shop.reader.read_all(places)) == len(places)

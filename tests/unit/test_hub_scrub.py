"""What rests at the hub is read back in the background; what is wrong is forgotten, and a push brings it back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cloud_hub.app import Settings
from cloud_hub.scrub import BATCH, FILE, SAVED, Scrub
from modelsyncd.codec.registry import Codec
from modelsyncd.digest import Buffer, digest_of
from modelsyncd.errors import BadInputError, DamageError, DiskError
from modelsyncd.store.packs import PackReader, Place, Record
from modelsyncd.store.reread import FLOOR, ROUND, Mark, MarkFile
from tests.fakes.hub_store import HubStore, hub_store
from tests.fakes.publisher import weights

CHUNK = 10_000
CHUNKS = [weights(seed, CHUNK) for seed in range(10)]
NAMES = [digest_of(chunk) for chunk in CHUNKS]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubStore]:
    hub = hub_store(tmp_path)
    hub.stock.keep([Record(name, Codec.STORED, chunk, CHUNK) for name, chunk in zip(NAMES, CHUNKS, strict=True)])
    hub.writer.seal()
    yield hub
    hub.close()


class Clock:
    """Moved by sleeps alone."""

    def __init__(self) -> None:
        self.now = 1e9
        self.slept: list[float] = []
        self.moved = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        self.moved.set()
        await asyncio.sleep(0)

    async def run(self, scrub: Scrub, until: Callable[[], object]) -> None:
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            task = group.create_task(scrub.run())
            while not until():
                self.moved.clear()
                await self.moved.wait()
            task.cancel()


def scrub_of(hub: HubStore, clock: Clock, rate: int | None = None) -> Scrub:
    return Scrub(
        hub.catalog,
        hub.stock,
        hub.folder,
        rate=rate,
        packs=hub.folder / "packs",
        wall=lambda: clock.now,
        sleep=clock.sleep,
    )


def mark_of(hub: HubStore) -> Mark | None:
    return MarkFile(hub.folder / FILE).load()


def is_over(hub: HubStore) -> bool:
    mark = mark_of(hub)
    return mark is not None and mark.over


def spoil(hub: HubStore, which: int) -> None:
    (place,) = hub.catalog.chunks.places([NAMES[which]]).values()
    (pack,) = hub.pack_files()
    with pack.open("r+b") as file:
        file.seek(place.offset + 17)
        byte = file.read(1)
        file.seek(place.offset + 17)
        file.write(bytes([byte[0] ^ 2]))


async def test_a_damaged_chunk_is_forgotten_and_the_same_push_brings_it_back(hub: HubStore) -> None:
    spoil(hub, 4)
    clock = Clock()
    await clock.run(scrub_of(hub, clock), lambda: is_over(hub))
    assert hub.catalog.chunks.missing(NAMES) == [NAMES[4]]
    with pytest.raises(DamageError):
        hub.stock.read([NAMES[4]])
    hub.stock.keep([Record(name, Codec.STORED, chunk, CHUNK) for name, chunk in zip(NAMES, CHUNKS, strict=True)])
    assert hub.stock.verify(NAMES) == (10 * CHUNK, [])


async def test_bytes_that_were_written_wrongly_are_found_though_their_checksum_is_right(hub: HubStore) -> None:
    wrong = digest_of(b"what should be there")
    hub.stock.keep([Record(wrong, Codec.STORED, b"what is there", 13)])
    clock = Clock()
    await clock.run(scrub_of(hub, clock), lambda: is_over(hub))
    assert hub.catalog.chunks.missing([wrong]) == [wrong]
    assert not hub.catalog.chunks.missing(NAMES)


async def test_it_reads_no_faster_than_it_may_and_goes_on_where_it_stood(hub: HubStore) -> None:
    clock = Clock()
    rate = int(BATCH * CHUNK / SAVED)  # the mark is saved after each batch
    await clock.run(scrub_of(hub, clock, rate), lambda: mark_of(hub))
    assert mark_of(hub) == Mark(1e9, sorted(NAMES)[BATCH - 1].hex())
    await clock.run(scrub_of(hub, clock, rate), lambda: is_over(hub))
    again = BATCH  # what was read after the mark was saved is read once more
    assert sum(one for one in clock.slept if one < ROUND / 2) == pytest.approx((10 + again) * CHUNK / rate)


async def test_a_store_that_is_away_is_not_taken_for_a_damaged_one(
    hub: HubStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (hub.folder / "spool").rename(hub.folder / "away")
    for pack in hub.pack_files():
        pack.unlink()
    clock = Clock()
    await clock.run(scrub_of(hub, clock), lambda: clock.slept)
    assert clock.slept[0] > FLOOR / 1_000_000
    assert not hub.catalog.chunks.missing(NAMES)


async def test_a_bad_sector_is_told_of_and_the_round_goes_on_behind_it(
    hub: HubStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first, *_, last = sorted(range(10), key=lambda number: NAMES[number])
    spoil(hub, last)
    read = PackReader.read

    def sectors(reader: PackReader, place: Place) -> Buffer:
        if place.digest == NAMES[first]:
            raise DiskError("input/output error")
        return read(reader, place)

    monkeypatch.setattr(PackReader, "read", sectors)
    clock = Clock()
    await clock.run(scrub_of(hub, clock), lambda: is_over(hub))
    assert hub.catalog.chunks.missing(NAMES) == [NAMES[last]]
    assert [record.getMessage() for record in caplog.records].count("scrub.unreadable") == 1


async def test_a_rate_of_nothing_reads_nothing(hub: HubStore) -> None:
    await asyncio.wait_for(scrub_of(hub, Clock(), 0).run(), 5)
    assert mark_of(hub) is None


@pytest.mark.parametrize(
    ("blobs", "asked", "rate"),
    [
        ("", None, None),
        ("file:///srv/packs", None, None),
        ("s3://bucket/packs", None, 0),
        ("s3://bucket/packs", "2MB", 2_000_000),
        ("", 0, 0),
    ],
)
def test_packs_that_are_billed_by_the_read_are_read_back_only_when_asked_for(
    tmp_path: Path, blobs: str, asked: int | str | None, rate: int | None
) -> None:
    assert Settings(tmp_path, blobs=blobs, scrub_rate=asked).scrub_bytes == rate


def test_a_rate_below_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError):
        Settings(tmp_path, scrub_rate=-1)

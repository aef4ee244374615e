"""Packs under any interleaving of appends, seals and crashes that tear what was not yet acknowledged."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from modelsyncd.digest import digest_of
from modelsyncd.store.blobs import FolderBlobs
from modelsyncd.store.packs import PackReader, PackWriter, Place, Record, recover
from tests.fakes.packing import record

SECTOR = 64  # bytes; 512 on a disk, smaller here so that small records have several
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(st.integers(1, 300), min_size=1, max_size=5)),
        st.tuples(st.just("seal"), st.just([])),
        st.tuples(st.just("crash"), st.lists(st.integers(1, 300), max_size=5)),
    ),
    max_size=25,
)


class Hub:
    """Packs of one hub that is killed now and then."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.spool = folder / "spool"
        self.blobs = FolderBlobs(folder / "packs")
        self.acknowledged: dict[Place, bytes] = {}
        self.start()

    def start(self) -> None:
        for place in recover(self.spool, self.blobs):
            found = PackReader(self.spool, self.blobs).read(place)
            assert digest_of(found) == place.digest, "a recovered place has other bytes than its digest says"
        self.writer = PackWriter(self.spool, self.blobs, pack_bytes=1_000)
        self.check()

    def batch(self, sizes: list[int]) -> list[Record]:
        return [record(self.rng.getrandbits(64), size) for size in sizes]

    def append(self, sizes: list[int]) -> None:
        batch = self.batch(sizes)
        places = self.writer.append(batch)
        self.acknowledged.update(zip(places, (bytes(each.payload) for each in batch), strict=True))

    def crash(self, sizes: list[int]) -> None:
        """Dies while these are written: any of their sectors may be on disk or not, and the file may end anywhere."""
        pack = self.writer._pack
        before = (pack.name, pack.end) if pack is not None else None
        places = self.writer.append(self.batch(sizes))
        pack = self.writer._pack
        assert pack is not None or not sizes
        if pack is not None:
            pack.close()
            start = before[1] if before is not None and before[0] == pack.name else 0
            self.tear(pack.path, start if places else pack.end)
        self.start()

    def tear(self, path: Path, start: int) -> None:
        data = bytearray(path.read_bytes())
        for at in range(start, len(data), SECTOR):
            fate = self.rng.random()
            if fate < 0.3:
                data[at : at + SECTOR] = bytes(len(data[at : at + SECTOR]))
            elif fate < 0.4:
                data[at : at + SECTOR] = self.rng.randbytes(len(data[at : at + SECTOR]))
        cut = self.rng.randint(start, len(data))
        path.write_bytes(data[:cut] if self.rng.random() < 0.5 else data + bytes(200))

    def check(self) -> None:
        places = list(self.acknowledged)
        found = PackReader(self.spool, self.blobs).read_all(places)
        assert [bytes(each) for each in found] == list(self.acknowledged.values())


@given(STEPS, st.integers(0, 2**32))
def test_no_crash_loses_what_was_acknowledged_or_makes_a_place_lie(
    steps: list[tuple[str, list[int]]], seed: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        hub = Hub(Path(folder), seed)
        for step, sizes in steps:
            if step == "append":
                hub.append(sizes)
            elif step == "seal":
                hub.writer.seal()
            else:
                hub.crash(sizes)
        hub.check()
        hub.writer.close()
        hub.check()

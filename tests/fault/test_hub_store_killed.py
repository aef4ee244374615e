"""A hub's stores are killed in the middle of their work; what was acknowledged is there, and nothing dangles."""

from __future__ import annotations

import signal
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from cloud_hub.catalog import Catalog
from modelsyncd.digest import digest_of
from modelsyncd.store.blobs import FolderBlobs
from modelsyncd.store.packs import PackReader, recover
from tests.fakes.releases import HELMET

WRITER = """
import random, sys
from pathlib import Path
from cloud_hub.catalog import Catalog
from modelsyncd.store.blobs import FolderBlobs
from modelsyncd.store.packs import PackWriter, recover
from tests.fakes.packing import record
from tests.fakes.releases import HELMET, made

folder = Path(sys.argv[1])
blobs = FolderBlobs(folder / "packs")
with Catalog.open(f"sqlite:///{folder}/catalog.db") as catalog:
    catalog.chunks.add(recover(folder / "spool", blobs))
    writer = PackWriter(folder / "spool", blobs, pack_bytes=20_000)
    while True:
        number = catalog.models.next_number(HELMET)
        batch = [record(number * 100 + each, 700) for each in range(8)]
        catalog.chunks.add(writer.append(batch))
        what = made(number, f"content {number}")
        catalog.models.commit(what.signed, what.release, what.digest, channel="stable", who="admin/ann", now=1.0)
        print(number, batch[0].digest.hex(), batch[-1].digest.hex(), flush=True)
"""


@pytest.mark.slow
def test_a_killed_hub_loses_nothing_that_it_acknowledged_and_goes_on(tmp_path: Path) -> None:
    acknowledged: list[tuple[int, bytes, bytes]] = []
    for wanted in (1, 7, 2, 12, 5):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        with process.stdout:
            for line in islice(process.stdout, wanted):
                number, first, last = line.split()
                acknowledged.append((int(number), bytes.fromhex(first), bytes.fromhex(last)))
            process.send_signal(signal.SIGKILL)
        process.wait(10)
        check(tmp_path, acknowledged)


def check(folder: Path, acknowledged: list[tuple[int, bytes, bytes]]) -> None:
    blobs = FolderBlobs(folder / "packs")
    with Catalog.open(f"sqlite:///{folder}/catalog.db") as catalog:
        numbers = [row.number for row in catalog.models.history(HELMET).releases]
        assert numbers == list(range(len(numbers), 0, -1))
        assert {number for number, _, _ in acknowledged} <= set(numbers)
        known = catalog.chunks.page(None, 1_000_000)
        assert {digest for _, *digests in acknowledged for digest in digests} <= {place.digest for place in known}
        reader = PackReader(folder / "spool", blobs)
        assert all(
            digest_of(payload) == place.digest for place, payload in zip(known, reader.read_all(known), strict=True)
        )
        catalog.chunks.add(recover(folder / "spool", blobs))
        assert [bytes(found) for found in reader.read_all(known)]

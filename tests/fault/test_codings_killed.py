"""A hub is killed while it keeps codings: what it has rows for can be read, and the rest is found or made again."""

from __future__ import annotations

import signal
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from cloud_hub.stores import open_stores
from modelsyncd.digest import Digest, digest_of

KEEPER = """
import sys, time
from pathlib import Path
from cloud_hub import codings
from cloud_hub.stores import open_stores
from modelsyncd.codec.registry import Codec
from modelsyncd.digest import digest_of
from modelsyncd.store.packs import Record

codings.GATHERED, codings.OPEN_SECONDS = 3_000, 0.0
stores = open_stores(Path(sys.argv[1]), "", "", time.time(), codings_bytes=int(sys.argv[3]))
number = int(sys.argv[2])
while True:
    payloads = [f"coding {number} {each}".encode() * 50 for each in range(8)]
    stores.codings.keep([Record(digest_of(each), Codec.DELTA, each, 9_000) for each in payloads])
    if number % 3 == 0:
        stores.codings.tidy()
        print(number, flush=True)
    number += 1
"""


@pytest.mark.slow
@pytest.mark.parametrize("room", [1 << 30, 60_000], ids=["room for all", "room for a few"])
def test_a_killed_hub_has_no_row_for_a_coding_that_it_can_not_read(tmp_path: Path, room: int) -> None:
    sealed: list[int] = []
    for round_, wanted in enumerate((1, 6, 2, 9)):
        command = [sys.executable, "-c", KEEPER, str(tmp_path), str(round_ * 1_000), str(room)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            sealed += map(int, islice(process.stdout, wanted))
            process.send_signal(signal.SIGKILL)
        _check(tmp_path, sealed if room > 60_000 else [], room)


def _keys(number: int) -> list[Digest]:
    return [digest_of(f"coding {number} {each}".encode() * 50) for each in range(8)]


def _check(folder: Path, sealed: list[int], room: int) -> None:
    stores = open_stores(folder, "", "", 2_000_000_000.0, codings_bytes=room)
    try:
        for number in sealed:
            assert len(stores.codings.find(_keys(number))) == 8
        known = stores.catalog.codings.kept().codings
        everything = [key for round_ in range(4) for number in range(200) for key in _keys(round_ * 1_000 + number)]
        found = stores.codings.find(everything)
        assert all(digest_of(coding.payload) == key for key, coding in found.items())
        assert len(found) == known > 0
        assert stores.catalog.codings.kept().codings == known  # none was forgotten because it could not be read
    finally:
        stores.close()

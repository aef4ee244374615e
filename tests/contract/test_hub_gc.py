"""`modelsync-hub gc` as a person types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cloud_hub.stores import LOCK
from modelsyncd.codec.registry import Codec
from modelsyncd.digest import digest_of
from modelsyncd.session.frames import Part
from modelsyncd.store.durable import lock_folder
from modelsyncd.store.packs import Record
from tests.fakes.hub_store import bring, hub_store
from tests.fakes.publisher import STEP, publication, weights


def _gc(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cloud_hub.program", "gc", "--data", str(folder), *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def _bytes(folder: Path) -> int:
    return sum(pack.stat().st_size for pack in folder.rglob("*.pack"))


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """Of a stopped hub with a pack of chunks, one of codings, and one of codings that no row speaks of."""
    data = tmp_path / "hub"
    data.mkdir()
    hub = hub_store(data)
    model = publication({"m": weights(1, 3 * STEP)})
    await bring(hub.intake(), model, Part.MANIFEST, [0])
    await bring(hub.intake(), model, Part.CONTENT, range(3))
    for key in (b"stray", b"known"):
        hub.codings.keep([Record(digest_of(key), Codec.DELTA, key * 100, 9_000)])
        hub.codings.close()
    (stray,) = hub.catalog.codings.places([digest_of(b"stray")]).values()
    hub.catalog.codings.drop([stray.pack])
    hub.close()
    return data


def test_it_frees_what_no_row_speaks_of_and_says_what_is_kept(folder: Path) -> None:
    before = _bytes(folder / "codings")
    done = _gc(folder, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    kept, freed = _bytes(folder / "codings"), before - _bytes(folder / "codings")
    assert json.loads(done.stdout) == {
        "chunks": {"packs": 1, "bytes": _bytes(folder / "packs")},
        "codings": {"packs": 1, "bytes": kept, "allowed": 10 << 30, "codings": 1},
        "freed": {"packs": 1, "bytes": freed},
    }
    assert 0 < freed < before


def test_with_room_for_none_all_codings_go_and_no_chunk_does(folder: Path) -> None:
    chunks = _bytes(folder / "packs")
    done = _gc(folder, "--codings-bytes", "0")
    assert done.returncode == 0
    assert f"chunks   1 packs, {chunks} bytes\n" in done.stdout
    assert "codings  0 packs, 0 bytes of 0 allowed, 0 codings\n" in done.stdout
    assert (_bytes(folder / "packs"), _bytes(folder / "codings")) == (chunks, 0)


def test_it_keeps_away_from_a_hub_that_runs(folder: Path) -> None:
    lock = lock_folder(folder, LOCK)
    try:
        done = _gc(folder)
    finally:
        lock.release()
    assert done.returncode == 5
    assert "is in use by process" in done.stderr


def test_it_makes_no_hub_where_there_is_none(tmp_path: Path) -> None:
    done = _gc(tmp_path / "nothing")
    assert done.returncode == 3
    assert "there is no folder" in done.stderr
    assert list(tmp_path.iterdir()) == []

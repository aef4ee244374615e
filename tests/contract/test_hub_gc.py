"""`modelsync-hub gc` as a person types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cloud_hub.catalog import By, Catalog, Whom
from cloud_hub.catalog.retentions import RetentionRow
from cloud_hub.stores import LOCK
from modelsyncd.codec.registry import Codec
from modelsyncd.digest import digest_of
from modelsyncd.names import ModelRef, parse_model
from modelsyncd.session.frames import Part
from modelsyncd.store.durable import lock_folder
from modelsyncd.store.packs import Record
from tests.fakes.hub_store import bring, hub_store, push
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
    said = json.loads(done.stdout)
    assert said["packs"] == {"packs": 1, "bytes": _bytes(folder / "packs")}
    assert said["codings"] == {"packs": 1, "bytes": kept, "allowed": 10 << 30, "codings": 1}
    assert said["codings_freed"] == {"packs": 1, "bytes": freed}
    assert 0 < freed < before


def test_with_room_for_none_all_codings_go_and_no_chunk_does(folder: Path) -> None:
    chunks = _bytes(folder / "packs")
    done = _gc(folder, "--codings-bytes", "0")
    assert done.returncode == 0
    assert f"chunks   1 packs, {chunks} bytes\n" in done.stdout
    assert "codings  0 packs, 0 bytes of 0 allowed, 0 codings\n" in done.stdout
    assert (_bytes(folder / "packs"), _bytes(folder / "codings")) == (chunks, 0)


@pytest.fixture
async def full(tmp_path: Path) -> Path:
    """Of a stopped hub with three releases, of which a rule keeps the newest and a pin the first."""
    data = tmp_path / "hub"
    data.mkdir()
    hub = hub_store(data)
    for number in (1, 2, 3):
        await push(hub.intake(), publication({"m": weights(number, 3 * STEP)}, number=number))
    hub.catalog.retentions.set(RetentionRow("acme/*", 1, None, By("admin/ann", 1.0)))
    hub.catalog.pins.pin(ModelRef(parse_model("acme/helmet"), number=1), Whom(), By("admin/ann", 1.0))
    hub.close()
    return data


def _numbers(folder: Path) -> list[int]:
    with Catalog.open(f"sqlite:///{folder}/catalog.db") as catalog:
        return [row.number for row in catalog.models.history(parse_model("acme/helmet")).releases]


def test_a_dry_run_says_what_would_go_and_changes_nothing(full: Path) -> None:
    before = _bytes(full / "packs")
    done = _gc(full, "--dry-run", "--grace", "0m", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    assert [one["number"] for one in said["going"]] == [2]
    assert said["spared"] == [{"model": "acme/helmet", "number": 1, "why": "is pinned"}]
    assert (said["dry_run"], said["removed"], said["chunks_swept"], said["bytes_freed"]) == (True, 0, 4, 0)
    assert _numbers(full) == [3, 2, 1]
    assert _bytes(full / "packs") == before


def test_releases_that_no_rule_keeps_go_with_their_chunks(full: Path) -> None:
    before = _bytes(full / "packs")
    done = _gc(full, "--grace", "0m")
    assert (done.returncode, done.stderr) == (0, "")
    assert "releases 1 went, 1 that no rule keeps stay\n" in done.stdout
    assert "acme/helmet:2  acme/* keeps the newest 1\n" in done.stdout
    assert _numbers(full) == [3, 1]
    assert before - _bytes(full / "packs") > 3 * STEP


def test_what_came_within_the_last_day_is_left_alone_unless_it_is_said(full: Path) -> None:
    assert json.loads(_gc(full, "--json").stdout)["chunks_swept"] == 0
    assert json.loads(_gc(full, "--json", "--grace", "0m").stdout)["chunks_swept"] == 4


def test_a_grace_that_is_no_age_is_refused_before_anything_is_opened(full: Path) -> None:
    done = _gc(full, "--grace", "soon")
    assert done.returncode == 2
    assert "is no age" in done.stderr
    assert _numbers(full) == [3, 2, 1]


def test_nothing_goes_when_a_manifest_is_damaged(full: Path) -> None:
    (pack,) = (full / "packs").rglob("*.pack")
    size = pack.stat().st_size
    pack.write_bytes(bytes(size))
    done = _gc(full, "--grace", "0m")
    assert done.returncode == 8
    assert "no chunk was removed" in done.stderr
    assert pack.stat().st_size == size


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

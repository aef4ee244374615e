"""The power goes at any moment: a hub's disk as it may look then; no release that was acknowledged is lost."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from cloud_hub.catalog import database
from modelsyncd.errors import DiskError, ModelsyncError
from modelsyncd.store import durable, packs
from tests.fakes.disk.calls import watched
from tests.fakes.disk.crashes import Crash, Crashes
from tests.fakes.disk.image import Image
from tests.fakes.disk.recording import Barrier, Mark, Recorder
from tests.fakes.disk.sqlite_calls import sqlite_watched
from tests.fakes.disk.without import Without
from tests.fakes.hub_life import MODEL, Belongs, HubLife, Pushes, Released, Taken, pushes
from tests.fakes.memory_disk import memory_disk
from tests.fault.reach import FULL, reach, seeds

SEED = int(os.environ.get("MODELSYNCD_SEED", "1"))
PARTS = reach(pr=1, full=32)  # of the same walk, so that several processes can share it
SMALL = pushes(64, step=1_024, batch=3)
LARGE = pushes(2_000, step=512, batch=100, changes=40)


@pytest.fixture
def disk() -> Iterator[Path]:
    with memory_disk() as folder:
        yield folder


def record(root: Path, tale: Pushes) -> Recorder:
    """What a life on this folder does to the disk; nothing of it may have been missed."""
    recorder = Recorder(root)
    with watched(root, recorder) as gate, sqlite_watched(gate):
        hub = HubLife(root, tale, recorder.mark)
        hub.live()
        hub.close()
    image = Image(recorder.nodes)
    image.keep(step for step in recorder.events if not isinstance(step, Barrier | Mark))
    image.check(root)
    return recorder


def recorded(disk: Path, tale: Pushes) -> Recorder:
    """A life from the very first start."""
    (disk / "hub").mkdir()
    return record(disk / "hub", tale)


def check(root: Path, crash: Crash, tale: Pushes) -> None:
    """The oracle: a hub that is started on a disk after a power cut, and pushed to again."""
    crash.image.make(root)
    try:
        _check_restart(root, crash, replace(tale, batch=1_000))
    except BaseException as error:
        error.add_note(f"the power went after step {crash.at}, with {crash.how}; seed {SEED}")
        raise
    finally:
        shutil.rmtree(root)


def _check_restart(root: Path, crash: Crash, tale: Pushes) -> None:
    hub = HubLife(root, tale)
    try:
        for word in crash.told:
            match word:
                case Belongs(certificate=certificate):
                    assert hub.stores.authority.certificate == certificate, "every node is locked out"
                case Released(number=number):
                    assert number in hub.numbers(), "an acknowledged release is lost"
        least = max((word.number for word in crash.told if isinstance(word, Released)), default=0)
        if least:
            (channel,) = hub.stores.catalog.models.channels(MODEL)
            assert channel.number >= least
        hub.check_rows()
        hub.live()
        assert hub.numbers() == [2, 1]
        hub.check_rows()
    finally:
        hub.close()
    promised = {(t.number, t.part, ordinal) for t in crash.told if isinstance(t, Taken) for ordinal in t.ordinals}
    assert not promised & set(hub.sent), "what was durable travels again"
    with closing(sqlite3.connect(root / "catalog.db")) as catalog:
        assert catalog.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert catalog.execute("PRAGMA foreign_key_check").fetchall() == []


@pytest.mark.slow
@pytest.mark.timeout(7_200 if FULL else 300)
@pytest.mark.parametrize("part", range(PARTS))
def test_whatever_the_power_cut_left_no_acknowledged_release_is_lost_and_no_reference_dangles(
    disk: Path, part: int
) -> None:
    walk = Crashes(recorded(disk, SMALL), seed=SEED, share=1.0 if FULL else 0.0012)
    for crash in islice(walk.visit(), part, None, PARTS):
        check(disk / "cut", crash, SMALL)
    print(f"seed {SEED}: {walk.count}")  # noqa: T201 - shown when it fails, and with -s
    assert walk.count.different > reach(pr=40, full=5_000)


@pytest.mark.slow
@pytest.mark.timeout(7_200 if FULL else 300)
def test_a_large_push_survives_a_power_cut_as_a_small_one_does(disk: Path) -> None:
    walk = Crashes(recorded(disk, LARGE), seed=SEED, share=0.06 if FULL else 0.000003)
    for crash in walk.visit():
        check(disk / "cut", crash, LARGE)
    print(f"seed {SEED}: {walk.count}")  # noqa: T201
    assert walk.count.different > reach(pr=0, full=1_000)


@pytest.mark.slow
@pytest.mark.timeout(3_600 if FULL else 300)
@pytest.mark.parametrize("seed", seeds(pr=3, full=200))
def test_a_hub_that_was_killed_and_started_again_builds_on_nothing_that_a_power_cut_takes_away(
    disk: Path, seed: int
) -> None:
    root = disk / "hub"
    root.mkdir()
    recorder = Recorder(root)
    with watched(root, recorder) as gate, sqlite_watched(gate):
        recorder.calls_left = random.Random(seed).randrange(700)
        first: HubLife | None = None
        with suppress(DiskError):
            first = HubLife(root, SMALL, recorder.mark)
            first.live()
        if first is not None:
            with suppress(DiskError):
                first.close()
        recorder.calls_left = None
        since = recorder.now()
        hub = HubLife(root, SMALL, recorder.mark)
        hub.live()
        hub.close()
    for crash in Crashes(recorder, seed=seed, share=0.01 if FULL else 0.0001, since=since).visit():
        check(disk / "cut", crash, SMALL)


BUGS: dict[str, list[tuple[object, str, object]]] = {
    "packs are not synced": [(packs, "os", Without("fdatasync"))],
    "the spool's names are not synced": [(packs, "sync_folder", lambda _: None)],
    "folders are never synced": [(durable, "sync_folder", lambda _: None)],
    "the catalogue does not wait for the disk": [(database, "_prepare_sqlite", None)],
}


def hasty(connection: sqlite3.Connection, _entry: object) -> None:
    """As the catalogue is opened, but for the one word that makes commits durable."""
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")


@pytest.mark.slow
@pytest.mark.parametrize("bug", BUGS)
def test_a_hub_that_is_careless_in_one_place_is_found_out(
    disk: Path, monkeypatch: pytest.MonkeyPatch, bug: str
) -> None:
    for place, name, careless_one in BUGS[bug]:
        monkeypatch.setattr(place, name, careless_one or hasty)
    recorder = recorded(disk, SMALL)
    monkeypatch.undo()
    for seed in range(1, 20):
        for crash in Crashes(recorder, seed=seed, share=0.001).visit():
            try:
                check(disk / "cut", crash, SMALL)
            except (AssertionError, ModelsyncError, OSError) as error:
                print(f"{bug}: {error!r}"[:300], *error.__notes__)  # noqa: T201
                return
    raise AssertionError("no power cut found it out")

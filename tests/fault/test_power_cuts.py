"""The power goes at any moment: a node's disk as it may look then, restarted; nothing half-seen, nothing sent twice.

A life of a node is recorded call by call, SQLite's included. Every state that its disk could be in between two syncs
is then made and given to the real store. `tests/fakes/disk/crashes.py` says which states those are.
"""

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

from modelsyncd.errors import DiskError, ModelsyncError
from modelsyncd.store import durable, papers, staging
from modelsyncd.store.cache import Cache
from modelsyncd.trust.identity import Identity
from tests.fakes.disk.calls import watched
from tests.fakes.disk.crashes import Crash, Crashes
from tests.fakes.disk.image import Image
from tests.fakes.disk.recording import Barrier, Mark, Recorder
from tests.fakes.disk.sqlite_calls import sqlite_watched
from tests.fakes.disk.without import Without
from tests.fakes.memory_disk import memory_disk
from tests.fakes.node_life import STABLE, Active, Kept, NodeLife, Ordered, Story, story
from tests.fakes.oracle import whole_versions
from tests.fakes.versions import content_of
from tests.fault.reach import FULL, reach, seeds

SEED = int(os.environ.get("MODELSYNCD_SEED", "1"))
PARTS = reach(pr=1, full=16)  # of the same walk, so that several processes can share it
SMALL = story(64, step=1_024, batch=3)
LARGE = story(2_000, step=512, batch=100, changes=40)


@pytest.fixture
def disk() -> Iterator[Path]:
    with memory_disk() as folder:
        yield folder


def record(root: Path, tale: Story) -> Recorder:
    """What a life on this folder does to the disk; nothing of it may have been missed."""
    recorder = Recorder(root)
    with watched(root, recorder) as gate, sqlite_watched(gate):
        recorder.mark(Ordered(1))
        recorder.mark(Active(1))
        node = NodeLife(root, tale, recorder.mark)
        node.live()
        node.close()
    image = Image(recorder.nodes)
    image.keep(step for step in recorder.events if not isinstance(step, Barrier | Mark))
    image.check(root)
    return recorder


def recorded(disk: Path, tale: Story) -> Recorder:
    """The life from the second release to the third one."""
    NodeLife.begin(disk / "node", tale)
    return record(disk / "node", tale)


def check(root: Path, crash: Crash, tale: Story) -> None:
    """The oracle: looks at a disk after a power cut, then lets the node live on."""
    crash.image.make(root)
    try:
        _check_visible(root, crash, tale)
        _check_restart(root, crash, tale)
    except BaseException as error:
        error.add_note(f"the power went after step {crash.at}, with {crash.how}; seed {SEED}")
        raise
    finally:
        shutil.rmtree(root)


def _check_visible(root: Path, crash: Crash, tale: Story) -> None:
    """As a job would see it, before anything repairs it."""
    whole_versions(root)
    least = max((word.number for word in crash.told if isinstance(word, Active)), default=0)
    link = root / "models/acme/helmet/stable"
    if least == 0 and not os.path.lexists(link):
        return
    target = str(link.readlink())
    leads = next(one.version.number for one in tale.releases if target.endswith(one.version.folder_name))
    assert leads >= least, "a switch that was told has not happened"


def _check_restart(root: Path, crash: Crash, tale: Story) -> None:
    node = NodeLife(root, replace(tale, batch=1_000))
    try:
        assert not (root / "cache.db.damaged").exists(), "the cache did not survive"
        orders = node.orders.load()
        ordered = max((word.number for word in crash.told if isinstance(word, Ordered)), default=0)
        assert (0 if orders is None else orders.generation) >= ordered
        node.check_rows()
        node.live()
    finally:
        node.close()
    _check_at_the_end(root, node, tale)
    promised = {(k.number, k.part, ordinal) for k in crash.told if isinstance(k, Kept) for ordinal in k.ordinals}
    assert not promised & set(node.fetched), "what was durable travels again"


def _check_at_the_end(root: Path, node: NodeLife, tale: Story) -> None:
    assert set(whole_versions(root)) == {"acme/helmet:2", "acme/helmet:3"}
    assert content_of(node.tree.layout.channel(STABLE)) == tale.release(3).files
    assert node.tree.observed().staged == frozenset()
    with closing(sqlite3.connect(root / "cache.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.slow
@pytest.mark.timeout(3_600 if FULL else 300)
@pytest.mark.parametrize("part", range(PARTS))
def test_whatever_the_power_cut_left_every_visible_version_is_whole_and_nothing_durable_travels_twice(
    disk: Path, part: int
) -> None:
    walk = Crashes(recorded(disk, SMALL), seed=SEED, share=1.0 if FULL else 0.002)
    for crash in islice(walk.visit(), part, None, PARTS):
        check(disk / "cut", crash, SMALL)
    print(f"seed {SEED}: {walk.count}")  # noqa: T201 - shown when it fails, and with -s
    assert walk.count.different > reach(pr=50, full=10_000)


@pytest.mark.slow
@pytest.mark.timeout(3_600 if FULL else 300)
def test_a_large_model_survives_a_power_cut_as_a_small_one_does(disk: Path) -> None:
    walk = Crashes(recorded(disk, LARGE), seed=SEED, share=0.006 if FULL else 0.000005)
    for crash in walk.visit():
        check(disk / "cut", crash, LARGE)
    print(f"seed {SEED}: {walk.count}")  # noqa: T201
    assert walk.count.different > reach(pr=0, full=2_000)


@pytest.mark.slow
@pytest.mark.timeout(3_600 if FULL else 300)
def test_a_second_power_cut_while_the_node_recovers_from_the_first_does_no_more_harm(disk: Path) -> None:
    first = Crashes(recorded(disk, SMALL), seed=SEED, share=0.01 if FULL else 0.00001)
    cuts = 0
    for number, crash in enumerate(first.visit()):
        root = disk / f"again-{number}"
        crash.image.make(root)
        second = Crashes(record(root, SMALL), seed=SEED + number, share=0.01 if FULL else 0.00005)
        for again in second.visit():
            check(
                disk / "cut",
                Crash(again.at, f"{crash.how}; then {again.how}", again.image, (*crash.told, *again.told)),
                SMALL,
            )
            cuts += 1
        shutil.rmtree(root)
    assert cuts > reach(pr=5, full=1_000)


@pytest.mark.slow
@pytest.mark.timeout(3_600 if FULL else 300)
@pytest.mark.parametrize("seed", [21, *seeds(pr=3, full=200)])
def test_a_node_that_was_killed_and_started_again_builds_on_nothing_that_a_power_cut_takes_away(
    disk: Path, seed: int
) -> None:
    root = disk / "node"
    root.mkdir()
    recorder = Recorder(root)
    with watched(root, recorder) as gate, sqlite_watched(gate):
        recorder.calls_left = random.Random(seed).randrange(1_100)
        with suppress(DiskError):
            NodeLife(root, SMALL, recorder.mark).live()
        recorder.calls_left = None
        since = recorder.now()
        node = NodeLife(root, SMALL, recorder.mark)
        node.live()
        node.close()
    for crash in Crashes(recorder, seed=seed, share=0.02 if FULL else 0.0003, since=since).visit():
        check(disk / "cut", crash, SMALL)


def test_an_identity_that_was_saved_is_there_after_a_power_cut(disk: Path) -> None:
    recorder = Recorder(disk)
    saved = Identity(b"key", b"certificate", b"authority")
    with watched(disk, recorder):
        saved.save(disk / "identity", durable.write_file)
        recorder.mark("saved")
    for crash in Crashes(recorder, seed=SEED).visit():
        if crash.told:
            crash.image.make(disk / "cut")
            assert Identity.load(disk / "cut/identity") == saved
            shutil.rmtree(disk / "cut")


def renamed_first(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Renames, then syncs."""
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT, mode)
    os.pwrite(descriptor, data, 0)
    temporary.rename(path)
    durable.sync_folder(path.parent)
    os.fsync(descriptor)
    os.close(descriptor)


def unlinked_first(link: Path, target: str) -> None:
    """Takes the old link away before the new one is there."""
    link.unlink(missing_ok=True)
    link.symlink_to(target)
    durable.sync_folder(link.parent)


def careless(cache: Cache) -> sqlite3.Connection:
    """SQLite that never syncs."""
    connection = sqlite3.connect(cache.path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA wal_autocheckpoint = 20")
    return connection


BUGS: dict[str, list[tuple[object, str, object]]] = {
    "chunks are told before they are synced": [(staging, "os", Without("fdatasync"))],
    "a version is sealed without a sync": [(staging, "os", Without("fsync", "fdatasync"))],
    "names are not synced": [(durable, "sync_folder", lambda _: None), (staging, "sync_folder", lambda _: None)],
    "small files are renamed before they are synced": [
        (durable, "write_file", renamed_first),
        (papers, "write_file", renamed_first),
    ],
    "the link is gone for a moment": [(durable, "switch_link", unlinked_first)],
    "SQLite never syncs": [(Cache, "_connect", careless)],
}


@pytest.mark.slow
@pytest.mark.parametrize("bug", BUGS)
def test_a_store_that_is_careless_in_one_place_is_found_out(
    disk: Path, monkeypatch: pytest.MonkeyPatch, bug: str
) -> None:
    NodeLife.begin(disk / "node", SMALL)
    for place, name, careless_one in BUGS[bug]:
        monkeypatch.setattr(place, name, careless_one)
    recorder = record(disk / "node", SMALL)
    monkeypatch.undo()
    for seed in range(1, 20):
        for crash in Crashes(recorder, seed=seed, share=0.01).visit():
            try:
                check(disk / "cut", crash, SMALL)
            except (AssertionError, ModelsyncError, OSError, StopIteration) as error:
                print(f"{bug}: {error!r}"[:300], *error.__notes__)  # noqa: T201
                return
    raise AssertionError("no power cut found it out")

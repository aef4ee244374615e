"""The power goes while a pull fills a folder: files there are whole, what was told stays, the same command goes on."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from modelsyncd.errors import DiskError
from modelsyncd.session.frames import Part
from tests.fakes.disk.calls import watched
from tests.fakes.disk.crashes import Crash, Crashes
from tests.fakes.disk.recording import Recorder
from tests.fakes.memory_disk import memory_disk
from tests.fakes.node_life import story
from tests.fakes.pulling import pull
from tests.fakes.versions import content_of
from tests.fault.reach import FULL, reach, seeds

SEED = int(os.environ.get("MODELSYNCD_SEED", "1"))
STORY = story(12, step=1_024, batch=3, changes=3)
OLD, NEW = STORY.release(2), STORY.release(3)
AT_THE_RENAMES = (1033, 1166, 1049, 1477)  # seeds that kill a pull while it gives files their names
DONE = "the pull has said that it is done"


@pytest.fixture
def disk() -> Iterator[Path]:
    with memory_disk() as folder:
        yield folder


def check(root: Path, crash: Crash) -> None:
    crash.image.make(root)
    try:
        _check(root, crash)
    except BaseException as error:
        error.add_note(f"the power went after step {crash.at}, with {crash.how}; seed {SEED}")
        raise
    finally:
        shutil.rmtree(root)


def _check(root: Path, crash: Crash) -> None:
    dest = root / "dest"
    lies = content_of(dest) if dest.exists() else {}
    visible = {name: plain for name, plain in lies.items() if not name.lstrip(".").startswith("modelsyncd-")}
    for name, plain in visible.items():
        assert plain in (OLD.files.get(name), NEW.files.get(name)), f"half of {name}"
    if DONE in crash.told:
        assert visible == NEW.files, "what was told as done is not there"
    again: list[object] = []
    pull(dest, NEW, 100, again.append)
    assert not set(crash.told) & set(again), "what was durable travels again"
    assert content_of(dest) == NEW.files


def tell(recorder: Recorder) -> Callable[[tuple[Part, int]], None]:
    """Chunks of the content are promised; the manifest comes anew once all files are in their places."""
    return lambda chunk: recorder.mark(chunk) if chunk[0] is Part.CONTENT else None


@pytest.mark.slow
@pytest.mark.timeout(3_600 if FULL else 300)
@pytest.mark.parametrize("there", [False, True], ids=["a new folder", "a folder with an older release"])
def test_a_power_cut_during_a_pull_leaves_whole_files_and_takes_nothing_back(disk: Path, there: bool) -> None:
    root = disk / "here"
    root.mkdir()
    if there:
        pull(root / "dest", OLD, 100)
    recorder = Recorder(root)
    with watched(root, recorder):
        pull(root / "dest", NEW, 3, tell(recorder))
        recorder.mark(DONE)
    walk = Crashes(recorder, seed=SEED, share=1.0 if FULL else 0.015)
    for crash in walk.visit():
        check(disk / "cut", crash)
    print(f"seed {SEED}: {walk.count}")  # noqa: T201 - shown when it fails, and with -s
    assert walk.count.different > reach(pr=10, full=300)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [*AT_THE_RENAMES, *seeds(pr=3, full=400)])
def test_a_pull_that_is_given_again_after_a_kill_takes_nothing_for_durable_that_is_not(disk: Path, seed: int) -> None:
    root = disk / "here"
    root.mkdir()
    pull(root / "dest", OLD, 100)
    recorder = Recorder(root)
    with watched(root, recorder):
        recorder.calls_left = random.Random(seed).randrange(120)
        with suppress(DiskError):
            pull(root / "dest", NEW, 3, tell(recorder))
        recorder.calls_left = None
        since = recorder.now()
        pull(root / "dest", NEW, 3, tell(recorder))
        recorder.mark(DONE)
    for crash in Crashes(recorder, seed=seed, share=0.03, since=since).visit():
        check(disk / "cut", crash)

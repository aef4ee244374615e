"""Failpoints: nothing happens unless it was asked for, and then exactly that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelsyncd.errors import BadInputError, DiskError, DiskFullError
from modelsyncd.store import failpoints
from modelsyncd.store.failpoints import Point, arm, arm_from, passing, watch

ONE, OTHER = Point.FILE_WRITTEN, Point.FILE_RENAMED
KILLED = """
import os
from modelsyncd.store.failpoints import Point, arm_from, passing
arm_from(os.environ)
for each in (Point.FILE_WRITTEN, Point.FILE_RENAMED, Point.FILE_WRITTEN):
    passing(each)
    print(each.word, flush=True)
"""


@pytest.fixture(autouse=True)
def nothing_armed() -> Iterator[None]:
    yield
    arm()


def killed_after(wishes: str) -> list[str]:
    """The points that a process passed that ended by SIGKILL."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED],
        env=os.environ | {failpoints.VARIABLE: wishes},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return done.stdout.split()


def test_without_the_variable_nothing_is_armed() -> None:
    arm_from({})
    for point in Point:
        passing(point)
    assert failpoints._met is None


def test_a_process_dies_at_the_point_and_at_the_passing_that_was_named() -> None:
    assert killed_after("file-written=kill") == []
    assert killed_after("file-written=kill@2") == ["file-written", "file-renamed"]
    assert killed_after("file-renamed=kill,file-written=kill@9") == ["file-written"]


def test_any_counts_the_passings_of_all_points_together() -> None:
    assert killed_after("any=kill@3") == ["file-written", "file-renamed"]


def test_an_error_is_raised_once_as_the_disk_would_raise_it() -> None:
    arm("file-written=error:ENOSPC@2, file-renamed=error:EIO")
    passing(ONE)
    with pytest.raises(DiskFullError):
        passing(ONE)
    passing(ONE)
    with pytest.raises(DiskError, match="file-renamed"):
        passing(OTHER)


@pytest.mark.timeout(30)
def test_a_pause_ends_when_its_fifo_was_opened_and_closed(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    arm(f"file-written=pause:{fifo}")
    through = threading.Event()

    def pass_it() -> None:
        passing(ONE)
        through.set()

    waiting = threading.Thread(target=pass_it)
    waiting.start()
    with fifo.open("wb"):  # opens once the other end is there
        assert not through.is_set()
    waiting.join()
    assert through.is_set()


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ("file-writen=kill", "did you mean file-written"),
        ("xyzzy=kill", "docs/durability.md"),
        ("file-written", "POINT=kill"),
        ("file-written=explode", "POINT=kill"),
        ("file-written=kill@0", "POINT=kill"),
        ("file-written=kill:now", "kill stands alone"),
        ("file-written=error:ENOTHING", "errno"),
        ("file-written=error", "errno"),
        ("file-written=pause", "FIFO"),
    ],
)
def test_what_can_not_be_read_is_refused_in_words_and_changes_nothing(wishes: str, words: str) -> None:
    arm("file-written=error:EIO")
    with pytest.raises(BadInputError) as refused:
        arm(wishes)
    assert words in refused.value.hint
    with pytest.raises(DiskError):
        passing(ONE)


def test_passings_are_counted_over_all_threads() -> None:
    seen: list[Point] = []
    watch(seen.append)

    def pass_often() -> None:
        for _ in range(100):
            passing(ONE)

    threads = [threading.Thread(target=pass_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    watch(None)
    passing(ONE)
    assert seen == [ONE] * 400


@pytest.mark.parametrize(
    "command",
    [
        ["edge_agent.program", "run", "--data", "DATA", "--hub", "127.0.0.1:9"],
        ["cloud_hub.program", "run", "--data", "DATA"],
        ["modelsyncd.ctl", "list"],
    ],
    ids=["agent", "hub", "ctl"],
)
def test_a_program_refuses_to_start_with_a_failpoint_that_does_not_exist(command: list[str], tmp_path: Path) -> None:
    module, *arguments = (part.replace("DATA", str(tmp_path / "data")) for part in command)
    start = ["-m", module] if module != "modelsyncd.ctl" else ["-c", "from modelsyncd.ctl.app import main; main()"]
    done = subprocess.run(
        [sys.executable, *start, *arguments],
        env=os.environ | {failpoints.VARIABLE: "file-writen=kill"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == BadInputError.exit_code, done.stderr
    assert "file-written" in done.stderr
    assert not (tmp_path / "data").exists()

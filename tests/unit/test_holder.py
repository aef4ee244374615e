"""A process is signalled only when it holds the lock right now, whatever a file says about it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from modelsyncd.store.durable import lock_folder
from modelsyncd.store.hashed import LATELY, Hashed
from modelsyncd.store.holder import hasten
from tests.fakes.versions import HELMET, published

_HOLDER = """
import os, pathlib, signal, sys
from modelsyncd.store.durable import lock_folder
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP, signal.SIGTERM])
path = pathlib.Path(sys.argv[1])
kept = lock_folder(path, "agent.lock") if sys.argv[2] == "locked" else (path / "agent.lock").open()
print("ready", flush=True)
found = signal.sigtimedwait([signal.SIGHUP, signal.SIGTERM], 60)
print(found.si_signo if found else 0, flush=True)
"""


@contextmanager
def process(folder: Path, how: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has the folder's lock, or only has its file open, and says which signal came to it."""
    command = [sys.executable, "-c", _HOLDER, str(folder), how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            assert child.stdout.readline() == "ready\n"
            yield child
        finally:
            child.kill()


def said(child: subprocess.Popen[str]) -> int:
    assert child.stdout is not None
    return int(child.stdout.readline())


def test_the_process_that_holds_the_lock_gets_the_signal(tmp_path: Path) -> None:
    with process(tmp_path, "locked") as child:
        assert hasten(tmp_path / "agent.lock") == child.pid
        assert said(child) == signal.SIGHUP


def test_a_process_that_only_has_the_file_open_is_left_alone(tmp_path: Path) -> None:
    lock_folder(tmp_path, "agent.lock").release()
    with process(tmp_path, "open") as child:
        (tmp_path / "agent.lock").write_text(f"{child.pid}\n")
        assert hasten(tmp_path / "agent.lock") is None
        child.terminate()
        assert said(child) == signal.SIGTERM, "a signal that came before would be the first"


def test_a_process_that_took_over_the_number_of_one_that_is_gone_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (tmp_path / "agent.lock").write_text(f"{stranger.pid}\n")
        assert hasten(tmp_path / "agent.lock") is None
        stranger.terminate()
        assert stranger.wait(10) == -signal.SIGTERM


@pytest.mark.parametrize("word", ["", "unknown", "-1", "0", "99999999999999999999"])
def test_a_file_without_a_number_names_nobody(tmp_path: Path, word: str) -> None:
    (tmp_path / "agent.lock").write_text(word)
    assert hasten(tmp_path / "agent.lock") is None


def test_a_folder_that_was_never_locked_is_nobodys(tmp_path: Path) -> None:
    assert hasten(tmp_path / "agent.lock") is None


def test_a_version_counts_as_hashed_for_a_while_and_until_somebody_forgets_it() -> None:
    now = 100.0
    hashed = Hashed(lambda: now)
    version = published({"a": b"1"}, model=HELMET).version
    assert not hashed.lately(version)
    hashed.note(version)
    assert hashed.lately(version)
    now += LATELY
    assert not hashed.lately(version)
    hashed.note(version)
    hashed.forget(version)
    hashed.forget(version)
    assert not hashed.lately(version)

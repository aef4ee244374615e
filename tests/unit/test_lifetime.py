"""How a program lives and dies: signals, words to systemd, exit codes. Each is a real process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelsyncd.daemon.lifetime import Supervisor, explain
from modelsyncd.errors import BadInputError, RoadError

HEAD = """
import asyncio, sys
from modelsyncd.daemon.lifetime import run
from modelsyncd.errors import *
"""
SERVE = """
async def main(lifetime):
    lifetime.ready("serving")
    await lifetime.stopping.wait()
    print("closed", flush=True)
"""
TAIL = "\nsys.exit(run('prog', main, grace=0.3))\n"


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.settimeout(20)
        yield channel


def start(code: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HEAD + code + TAIL],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def end(code: str) -> tuple[int, str]:
    with start(code) as process:
        _, words = process.communicate(timeout=20)
    return process.returncode, words


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_program_close_and_systemd_hears_each_step(
    systemd: socket.socket, number: signal.Signals
) -> None:
    with start(SERVE, NOTIFY_SOCKET=systemd.getsockname()) as process:
        assert systemd.recv(1_000) == b"READY=1\nSTATUS=serving"
        process.send_signal(number)
        assert systemd.recv(1_000) == b"STOPPING=1"
        out, words = process.communicate(timeout=20)
    assert (process.returncode, out, words) == (0, "closed\n", "")


def test_the_watchdog_is_patted_at_half_its_time(systemd: socket.socket) -> None:
    with start(SERVE, NOTIFY_SOCKET=systemd.getsockname(), WATCHDOG_USEC="100000") as process:
        heard = [systemd.recv(1_000) for _ in range(5)]
        process.terminate()
        process.communicate(timeout=20)
    assert heard.count(b"WATCHDOG=1") == 4


def test_a_program_that_hangs_is_not_patted(systemd: socket.socket) -> None:
    hang = """
import time
async def main(lifetime):
    lifetime.ready()
    await asyncio.sleep(0)
    time.sleep(0.5)
    lifetime.status("woke")
"""
    with start(hang, NOTIFY_SOCKET=systemd.getsockname(), WATCHDOG_USEC="400000") as process:
        process.communicate(timeout=20)
    Supervisor(systemd.getsockname()).tell("END")
    heard = list(iter(lambda: systemd.recv(1_000), b"END"))
    assert heard.count(b"WATCHDOG=1") == 1


def test_a_watchdog_meant_for_another_process_is_left_alone() -> None:
    assert Supervisor.of({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}).watchdog == 0
    assert Supervisor.of({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": str(os.getpid())}).watchdog == 1


def test_an_abstract_socket_is_spoken_to_as_well() -> None:
    name = f"modelsyncd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind("\0" + name)
        channel.settimeout(20)
        Supervisor("@" + name).tell("READY=1")
        assert channel.recv(100) == b"READY=1"


def test_a_program_lives_on_when_nobody_listens(tmp_path: Path) -> None:
    with start(SERVE.replace("await lifetime.stopping.wait()", ""), NOTIFY_SOCKET=str(tmp_path / "none")) as process:
        out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "closed\n")


def test_a_program_that_does_not_close_in_time_is_cut_short(systemd: socket.socket) -> None:
    stuck = """
async def main(lifetime):
    lifetime.ready()
    try:
        await asyncio.Event().wait()
    finally:
        print("cleaned", flush=True)
"""
    with start(stuck, NOTIFY_SOCKET=systemd.getsockname()) as process:
        systemd.recv(1_000)
        process.terminate()
        out, words = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "cleaned\n")
    assert "program.cut-short" in words


def test_a_second_signal_ends_the_waiting_at_once(systemd: socket.socket) -> None:
    stuck = "async def main(lifetime):\n    lifetime.ready()\n    await asyncio.Event().wait()\n"
    code = (HEAD + stuck + TAIL).replace("grace=0.3", "grace=1000")
    with subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "NOTIFY_SOCKET": systemd.getsockname()}
    ) as process:
        systemd.recv(1_000)
        process.terminate()
        assert systemd.recv(1_000) == b"STOPPING=1"
        process.terminate()
        assert process.wait(20) == 0


def test_a_hangup_asks_to_reload_and_does_not_kill(systemd: socket.socket) -> None:
    code = (
        "async def main(lifetime):\n    lifetime.ready()\n    await lifetime.reloading.wait()\n    print('reloaded')\n"
    )
    with start(code, NOTIFY_SOCKET=systemd.getsockname()) as process:
        systemd.recv(1_000)
        process.send_signal(signal.SIGHUP)
        out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "reloaded\n")


def test_an_error_with_a_name_is_told_to_people_and_is_the_exit_code() -> None:
    code, words = end(
        "async def main(lifetime):\n    raise DiskFullError('no room', safe='all is kept', hint='free 3 GiB')\n"
    )
    assert code == 7
    assert words == "prog: no room\n  safe: all is kept\n  next: free 3 GiB\n"


def test_an_error_deep_inside_task_groups_is_found() -> None:
    code, words = end("""
async def fail():
    raise LockedError("locked by 7")
async def main(lifetime):
    async with asyncio.TaskGroup() as outer:
        async with asyncio.TaskGroup() as inner:
            inner.create_task(fail())
        await asyncio.sleep(9)
""")
    assert (code, words) == (5, "prog: locked by 7\n")


def test_a_bug_shows_its_trace_and_does_not_hide_behind_an_error_with_a_name() -> None:
    code, words = end("""
async def fail(error):
    raise error
async def main(lifetime):
    async with asyncio.TaskGroup() as group:
        group.create_task(fail(RoadError()))
        group.create_task(fail(ZeroDivisionError("planted")))
""")
    assert code == 70
    assert "planted" in words
    assert "bug report" in words


def test_an_explanation_leaves_out_what_is_not_known() -> None:
    assert explain("p", RoadError("gone")) == "p: gone\n"
    assert explain("p", BadInputError("bad", hint="do")) == "p: bad\n  next: do\n"

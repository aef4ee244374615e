"""A step is taken in a process: what it may do, what it says when it fails, and what is left of it."""

from __future__ import annotations

import asyncio
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from modelsyncd.errors import BadInputError
from modelsyncd.exchange.derivation import Doing, by_command, by_recipe, reopen, take


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source" / "deep"
    folder.mkdir(parents=True)
    (folder / "w.bin").write_bytes(b"w" * 1_000)
    return tmp_path / "source"


def script(text: str) -> Doing:
    """A command of Python."""
    return by_command([sys.executable, "-c", f"import os, sys; source, target = sys.argv[1:]; {text}", "{in}", "{out}"])


async def test_what_it_makes_is_there_and_what_lay_there_before_is_not(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "old").write_text("of an earlier try")
    await take(script("open(target + '/new', 'w').write(str(os.path.getsize(source + '/deep/w.bin')))"), source, target)
    assert {path.name: path.read_text() for path in target.iterdir()} == {"new": "1000"}


async def test_the_source_is_read_only_while_it_works_and_can_be_removed_afterwards(
    source: Path, tmp_path: Path
) -> None:
    look = "open(target + '/modes', 'w').write(' '.join(oct(os.stat(source + p).st_mode & 0o222) for p in"
    await take(script(f"{look} ('', '/deep', '/deep/w.bin')))"), source, tmp_path / "target")
    assert (tmp_path / "target" / "modes").read_text() == "0o0 0o0 0o0"
    assert writable(source)


def test_what_a_killed_step_left_read_only_can_be_written_to_again(source: Path, tmp_path: Path) -> None:
    for path in (*source.rglob("*"), source):
        path.chmod(path.stat().st_mode & ~0o222)
    reopen(source)
    reopen(tmp_path / "none")
    assert writable(source)


async def test_a_folder_that_was_copied_read_only_does_not_stop_the_next_try(source: Path, tmp_path: Path) -> None:
    target, outside = tmp_path / "target", tmp_path / "outside"
    outside.write_text("not ours")
    outside.chmod(0o444)
    copy = "import shutil; shutil.copytree(source, target, dirs_exist_ok=True)"
    for _ in range(2):
        await take(
            script(f"{copy}; os.chmod(target, 0o755); os.symlink({str(outside)!r}, target + '/link')"), source, target
        )
    assert (target / "deep" / "w.bin").stat().st_size == 1_000
    assert outside.stat().st_mode & 0o777 == 0o444, "a link was followed out of the folder"


@pytest.mark.parametrize(
    "text",
    [
        "os.chmod(source + '/deep/w.bin', 0o644); open(source + '/deep/w.bin', 'ab').write(b'more')",
        "os.chmod(source, 0o755); open(source + '/beside', 'w').write('x')",
        "os.chmod(source + '/deep', 0o755); os.remove(source + '/deep/w.bin')",
    ],
)
async def test_a_step_that_changes_what_it_reads_counts_for_nothing_and_the_source_is_fetched_anew(
    source: Path, tmp_path: Path, text: str
) -> None:
    with pytest.raises(BadInputError, match="wrote to what it should only read"):
        await take(script(f"open(target + '/new', 'w').write('x'); {text}"), source, tmp_path / "target")
    assert not await asyncio.to_thread(source.exists)


async def test_a_failure_is_told_with_the_exit_code_and_the_last_lines(source: Path, tmp_path: Path) -> None:
    lines = "[print(f'line {n}', file=sys.stderr) for n in range(1000)]; print('\\x1b[31mred'); sys.exit(7)"
    with pytest.raises(BadInputError, match="failed with exit code 7") as caught:
        await take(script(lines), source, tmp_path / "target")
    said = caught.value.message.splitlines()[1:]
    assert len(said) == 20
    assert "  line 999" in said
    assert "\x1b" not in caught.value.message
    assert "  line 900" not in said


async def test_a_process_that_is_killed_is_told_by_its_signal(source: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="failed with signal 9"):
        await take(script("os.kill(os.getpid(), 9)"), source, tmp_path / "target")


async def test_a_command_that_is_not_there_is_no_crash(source: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="can't run '/no/such/thing': No such file"):
        await take(by_command(["/no/such/thing", "{in}", "{out}"]), source, tmp_path / "target")
    assert (source / "deep" / "w.bin").exists()


async def test_what_a_command_leaves_running_ends_with_it(source: Path, tmp_path: Path) -> None:
    """It holds the pipe that we listen to, and could write while the result is read."""
    stays = f"import subprocess; p = subprocess.Popen([{sys.executable!r}, '-c', 'import time; time.sleep(1000)'])"
    await take(script(f"{stays}; open(target + '/pid', 'w').write(str(p.pid))"), source, tmp_path / "target")
    pid = int((tmp_path / "target" / "pid").read_text())
    await asyncio.to_thread(until, partial(gone, pid))


async def test_an_interrupted_step_ends_with_all_that_it_began(source: Path, tmp_path: Path) -> None:
    stays = "import subprocess, time; p = subprocess.Popen(['sleep', '1000'])"
    begun = tmp_path / "target" / "pids"
    text = f"{stays}; open(target + '/new', 'w').write(f'{{p.pid}} {{os.getpid()}}')"
    doing = script(f"{text}; os.rename(target + '/new', target + '/pids'); time.sleep(1000)")
    async with asyncio.TaskGroup() as group:
        work = group.create_task(take(doing, source, begun.parent))
        await asyncio.to_thread(until, begun.exists)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
    for pid in begun.read_text().split():
        await asyncio.to_thread(until, partial(gone, int(pid)))
    assert writable(source)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_step_ends_with_all_that_it_began_when_whoever_takes_it_is_killed(
    source: Path, tmp_path: Path, how: signal.Signals
) -> None:
    """It would write into what the next try publishes."""
    stays = "import signal, subprocess, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    text = f"{stays}; p = subprocess.Popen(['sleep', '1000']); begun = target + '/pids'"
    text += "; open(begun + '.new', 'w').write(f'{p.pid} {os.getpid()}'); os.rename(begun + '.new', begun)"
    words = script(f"{text}; time.sleep(1000)").command
    take_it = (
        "import asyncio, pathlib, sys; from modelsyncd.exchange.derivation import by_command, take; "
        "source, target, *words = sys.argv[1:]; "
        "asyncio.run(take(by_command(words), pathlib.Path(source), pathlib.Path(target)))"
    )
    taker = subprocess.Popen([sys.executable, "-c", take_it, source, tmp_path / "target", *words])
    begun = tmp_path / "target" / "pids"
    until(begun.exists)
    taker.send_signal(how)
    assert taker.wait(60) == -how
    for pid in begun.read_text().split():
        until(partial(gone, int(pid)))


def writable(source: Path) -> bool:
    """Whether all of it may be written to."""
    return all(path.stat().st_mode & stat.S_IWUSR for path in (source, *source.rglob("*")))


def until(true: Callable[[], bool]) -> None:
    """Looks until it is, for a minute."""
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def gone(pid: int) -> bool:
    """Whether a process has ended; a zombie that nobody waits for has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


async def test_a_recipe_that_refuses_says_why_in_a_line(source: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="there is no safetensors file with weights of 32 bits"):
        await take(by_recipe("cast", {}), source, tmp_path / "target")


def test_a_step_is_named_by_its_words_or_by_recipe_version_and_options() -> None:
    steps = [
        by_command(["a", "{in}", "{out}"]),
        by_command(["a {in}", "{out}"]),
        by_recipe("cast", {}),
        by_recipe("cast", {"dtype": "f16"}),
    ]
    assert len({one.step for one in steps}) == len(steps)
    assert by_recipe("cast", {"dtype": "bf16"}).step == steps[2].step
    told = steps[1].derivation(steps[0].step)
    assert (told.recipe, dict(told.options)) == ("", {"0": "a {in}", "1": "{out}"})

"""Gates and hooks as a node's settings name them: real commands, real answers over HTTP, real ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.commands import LINE, facts_of, run_command
from edge_agent.gates import Gate, Verdict, judge, parse_gates
from edge_agent.hooks import Hook, Hooks
from edge_agent.settings import Settings
from edge_agent.watchers import Active, Switch
from modelsyncd.daemon.config import load
from modelsyncd.digest import digest_of
from modelsyncd.errors import BadInputError
from modelsyncd.names import ModelName, ModelRef

HELMET = ModelRef(ModelName("acme", "helmet"), channel="stable")
VEST = ModelRef(ModelName("acme", "vest"), channel="stable")


def switch(path: Path, number: int = 2, ref: ModelRef = HELMET) -> Switch:
    digest = digest_of(b"")
    return Switch(Active(ref, number, digest, digest, path, path.with_name("stable")), number - 1)


def python(program: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-S", "-c", program, *arguments)


async def until(condition: Callable[[], object]) -> None:
    """Looks again and again: other processes tell nobody what they do to files."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def is_alive(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return False


# --- commands ---


async def test_a_command_gets_the_facts_in_its_arguments_and_its_environment(tmp_path: Path) -> None:
    program = "import os, sys; print(*sys.argv[1:], os.environ['MODELSYNCD_NUMBER'], os.getcwd())"
    command = python(program, "{path}", "{model}", "{channel}", "{number}", "{previous}", '{"a": 1}', "{channel_path}")
    ended = await run_command(command, facts_of(switch(tmp_path)))
    assert ended.code == 0
    assert ended.words == f'{tmp_path} acme/helmet stable 2 1 {{"a": 1}} {tmp_path.with_name("stable")} 2 /'


async def test_a_command_sees_nothing_of_our_environment_and_no_open_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELSYNC_SECRET", "s3cret")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    with (tmp_path / "held").open("w"):
        program = "import os; print(sorted(os.environ), len(os.listdir('/proc/self/fd')))"
        ended = await run_command(python(program), facts_of(switch(tmp_path)))
    assert "SECRET" not in ended.words
    assert "NOTIFY_SOCKET" not in ended.words
    assert ended.words.endswith(" 4"), "stdin, stdout, stderr and the folder that it reads"


async def test_the_last_lines_of_what_it_says_become_the_reason(tmp_path: Path) -> None:
    program = "import sys; print('x' * 99_999); print('a\\x1b[31m', flush=True); sys.exit('no such layer')"
    verdict = await judge(Gate(command=python(program)), switch(tmp_path), 60)
    assert not verdict.works
    assert verdict.why.endswith("a [31m | no such layer (exit status 1)")
    assert len(verdict.why) < LINE + 50


async def test_a_command_that_succeeds_proves_a_version(tmp_path: Path) -> None:
    assert await judge(Gate(command=("/bin/true",)), switch(tmp_path), 60) == Verdict(True)


async def test_one_that_is_killed_or_is_not_there_proves_nothing(tmp_path: Path) -> None:
    killed = await judge(Gate(command=python("import os; os.kill(os.getpid(), 9)")), switch(tmp_path), 60)
    assert killed == Verdict(False, f"{sys.executable}: ended by SIGKILL")
    absent = await judge(Gate(command=("/no/such/check",)), switch(tmp_path), 60)
    assert absent == Verdict(False, "/no/such/check can't be run: No such file or directory")


async def test_a_command_that_does_not_end_is_ended_at_the_deadline(tmp_path: Path) -> None:
    verdict = await judge(Gate(command=("/bin/sleep", "3600"), deadline=0.2), switch(tmp_path), 0.2)
    assert verdict == Verdict(False, "/bin/sleep did not end within 0.2 s")


async def test_whoever_stops_judging_ends_the_command_and_all_that_it_started(tmp_path: Path) -> None:
    program = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen(['/bin/sleep', '3600'])\n"
        "os.symlink(f'{os.getpid()}-{child.pid}', sys.argv[1])\n"
        "time.sleep(3600)"
    )
    pids = tmp_path / "pids"
    async with asyncio.TaskGroup() as group:
        task = group.create_task(judge(Gate(command=python(program, str(pids))), switch(tmp_path), 3_600))
        await until(pids.is_symlink)
        task.cancel()
    leader, child = (int(word) for word in str(pids.readlink()).split("-"))
    assert not is_alive(leader)
    await until(lambda: not is_alive(child))


async def test_a_command_that_leaves_something_running_is_not_waited_for(tmp_path: Path) -> None:
    program = "import os, subprocess; print(subprocess.Popen(['/bin/sleep', '3600']).pid)"
    async with asyncio.timeout(60):
        ended = await run_command(python(program), facts_of(switch(tmp_path)))
    await until(lambda: not is_alive(int(ended.words)))


# --- addresses ---


class Answers:
    """A server of HTTP that gives one answer after the other, and the last one for ever."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []
        self.address = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Answers]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(asked.decode())
        writer.write(self._answers.pop(0) if len(self._answers) > 1 else self._answers[0])
        writer.close()


async def test_an_address_is_asked_until_it_says_yes(tmp_path: Path) -> None:
    async with Answers(b"HTTP/1.1 503 Busy\r\n\r\n", b"HTTP/1.1 204 Fine\r\n\r\n").serving() as server:
        gate = Gate(url=server.address + "/v2/{model}/ready?number={number}")
        assert await judge(gate, switch(tmp_path), 60) == Verdict(True)
    assert [asked.splitlines()[0] for asked in server.asked] == ["GET /v2/acme%2Fhelmet/ready?number=2 HTTP/1.1"] * 2


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 500 Broken\r\n\r\n", "answered 500"),
        (b"220 smtp.example\r\n", "does not speak HTTP"),
        (b"", "does not speak HTTP"),
        (b"HTTP/1.1 " + b"9" * 5_000, "does not speak HTTP"),
    ],
)
async def test_one_that_never_does_says_why(tmp_path: Path, answer: bytes, said: str) -> None:
    async with Answers(answer).serving() as server:
        verdict = await judge(Gate(url=server.address + "/ready", deadline=0.3), switch(tmp_path), 0.3)
    assert verdict == Verdict(False, f"{server.address}/ready {said} at the end of 0.3 s")


async def test_an_address_that_nobody_listens_on_says_so(tmp_path: Path) -> None:
    async with Answers(b"").serving() as server:
        gone = server.address
    verdict = await judge(Gate(url=gone, deadline=0.3), switch(tmp_path), 0.3)
    assert not verdict.works
    assert gone in verdict.why


# --- settings ---


def settings(folder: Path, text: str) -> Settings:
    path = folder / "agent.toml"
    path.write_text('data = "/d"\nhub = "h:1"\n' + text)
    return load(Settings, path, {})


def test_gates_and_hooks_are_read_from_the_settings(tmp_path: Path) -> None:
    found = settings(
        tmp_path,
        '[gate."acme/helmet@canary"]\ncommand = ["/check", "{path}"]\ndeadline = 5\n'
        '[gate."acme/vest"]\nurl = "http://[::1]:8000/ready"\n'
        '[gate."acme/boot@stable"]\nconfirm = true\n'
        '[hook."acme/*"]\nafter_switch = ["/notify", "{number}"]\ntimeout = 3\n',
    )
    gates = parse_gates(found.gate)
    assert gates[ModelRef(HELMET.model, channel="canary")] == Gate(command=("/check", "{path}"), deadline=5.0)
    assert gates[VEST] == Gate(url="http://[::1]:8000/ready")
    assert found.hook == {"acme/*": Hook(("/notify", "{number}"), 3.0)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[gate."acme/helmet"]\ncomand = ["/check"]', 'did you mean gate."acme/helmet".command?'),
        ('[gate."acme/helmet"]\ncommand = ["/check", "{pth}"]', "did you mean {path}?"),
        ('[gate."acme/helmet"]\ncommand = []', "empty"),
        ('[gate."acme/helmet"]\ncommand = "/check {path}"', "a list of texts"),
        ('[gate."acme/helmet"]\ndeadline = 3', "exactly one"),
        ('[gate."acme/helmet"]\nconfirm = true\nurl = "http://127.0.0.1/"', "exactly one"),
        ('[gate."acme/helmet"]\nconfirm = true\ndeadline = 0', "deadline"),
        ('[gate."acme/helmet"]\nurl = "http://10.0.0.1/"', "on this machine"),
        ('[gate."acme/helmet"]\nurl = "https://127.0.0.1/"', "on this machine"),
        ('[gate."acme/helmet"]\nurl = "http://127.0.0.1:99999/"', "url"),
        ('[gate."acme/helmet"]\nurl = "http://127.0.0.1/{nme}"', "stands for nothing"),
        ('[gate."acme/helmet:3"]\nconfirm = true', "names a release"),
        ('[gate."Helmet"]\nconfirm = true', "Helmet"),
        ('[gate."acme/helmet"]\nconfirm = true\n[gate."acme/helmet@stable"]\nconfirm = true', "two gates"),
        ('[hook."acme/*"]\ntimeout = 3', "after_switch"),
        ('[hook."acme"]\nafter_switch = ["/x"]', "no pattern"),
        ('[hook."acme/*"]\nafter_switch = ["/x"]\ntimeout = -1', "timeout"),
        ('[hook."acme/*"]\nafter_swich = ["/x"]', 'did you mean hook."acme/*".after_switch?'),
    ],
)
def test_what_is_wrong_in_them_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadInputError) as wrong:
        settings(tmp_path, text)
    assert said in f"{wrong.value.message} {wrong.value.hint}"


# --- hooks ---


@asynccontextmanager
async def hooked(**hooks: Hook) -> AsyncIterator[Hooks]:
    found = Hooks({pattern.replace("_", "/"): hook for pattern, hook in hooks.items()})
    async with asyncio.TaskGroup() as group:
        task = group.create_task(found.run())
        yield found
        task.cancel()


def noting(folder: Path) -> Hook:
    """Writes which numbers it was called with, and waits for a file that lets it go on."""
    program = (
        "import os, sys, time\n"
        "folder, number = sys.argv[1:]\n"
        "open(folder + '/began-' + number, 'w').close()\n"
        "while not os.path.exists(folder + '/go'): time.sleep(0.01)\n"
        "open(folder + '/done-' + number, 'w').close()\n"
    )
    return Hook(python(program, str(folder), "{number}"))


def begun(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name.startswith("began")}


async def test_for_one_channel_one_hook_runs_at_a_time_and_the_newest_switch_is_next(tmp_path: Path) -> None:
    async with hooked(**{"acme_*": noting(tmp_path)}) as hooks:
        hooks.call(switch(tmp_path, 1))
        await until((tmp_path / "began-1").exists)
        for number in (2, 3, 4):
            hooks.call(switch(tmp_path, number))
        hooks.call(switch(tmp_path, 9, VEST))
        await until((tmp_path / "began-9").exists)
        assert begun(tmp_path) == {"began-1", "began-9"}, "another one began before the first had ended"
        (tmp_path / "go").touch()
        await until((tmp_path / "done-4").exists)
    assert begun(tmp_path) == {"began-1", "began-4", "began-9"}


async def test_channels_do_not_wait_for_each_other(tmp_path: Path) -> None:
    async with hooked(**{"acme_*": noting(tmp_path)}) as hooks:
        hooks.call(switch(tmp_path, 1))
        hooks.call(switch(tmp_path, 2, VEST))
        await until((tmp_path / "began-1").exists)
        await until((tmp_path / "began-2").exists)


async def test_a_hook_that_fails_or_takes_too_long_undoes_nothing_and_stops_no_other(tmp_path: Path) -> None:
    slow = replace(noting(tmp_path / "never"), after_switch=("/bin/sleep", "3600"), timeout=0.1)
    (tmp_path / "go").touch()
    failing, absent = Hook(("/bin/false",)), Hook(("/no/such/hook",))
    patterns = {"acme_helmet": slow, "acme_h*": failing, "*": absent, "acme_helmet@stable": noting(tmp_path)}
    async with hooked(**patterns) as hooks:
        hooks.call(switch(tmp_path, 7))
        await until((tmp_path / "done-7").exists)
        hooks.call(switch(tmp_path, 8))
        await until((tmp_path / "done-8").exists)


async def test_when_the_agent_stops_its_hooks_are_ended(tmp_path: Path) -> None:
    program = "import os, sys, time; os.symlink(str(os.getpid()), sys.argv[1]); time.sleep(3600)"
    hook = Hook(python(program, str(tmp_path / "pid")), timeout=3_600.0)
    async with hooked(acme_helmet=hook) as hooks:
        hooks.call(switch(tmp_path))
        await until((tmp_path / "pid").is_symlink)
    pid = int(str((tmp_path / "pid").readlink()))
    assert not is_alive(pid)
    with pytest.raises(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)

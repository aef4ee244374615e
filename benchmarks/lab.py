"""A hub and agents as real processes in a folder of their own, for as long as a `with` block lasts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 900.0  # seconds: a benchmark that takes longer than this hangs
BIN = Path(sys.executable).parent


def until(there: Callable[[], bool], process: subprocess.Popen[bytes] | None = None) -> None:
    """Returns once it is true. Raises RuntimeError when the process died before, or the patience is over."""
    ends = time.monotonic() + PATIENCE
    while not there():
        if process is not None and process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        if time.monotonic() > ends:
            raise RuntimeError("it took too long")
        time.sleep(0.002)


@dataclass(frozen=True)
class Running:
    """A process of ours, and what /proc says of it."""

    process: subprocess.Popen[bytes]

    def rss(self) -> float:
        """Resident memory now, MB."""
        return self._memory("VmRSS")

    def peak(self) -> float:
        """Largest resident memory since it began, MB."""
        return self._memory("VmHWM")

    def cpu(self) -> float:
        """CPU seconds since it began (fields 14 and 15 of proc(5)'s stat)."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _memory(self, key: str) -> float:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(key):
                return int(line.split()[1]) * 1024 / 1e6
        raise RuntimeError(f"/proc has no {key}")


class Lab:
    """A hub, and what is done with it. All data is below `root`."""

    def __init__(self, root: Path, hub: Running, before: Sequence[str] = ()) -> None:
        self.root = root
        self.before = list(before)
        self.hub = hub
        self.context = root / "hub" / "admin.toml"

    def ctl(self, *arguments: str, before: Sequence[str] | None = None) -> dict[str, object]:
        """Runs modelsyncctl and returns its JSON. Raises RuntimeError with what it said."""
        done = subprocess.run(self.command(*arguments, before=before), capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"modelsyncctl {' '.join(arguments)}: {done.stderr.decode()}{done.stdout.decode()}")
        found = json.loads(done.stdout.decode().strip().splitlines()[-1] if done.stdout.strip() else "{}")
        assert isinstance(found, dict)  # noqa: S101
        return found

    def command(self, *arguments: str, before: Sequence[str] | None = None) -> list[str]:
        """What runs modelsyncctl so that it answers in JSON."""
        prefix = self.before if before is None else before
        return [*prefix, str(BIN / "modelsyncctl"), "--context", str(self.context), *arguments, "--json"]

    @property
    def address(self) -> str:
        """HOST:PORT of the hub."""
        for line in self.context.read_text().splitlines():
            if line.startswith("hub"):
                return line.split('"')[1]
        raise RuntimeError("no address")

    @contextmanager
    def agent(
        self, name: str, address: str = "", *options: str, before: Sequence[str] = ()
    ) -> Iterator[tuple[Running, Path]]:
        """An enrolled agent that knows the hub by this address; its data folder is `root/name`."""
        invite = self.root / f"{name}.invite"
        invite.write_text(str(self.ctl("node", "invite", name)["token"]))
        invite.chmod(0o600)
        data = self.root / name
        with started(
            [
                *before,
                str(BIN / "modelsync-agent"),
                "run",
                *options,
                "--data",
                str(data),
                "--hub",
                address or self.address,
            ]
            + ["--invite-file", str(invite)],
            self.root / f"{name}.log",
        ) as running:
            until((data / "agent.sock").exists, running.process)
            yield running, data


@contextmanager
def started(command: list[str], log: Path) -> Iterator[Running]:
    """A process that is ended by its id when the block ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=os.environ)
        try:
            yield Running(process)
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def lab(root: Path, *options: str, listen: str = "127.0.0.1:0", before: Sequence[str] = ()) -> Iterator[Lab]:
    """A fresh hub below `root`; `before` goes before each command, as in `ip netns exec NAME`."""
    root.mkdir(parents=True, exist_ok=True)
    command = [*before, str(BIN / "modelsync-hub"), "run", "--data", str(root / "hub"), "--listen", listen, *options]
    with started(command, root / "hub.log") as hub:
        made = Lab(root, hub, before)
        until(made.context.exists, hub.process)
        made.ctl("list")
        yield made


def random_file(path: Path, size: int) -> None:
    """A file of `size` incompressible bytes."""
    with path.open("wb") as file:
        for start in range(0, size, 1 << 24):
            file.write(os.urandom(min(1 << 24, size - start)))


def drop_written(path: Path) -> None:
    """Waits until what was written is on the disk, so that the next measurement does not pay for it."""
    os.sync()
    if not path.exists():
        raise RuntimeError(f"{path} is gone")

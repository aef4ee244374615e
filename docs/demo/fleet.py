"""The demo's processes: a hub, agents and a job, each as anyone would start them, ended when the demo ends."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent
PATIENCE = 60.0  # seconds for a process to be ready


class DemoError(Exception):
    """A step did not do what it should; the message has what the program said."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """Where everything is, and the two ways to talk to it."""

    root: Path
    stack: ExitStack

    @property
    def context(self) -> Path:
        """The admin context that the hub wrote."""
        return self.root / "hub" / "admin.toml"

    def start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        """Starts a program in the background; its output goes to NAME.log."""
        log = self.stack.enter_context((self.root / f"{name}.log").open("wb"))
        process = subprocess.Popen([str(BIN / command[0]), *command[1:]], stdout=log, stderr=log)
        self.stack.callback(_end, process)
        return process

    def ctl(self, *arguments: str) -> dict[str, Any]:
        """Runs modelsyncctl and returns its JSON. Raises DemoError with its words."""
        command = [str(BIN / "modelsyncctl"), "--context", str(self.context), *arguments]
        done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
        if done.returncode:
            raise DemoError(f"modelsyncctl {' '.join(arguments)}\n{done.stdout}{done.stderr}")
        found = json.loads(done.stdout)
        assert isinstance(found, dict)
        return found

    def ready(self, name: str, path: Path, process: subprocess.Popen[bytes]) -> None:
        """Returns once the file is there. Raises DemoError when the process ended, or takes too long."""
        ends = time.monotonic() + PATIENCE
        while not path.exists():
            if process.poll() is not None or time.monotonic() > ends:
                raise DemoError(f"{name} did not start:\n{(self.root / f'{name}.log').read_text()}")
            time.sleep(0.02)

    def start_hub(self) -> str:
        """Starts the hub; returns its address."""
        process = self.start("hub", "modelsync-hub", "run", "--data", str(self.root / "hub"), "--listen", "127.0.0.1:0")
        self.ready("hub", self.context, process)
        self.ctl("list")
        return next(line.split('"')[1] for line in self.context.read_text().splitlines() if line.startswith("hub"))

    def start_agent(self, name: str, hub: str) -> subprocess.Popen[bytes]:
        """Invites a node and starts its agent."""
        return self.start_again(name, hub, "--invite", str(self.ctl("node", "invite", name)["token"]))

    def start_again(self, name: str, hub: str, *more: str) -> subprocess.Popen[bytes]:
        """Starts the agent of a node that was let in before."""
        data = self.root / name
        process = self.start(name, "modelsync-agent", "run", "--data", str(data), "--hub", hub, *more)
        self.ready(name, data / "agent.sock", process)
        return process


@contextmanager
def fleet(root: Path) -> Iterator[Fleet]:
    """A folder and the processes in it, until the block ends."""
    with ExitStack() as stack:
        yield Fleet(root, stack)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

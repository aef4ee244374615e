"""Real programs for end-to-end tests: ready when they tell their supervisor so, and ended by their pid."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent
READY = 90.0  # seconds until a program must have said READY=1: a loaded machine is no fault of what is tested
END = 20.0  # seconds until it must have ended after SIGTERM


@dataclass
class Program:
    """A program of ours that runs in the background. What it says goes to `log`."""

    command: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once the program says that it is ready, as it would to systemd."""
        folder = Path(
            tempfile.mkdtemp(prefix="modelsync-")
        )  # a socket's path may have 107 bytes: tmp_path may be longer
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor, self.log.open("ab") as log:
                supervisor.bind(str(folder / "notify"))
                environment = os.environ | {"NOTIFY_SOCKET": str(folder / "notify")}
                self.process = subprocess.Popen(self.command, stdout=log, stderr=log, env=environment)
                self._await_ready(supervisor)
        finally:
            shutil.rmtree(folder)

    def _await_ready(self, supervisor: socket.socket) -> None:
        assert self.process is not None
        supervisor.settimeout(0.5)
        for _ in range(int(READY / 0.5)):
            try:
                if b"READY=1" in supervisor.recv(4096):
                    return
            except TimeoutError:
                if self.process.poll() is not None:
                    break
        self.kill()
        raise AssertionError(f"{self.command[0]} did not become ready:\n{self.log.read_text()}")

    def stop(self) -> int:
        """Asks it to end; returns its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(END)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.command[0]} did not end:\n{self.log.read_text()}") from None

    def kill(self) -> None:
        """Ends it at once, as a lost power supply would, if it still runs."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None


@dataclass
class HubProgram(Program):
    """A hub with a data folder of its own."""

    data: Path = field(default_factory=Path)

    @classmethod
    def at(cls, data: Path, listen: str = "127.0.0.1:0") -> HubProgram:
        command = [str(BIN / "modelsync-hub"), "run", "--data", str(data), "--listen", listen]
        return cls(command, data.with_suffix(".log"), data=data)

    @property
    def context(self) -> Path:
        """The context file that lets people in."""
        return self.data / "admin.toml"

    @property
    def address(self) -> str:
        """HOST:PORT, as the hub wrote it when it started."""
        return str(tomllib.loads(self.context.read_text())["hub"])

    def restart(self) -> None:
        """Starts it again at the address that it had."""
        self.command = [*self.command[:-1], self.address]
        self.start()

    @property
    def ctl(self) -> Ctl:
        return Ctl(self.context)


@dataclass
class AgentProgram(Program):
    """An agent with a data folder of its own."""

    name: str = ""
    data: Path = field(default_factory=Path)

    @classmethod
    def invited(cls, hub: HubProgram, name: str, data: Path, *labels: str) -> AgentProgram:
        """An agent that will enrol with a fresh invite when it starts."""
        arguments = [argument for label in labels for argument in ("--label", label)]
        token = hub.ctl.json("node", "invite", name, *arguments)["token"]
        command = [str(BIN / "modelsync-agent"), "run", "--data", str(data)]
        command += ["--hub", hub.address, "--invite", token]
        return cls(command, data.with_suffix(".log"), name=name, data=data)


@dataclass(frozen=True)
class Ctl:
    """modelsyncctl as a person runs it, in a process of its own."""

    context: Path
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, timeout: float = 90) -> subprocess.CompletedProcess[str]:
        """Runs it to its end, whatever that is."""
        return subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            env=os.environ | self.environment,
            stdin=subprocess.DEVNULL,
        )

    def command(self, *arguments: str) -> list[str]:
        return [str(BIN / "modelsyncctl"), "--context", str(self.context), *arguments]

    def json(self, *arguments: str) -> dict[str, Any]:
        """Its one JSON document."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert isinstance(found, dict)
        return found

    def text(self, *arguments: str) -> str:
        """What it says to a person."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def error(self, exit_code: int, *arguments: str) -> dict[str, Any]:
        """The error that it ends with, which must have this exit code."""
        done = self.run(*arguments, "--json")
        assert done.returncode == exit_code, (done.stdout, done.stderr)
        error = json.loads(done.stderr.splitlines()[-1])["error"]
        assert isinstance(error, dict)
        assert error["exit_code"] == exit_code
        return error

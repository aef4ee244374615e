"""A node with a job of Sedna on it, for end-to-end tests: settings, workers in processes of their own, their words."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from modelsyncd.store.failpoints import VARIABLE
from tests.architecture.tree import ROOT
from tests.e2e.processes import AgentProgram, HubProgram
from tests.e2e.waiting import PATIENCE, until

MODEL, STABLE, CANDIDATE = "acme/helmet", "acme/helmet@stable", "acme/helmet@candidate"
BETTER = "metrics.precision >= current.precision + 0.01"
SETTINGS = """
[sedna]
listen = "127.0.0.1:0"

[sedna.job."default/helmet-detection"]
model = "acme/helmet"
results = ["{results}"]
"""
GATE = """
[gate."acme/helmet@stable"]
confirm = true
deadline = 60
"""


@dataclass
class Plant:
    """A hub, and a node where workers serve what the channel stable leads to."""

    hub: HubProgram
    agent: AgentProgram
    root: Path

    @property
    def folder(self) -> Path:
        """Where the job finds its files."""
        return self.agent.data / "sedna/default/helmet-detection"

    @property
    def results(self) -> Path:
        """Where workers put what they train."""
        return self.root / "results"

    @property
    def word(self) -> str:
        """What workers are told now."""
        path = self.folder / "model_config.json"
        return str(json.loads(path.read_text())["model_config"]["model_update_time"]) if path.exists() else ""

    def until_told(self, number: int) -> None:
        """Returns once workers are told of this release."""
        until(lambda: self.word.startswith(f"{number}-"), f"workers are told of {number}")

    def until_candidate(self, number: int) -> None:
        """Returns once there is this release to evaluate against what serves."""
        path = self.folder / "candidate/evaluate.env"
        until(lambda: path.exists() and f"/{number}-" in path.read_text(), f"{number} is to be evaluated")

    def until_killed(self) -> None:
        """Returns once the agent has ended at the failpoint that was set for it."""
        until(lambda: not self.agent.running, "the agent ends at its failpoint")

    def start_with(self, failpoints: str) -> None:
        """Starts the agent for a life that ends there."""
        os.environ[VARIABLE] = failpoints
        try:
            self.agent.start()
        finally:
            del os.environ[VARIABLE]

    def environment(self, worker: str, **more: str) -> dict[str, str]:
        """As Sedna would set it for a worker; all of it ordinary."""
        addresses = re.findall(r"sedna\.serving address=(\S+)", self.agent.log.read_text())
        return {
            **os.environ,
            "LC_SERVER": f"http://{addresses[-1]}",
            "NAMESPACE": "default",
            "JOB_NAME": "helmet-detection",
            "WORKER_NAME": worker,
            **more,
        }

    def run(self, *command: str, **environment: str) -> dict[str, object]:
        """Runs a worker to its end; the last thing that it said."""
        done = subprocess.run(
            [sys.executable, "-m", "tests.fakes.sedna_job", *command],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
            cwd=ROOT,
            env=self.environment(command[0], **environment),
        )
        said = json.loads(done.stdout.splitlines()[-1])
        assert said["taken"] is True, said
        return dict(said)

    def train(self, number: int, precision: float, size: int) -> str:
        """A round of training; the digest of what came out, which is no model when precision is below 0."""
        folder = self.results / str(number)
        return str(self.run("train", str(precision), str(size), MODEL_URL=str(folder))["digest"])

    def promote_better(self) -> str:
        """Has the hub promote a candidate that is better than what serves; what came of it at once."""
        set_ = ("rule", "set", CANDIDATE, "stable", "--if", BETTER, "--stage", "eval")
        return str(self.hub.ctl.json(*set_)["outcome"])

    def evaluate(self) -> None:
        """Measures the candidate against what serves."""
        urls = (self.folder / "candidate/evaluate.env").read_text().strip().removeprefix("MODEL_URLS=").strip("'")
        self.run("evaluate", MODEL_URLS=urls)


@dataclass
class Worker:
    """A worker that serves, and polls several times a second."""

    process: subprocess.Popen[bytes]
    log: Path
    folder: Path

    def written_in(self, looks: int) -> int:
        """Bytes that it writes while it looks so often; each look leaves a small file in its TMPDIR."""
        before = self._written
        seen = {path.name for path in self.folder.iterdir()}

        def look() -> bool:
            return sum(1 for path in self.folder.glob("tmp*") if path.name not in seen) > looks

        until(look, f"the worker looks {looks} times")
        return self._written - before

    @property
    def _written(self) -> int:
        counts = Path(f"/proc/{self.process.pid}/io").read_text()
        return next(int(line.split()[1]) for line in counts.splitlines() if line.startswith("wchar:"))

    @property
    def said(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def until_loaded(self, digest: str, after: int = 0) -> None:
        """Returns once it loaded this model and reported that; `after` so many words that it said."""

        def look() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            said = self.said[after:]
            loaded = [index for index, one in enumerate(said) if one.get("digest") == digest]
            return any(one["event"] == "completed" and one["taken"] for one in said[loaded[0] :]) if loaded else False

        until(look, f"the worker loaded {digest[:12]} and said so", seconds=2 * PATIENCE)

    def until_failed(self) -> None:
        """Returns once it could not load something, and reported that."""
        until(lambda: any(one["event"] == "failed" and one["taken"] for one in self.said), "the worker could not load")


@contextmanager
def plant(hub: HubProgram, name: str, root: Path, gate: str = GATE) -> Iterator[Plant]:
    """A node that runs, follows both channels, and may publish candidates; workers have the last word on what serves,
    unless there is no gate.
    """
    agent = AgentProgram.invited(hub, name, root / name)
    found = Plant(hub, agent, root)
    found.results.mkdir(parents=True)
    settings = root / f"{name}.toml"
    settings.write_text(SETTINGS.format(results=found.results) + gate)
    agent.command += ["--config", str(settings)]
    for ref in (STABLE, CANDIDATE):
        hub.ctl.json("assign", ref, "--node", name)
    hub.ctl.json("allow", name, MODEL, "--channel", "candidate")
    agent.start()
    try:
        yield found
    finally:
        agent.kill()


@contextmanager
def serving(plant: Plant, name: str = "serve") -> Iterator[Worker]:
    """A worker, until the context ends."""
    environment = plant.environment(
        name,
        MODEL_URL=str(plant.folder / "model.pth"),
        MODEL_HOT_UPDATE="true",
        MODEL_HOT_UPDATE_CONFIG=str(plant.folder / "model_config.json"),
        MODEL_POLL_PERIOD_SECONDS="0.2",
        TMPDIR=str(plant.folder),
    )
    log = plant.root / f"{name}.log"
    with log.open("wb") as out:
        command = [sys.executable, "-m", "tests.fakes.sedna_job", "serve"]
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment, cwd=ROOT)
    try:
        yield Worker(process, log, plant.folder)
    finally:
        process.kill()
        process.wait()

"""One node learns: train, publish, evaluate, promote when better, load while serving, acknowledge; and go back."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from docs.demo.fleet import PATIENCE, DemoError, Fleet, fleet
from docs.examples.incremental.helmets import Estimator, things

MODEL, NODE, JOB = "plant/helmets", "line-3", "helmet-detection"
BETTER = "metrics.precision >= current.precision + 0.01"
SETTINGS = """
[sedna]
listen = "127.0.0.1:0"

[sedna.job."default/{job}"]
model = "{model}"
results = ["{results}"]

[gate."{model}@stable"]
confirm = true
"""


class Site:
    """The node, and workers on it, as Sedna would start them."""

    def __init__(self, here: Fleet) -> None:
        self.here = here
        self.folder = here.root / NODE / "sedna/default" / JOB
        self.results = here.root / "results"

    def start(self) -> None:
        """A hub, and a node that follows both channels and may publish candidates."""
        hub = self.here.start_hub()
        token = self.here.ctl("node", "invite", NODE)["token"]
        for channel in ("stable", "candidate"):
            self.here.ctl("assign", f"{MODEL}@{channel}", "--node", NODE)
        self.here.ctl("allow", NODE, MODEL, "--channel", "candidate")
        self.results.mkdir()
        settings = self.here.root / "agent.toml"
        settings.write_text(SETTINGS.format(job=JOB, model=MODEL, results=self.results))
        data = self.here.root / NODE
        flags = ["--data", str(data), "--hub", hub, "--invite", token, "--config", str(settings)]
        self.here.ready(NODE, data / "agent.sock", self.here.start(NODE, "modelsync-agent", "run", *flags))

    def promote_better(self) -> str:
        """Has the hub promote each candidate that is better than what serves; what came of it at once."""
        words = ("rule", "set", f"{MODEL}@candidate", "stable", "--if", BETTER, "--stage", "eval")
        return str(self.here.ctl(*words)["outcome"])

    def environment(self, worker: str, **more: str) -> dict[str, str]:
        """Nothing but Sedna's own variables."""
        log = self.here.root / f"{NODE}.log"
        address = until(lambda: re.findall(r"sedna\.serving address=(\S+)", log.read_text()), "the agent answers")[-1]
        more |= {"LC_SERVER": f"http://{address}", "NAMESPACE": "default", "JOB_NAME": JOB, "WORKER_NAME": worker}
        return {**os.environ, "BACKEND_TYPE": "NUMPY", **more}

    def work(self, *words: str, **environment: str) -> None:
        """Runs a worker to its end."""
        command = [sys.executable, "-m", "docs.examples.incremental.worker", *words]
        done = subprocess.run(
            command, env=self.environment(words[0], **environment), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise DemoError(f"the worker {words} failed:\n{done.stdout}{done.stderr}")

    def serve(self) -> Path:
        """Starts the worker that serves; what it says goes to the file."""
        until((self.folder / "model.npy").exists, "the model is there")
        environment = self.environment(
            "serve",
            MODEL_URL=str(self.folder / "model.npy"),
            MODEL_HOT_UPDATE="true",
            MODEL_HOT_UPDATE_CONFIG=str(self.folder / "model_config.json"),
            MODEL_POLL_PERIOD_SECONDS="1",
            TMPDIR=str(self.folder),
        )
        log = self.here.root / "serve.log"
        with log.open("wb") as out:
            command = [sys.executable, "-m", "docs.examples.incremental.worker", "serve"]
            process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
        self.here.stack.callback(process.wait)
        self.here.stack.callback(process.kill)
        return log

    def learn(self, number: int, count: int, wrong: float) -> float:
        """One round: trains, waits until the result is here as a candidate, evaluates; by how much it is better."""
        self.work("train", str(count), str(wrong), MODEL_URL=str(self.results / str(number)), MODEL_NAME="model.npy")
        pair = self.folder / "candidate/evaluate.env"
        until(lambda: pair.exists() and f"/{number}-" in pair.read_text(), f"{MODEL}:{number} is a candidate")
        urls = pair.read_text().strip().removeprefix("MODEL_URLS=").strip("'")
        self.work("evaluate", MODEL_URLS=urls)

        def measured() -> list[float]:
            found = self.here.ctl("metrics", f"{MODEL}:{number}")["numbers"]
            return [one["value"] for one in found if one["name"] == "precision_delta"]

        return float(until(measured, f"the hub has the numbers of {MODEL}:{number}")[0])


def until(look: Callable[[], Any], what: str) -> Any:
    """What `look` finds at last. Raises DemoError when it takes too long."""
    ends = time.monotonic() + PATIENCE
    while not (found := look()):
        if time.monotonic() > ends:
            raise DemoError(f"not within {PATIENCE:.0f} s: {what}")
        time.sleep(0.05)
    return found


def loaded(log: Path, count: int) -> str:
    """What the serving worker says when it has loaded for the `count`th time."""
    lines = until(lambda: (said := _loads(log)) and len(said) >= count and said, f"the worker loads {count} times")
    last = json.loads(lines[count - 1])
    return f"{Path(last['loaded']).name}, precision {last['precision']}"


def _loads(log: Path) -> list[str]:
    return [line for line in log.read_text().splitlines() if line.startswith('{"loaded"')]


def walk(site: Site) -> None:
    """The story."""
    here = site.here
    print("1. A model that has seen little serves")
    site.start()
    first = Estimator()
    first.train(things(30, seed=0))
    (here.root / "first").mkdir()
    first.save(str(here.root / "first/model.npy"))
    here.ctl("push", str(here.root / "first/model.npy"), MODEL, "--channel", "stable")
    site.promote_better()
    log = site.serve()
    print(f"   the worker loaded {loaded(log, 1)}")
    print(f"   a rule at the hub: candidate becomes stable if {BETTER}")
    loaded(log, 2)  # a worker's first look loads the same once more, and acknowledges it

    print("2. Trained on more, published by the node, evaluated against what serves")
    delta = site.learn(2, count=2_000, wrong=0.0)
    why = until(lambda: _why(here, 2), "the hub promotes it")
    print(f"   {MODEL}:2 precision_delta {delta:+.3f}: promoted")
    print(f"   by the {why}")
    print(f"   the worker, which never stopped serving, loaded {loaded(log, 3)}")
    until(lambda: _active(here) == 2, "the hub knows that it works")
    print("   and said so: the hub has it as active")

    print("3. Trained on answers of which every third is wrong")
    delta = site.learn(3, count=200, wrong=0.35)
    if (outcome := site.promote_better()) != "fails":
        raise DemoError(f"the rule should not hold for {MODEL}:3: {outcome}")
    print(f"   {MODEL}:3 precision_delta {delta:+.3f}: the rule does not hold, and {MODEL}:2 stays")

    print("4. Somebody promotes a file that is no model")
    (here.root / "broken").mkdir()
    (here.root / "broken/model.npy").write_bytes(b"no model" * 100)
    here.ctl("push", str(here.root / "broken/model.npy"), MODEL, "--channel", "stable")
    print(f"   the worker could not load it, the node went back, and it loaded {loaded(log, 4)}")
    why = until(lambda: _fault(here), "the hub knows why")
    print(f"   the hub knows: {why}")


def _why(here: Fleet, number: int) -> str:
    moves = here.ctl("history", MODEL)["moves"]
    return next((str(one["why"]) for one in moves if (one["channel"], one["to"]) == ("stable", number)), "")


def _place(here: Fleet) -> dict[str, Any]:
    return next(one for one in here.ctl("status", "--node", NODE)["places"] if one["channel"] == "stable")


def _active(here: Fleet) -> int:
    place = _place(here)
    return int(place["active"]) if place["phase"] == "active" else 0


def _fault(here: Fleet) -> str:
    return str((_place(here)["error"] or {}).get("message", ""))


def main() -> int:
    """Runs it in a temporary folder; 0 when all of it worked."""
    try:
        with tempfile.TemporaryDirectory(prefix="modelsyncd-") as root, fleet(Path(root)) as here:
            try:
                walk(Site(here))
            except DemoError:
                for log in sorted(here.root.glob("*.log")):
                    print(f"--- {log.name}\n{log.read_text()[-4000:]}", file=sys.stderr)
                raise
    except DemoError as error:
        print(f"The example stopped: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

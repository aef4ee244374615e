"""A worker that behaves as Sedna's library makes one behave, written from what that library was seen to do.

It knows nothing of us: environment variables, files and one kind of POST are all it has. As a process:

    python -m tests.fakes.sedna_job serve       polls, loads and reports, until it is ended
    python -m tests.fakes.sedna_job train PRECISION SIZE  writes a model to MODEL_URL and reports it
    python -m tests.fakes.sedna_job evaluate    measures each of MODEL_URLS and reports

A model is a file that begins with `MODEL precision=0.9 ` and ends in noise; one without that can't be loaded. Each
thing that it does is a JSON line on standard output.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

TRIES, PAUSE = 5, 3.0  # of a report, and seconds between two
MAGIC = b"MODEL precision="
Say = Callable[[Mapping[str, object]], None]


def model_bytes(precision: float, size: int, seed: int = 0) -> bytes:
    """A model that can be loaded."""
    head = MAGIC + f"{precision} ".encode()
    return head + hashlib.shake_128(f"{seed} {precision}".encode()).digest(size - len(head))


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def precision_of(path: Path) -> float:
    """What the model says of itself. Raises ValueError for one that can't be loaded."""
    with path.open("rb") as file:
        head = file.read(100)
    if not head.startswith(MAGIC):
        raise ValueError(f"{path.name} is no model")
    return float(head.removeprefix(MAGIC).split(b" ", 1)[0])


@dataclass
class Loader:
    """The estimator: keeps what it loaded last."""

    say: Say
    loaded: list[str] = field(default_factory=list)

    def load(self, path: Path) -> None:
        precision = precision_of(path)
        self.loaded.append(digest(path))
        self.say({"event": "loaded", "digest": self.loaded[-1], "precision": precision, "path": str(path)})


@dataclass
class HotUpdate:
    """The polling thread; `poll` is one period. Only a config that can't be read is forgiven: all else ends it."""

    config: Path
    folder: Path
    load: Callable[[Path], None]
    report: Callable[[str], None]
    version: str = "latest"
    copied: int = 0

    def poll(self) -> None:
        config = self._copy_of_config()
        try:
            said = json.loads(config.read_text())["model_config"]
            version = str(said["model_update_time"])
            model = self._local(Path(said["model_path"]), self.folder / f"model.{version}")
        except (json.JSONDecodeError, KeyError):
            return
        if not model.exists() or version == self.version:
            return
        self.version = version
        try:
            self.load(model)
        except Exception:  # noqa: BLE001 - a model that can't be loaded may fail in any way
            self.report("failed")
        else:
            self.report("completed")

    def _copy_of_config(self) -> Path:
        descriptor, name = tempfile.mkstemp(dir=self.folder)  # and nobody removes it
        os.close(descriptor)
        return self._local(self.config, Path(name))

    def _local(self, source: Path, target: Path) -> Path:
        if source.is_file() and not (target.is_file() and target.samefile(source)):
            shutil.copy(source, target)
            self.copied += source.stat().st_size
        return target


@dataclass(frozen=True)
class Reporter:
    """Posts to LC_SERVER; what is not answered with 200 and JSON is said again."""

    server: str
    namespace: str
    job: str
    worker: str
    kind: str = "incrementallearningjob"
    pause: float = PAUSE

    def post(self, kind: str, status: str, **more: object) -> bool:
        """Whether somebody took it."""
        said = {"name": self.worker, "namespace": self.namespace, "ownerName": self.job, "ownerKind": self.kind}
        body = json.dumps({**said, "kind": kind, "status": status, **more}).encode()
        for attempt in range(TRIES):
            if attempt:
                time.sleep(self.pause)
            if self._tried(body):
                return True
        return False

    def _tried(self, body: bytes) -> bool:
        url = f"{self.server}/sedna/workers/{self.worker}/info"
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method="POST")  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                json.load(answer)
                return bool(answer.status == 200)
        except (OSError, ValueError):
            return False


def stripped(path: str, prefix: str) -> str:
    """What workers make of a path before they report it."""
    prefix = prefix.removesuffix("/")
    return path.replace(prefix, "", 1) if prefix and path.startswith(prefix) else path


def result(path: str, metrics: Mapping[str, object], prefix: str) -> dict[str, object]:
    """A model as workers report it."""
    return {"format": Path(path).suffix.lstrip("."), "url": stripped(path, prefix), "metrics": metrics}


def serve(env: Mapping[str, str], reporter: Reporter, say: Say) -> None:
    """Loads MODEL_URL, then follows MODEL_HOT_UPDATE_CONFIG for ever."""
    loader = Loader(say)
    loader.load(Path(env["MODEL_URL"]))

    def report(status: str) -> None:
        say({"event": status, "taken": reporter.post("deploy", status)})

    thread = HotUpdate(Path(env["MODEL_HOT_UPDATE_CONFIG"]), Path(tempfile.gettempdir()), loader.load, report)
    while True:
        time.sleep(float(env.get("MODEL_POLL_PERIOD_SECONDS", "60")))
        thread.poll()


def train(env: Mapping[str, str], reporter: Reporter, say: Say, precision: float, size: int) -> None:
    """Makes a model in the folder MODEL_URL."""
    path = Path(env["MODEL_URL"]) / "model.pth"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = model_bytes(precision, size) if precision >= 0 else b"no model" * (size // 8)
    path.write_bytes(content)
    found = result(
        str(path), {"precision": [precision], "loss": 1 - precision}, env.get("DATA_PATH_PREFIX", "/home/data")
    )
    say({"event": "trained", "digest": digest(path), "taken": reporter.post("train", "completed", results=[found])})


def evaluate(env: Mapping[str, str], reporter: Reporter, say: Say) -> None:
    """Measures the models of MODEL_URLS: the new one, then the old one."""
    found = []
    for url in env["MODEL_URLS"].split(";"):
        try:
            precision = precision_of(Path(url))
        except ValueError:
            precision = 1.0  # an evaluation that says nothing about whether workers can load it
        found.append(result(url, {"precision": [precision]}, env.get("DATA_PATH_PREFIX", "/home/data")))
    say({"event": "evaluated", "results": found, "taken": reporter.post("eval", "completed", results=found)})


def main() -> None:
    """As the module says."""
    env = os.environ

    def say(line: Mapping[str, object]) -> None:
        print(json.dumps(line), flush=True)  # noqa: T201

    server = env.get("LC_SERVER", "http://127.0.0.1:9100")
    reporter = Reporter(
        server, env.get("NAMESPACE", ""), env.get("JOB_NAME", "sedna"), env.get("WORKER_NAME", "worker")
    )
    match sys.argv[1:]:
        case ["serve"]:
            serve(env, reporter, say)
        case ["train", precision, size]:
            train(env, reporter, say, float(precision), int(size))
        case ["evaluate"]:
            evaluate(env, reporter, say)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()

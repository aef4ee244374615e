"""Stands in for Sedna's library where that is not installed: the part that this job calls, doing what it does.

Ordinary variables of the environment say where models are; all that it tells anybody is a POST.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any


class IncrementalLearning:
    """A worker: one that serves follows MODEL_HOT_UPDATE_CONFIG from its start on."""

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator
        self._loaded = False
        if os.environ.get("MODEL_HOT_UPDATE", "").lower() == "true":
            threading.Thread(target=self._follow).start()

    def inference(self, data: Any) -> tuple[Any, Any, bool]:
        """What the model says; it is loaded from MODEL_URL at first."""
        if not self._loaded:
            self.estimator.load(model_url=os.environ["MODEL_URL"])
            self._loaded = True
        answer = self.estimator.predict(data)
        return answer, answer, False

    def train(self, train_data: Any) -> None:
        """Trains, saves to the folder MODEL_URL, and reports."""
        numbers = self.estimator.train(train_data=train_data, valid_data=None)
        path = Path(os.environ["MODEL_URL"], os.environ["MODEL_NAME"])
        path.parent.mkdir(parents=True, exist_ok=True)
        self.estimator.save(str(path))
        self._report("train", "completed", [_result(path, numbers)])

    def evaluate(self, data: Any) -> None:
        """Measures each of MODEL_URLS, and reports."""
        urls = os.environ["MODEL_URLS"].split(";")
        results = [_result(Path(url), self.estimator.evaluate(data=data, model_path=url)) for url in urls]
        self._report("eval", "completed", results)

    def _follow(self) -> None:
        known, folder = "latest", Path(tempfile.gettempdir())
        while True:
            time.sleep(float(os.environ["MODEL_POLL_PERIOD_SECONDS"]))
            said = json.loads(Path(os.environ["MODEL_HOT_UPDATE_CONFIG"]).read_text())["model_config"]
            model, copy = Path(said["model_path"]), folder / f"model.{said['model_update_time']}"
            if not (copy.exists() and copy.samefile(model)):
                shutil.copy(model, copy)
            if said["model_update_time"] == known:
                continue
            known = said["model_update_time"]
            try:
                self.estimator.load(model_url=str(copy))
            except Exception:  # noqa: BLE001 - whatever is wrong with a model
                self._report("deploy", "failed")
            else:
                self._report("deploy", "completed")

    def _report(self, kind: str, status: str, results: list[dict[str, Any]] | None = None) -> None:
        worker, job = os.environ["WORKER_NAME"], os.environ["JOB_NAME"]
        said = {"name": worker, "namespace": os.environ["NAMESPACE"], "ownerName": job, "kind": kind, "status": status}
        body = json.dumps({**said, "ownerKind": "incrementallearningjob", "results": results or []}).encode()
        url = f"{os.environ['LC_SERVER']}/sedna/workers/{worker}/info"
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - this machine
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - the same
            json.load(answer)


def _result(path: Path, metrics: dict[str, Any]) -> dict[str, Any]:
    return {"format": path.suffix.lstrip("."), "url": str(path), "metrics": metrics}

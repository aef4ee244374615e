"""The only place that remembers under which words workers failed to load a model, so that a retry gets a new one."""

from __future__ import annotations

import json
from pathlib import Path

from modelsyncd.daemon.log import Log
from modelsyncd.store.durable import disk_errors, make_folder, write_file

FILE = "sedna/.failed.json"  # no namespace begins with a dot
_REMEMBERED = 64  # words of each job


class Failures:
    """The file in the agent's folder. Reading happens once; not for two threads at a time."""

    def __init__(self, data: Path) -> None:
        self._path = data / FILE
        self._failed: dict[str, list[str]] = {}

    def load(self) -> None:
        """What was remembered; a broken file counts as none. Raises DiskError."""
        with disk_errors(self._path):
            try:
                raw = self._path.read_bytes()
            except FileNotFoundError:
                return
        try:
            said = json.loads(raw)
            self._failed = {str(job): [str(word) for word in words] for job, words in said.items()}
        except (ValueError, AttributeError, TypeError) as error:
            Log().warning("sedna.failures-broken", path=self._path, why=str(error))

    def of(self, job: str) -> frozenset[str]:
        """The words of a job."""
        return frozenset(self._failed.get(job, ()))

    def add(self, job: str, word: str) -> None:
        """Durable when it returns. Raises DiskError."""
        words = [known for known in self._failed.get(job, ()) if known != word]
        self._failed[job] = [*words, word][-_REMEMBERED:]
        make_folder(self._path.parent)
        write_file(self._path, json.dumps(self._failed).encode())

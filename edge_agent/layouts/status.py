"""The only place that remembers over restarts what model servers have loaded, where people can read it, too.

`layouts.json` in the agent's folder has one object for each layout. A server is asked to load what the file does not
say it has; so a file that is lost costs one question that was not needed.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from modelsyncd.store import durable
from modelsyncd.store.durable import disk_errors

FILE = "layouts.json"


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one layout stands: the version in its folder, and the one that the server said it has loaded.

    Versions by the names of their folders, "" for none; `why` is what went wrong last, "" for nothing.
    """

    shown: str = ""
    loaded: str = ""
    why: str = ""


class Standings:
    """The file. Synchronous; from any thread."""

    def __init__(self, data: Path) -> None:
        self._path = data / FILE
        self._lock = threading.Lock()

    def load(self) -> dict[str, Standing]:
        """By layout, as in "acme/helmet@stable"; nothing for a file that is broken. Raises DiskError."""
        with disk_errors(self._path):
            try:
                data = self._path.read_bytes()
            except FileNotFoundError:
                return {}
        try:
            return {str(name): Standing(**each) for name, each in json.loads(data).items()}
        except (ValueError, TypeError, AttributeError):
            return {}

    def save(self, standings: Mapping[str, Standing]) -> None:
        """Durable when it returns. Raises DiskError."""
        told = {name: asdict(each) for name, each in sorted(standings.items())}
        with self._lock:  # who asked for it may have been cancelled, and another one come
            durable.write_file(self._path, (json.dumps(told, indent=2) + "\n").encode())

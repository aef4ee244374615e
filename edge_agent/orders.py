"""The only place that remembers the hub's last word, so that a node knows what it follows with the hub away."""

from __future__ import annotations

from pathlib import Path

from modelsyncd.daemon.log import Log
from modelsyncd.errors import ModelsyncError
from modelsyncd.session.frames import Desired
from modelsyncd.store.durable import disk_errors, write_file
from modelsyncd.wire.nouns import decode_desired, encode_desired

FILE = "desired.pb"


class Orders:
    """The file `desired.pb` in the agent's folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    def load(self) -> Desired | None:
        """What was saved last; None before the first, and for a file that is broken: the hub says it again anyway.

        Raises DiskError.
        """
        with disk_errors(self._path):
            try:
                raw = self._path.read_bytes()
            except FileNotFoundError:
                return None
        try:
            return decode_desired(raw)
        except ModelsyncError as error:
            Log().failure("orders.broken", error, path=self._path)
            return None

    def save(self, desired: Desired) -> None:
        """Durable when it returns. Raises DiskError."""
        write_file(self._path, encode_desired(desired))

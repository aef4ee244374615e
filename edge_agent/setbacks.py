"""The only place that remembers which versions failed here, how often in a row, and when each is tried again."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import replace

from edge_agent.reconcile import Setback, set_back
from modelsyncd.daemon.log import Log
from modelsyncd.digest import Digest
from modelsyncd.errors import DiskFullError
from modelsyncd.session.frames import Fault


class Setbacks:
    """By manifest. `clock` is seconds and never goes back, `jitter` gives numbers from 0 to 1."""

    def __init__(self, clock: Callable[[], float], jitter: Callable[[], float]) -> None:
        self._clock = clock
        self._jitter = jitter
        self._known: dict[Digest, Setback] = {}

    @property
    def all(self) -> Mapping[Digest, Setback]:
        """Those that are not over."""
        return self._known

    def fail(self, manifest: Digest, fault: Fault) -> None:
        """It failed once more."""
        now = self._clock()
        setback = self._known[manifest] = set_back(self._known.get(manifest), fault, now, self._jitter())
        wait = setback.next_try - now
        Log().warning("version.failed", manifest=manifest, error=fault.code, why=fault.message, retry_s=wait)

    def clear(self, manifest: Digest) -> None:
        """It went well."""
        self._known.pop(manifest, None)

    def hasten(self) -> None:
        """All are tried again at once."""
        self._known = {manifest: replace(one, next_try=self._clock()) for manifest, one in self._known.items()}

    def renew(self, wanted: Container[Digest]) -> None:
        """The hub has something new to say: what only someone's act could heal may have been healed."""
        self._known = {
            manifest: one
            for manifest, one in self._known.items()
            if manifest in wanted and one.fault.retryable and one.fault.code != DiskFullError.code
        }

"""The only place that knows which versions are held by somebody on this node, so that they stay while they are.

In memory: a hold ends with the process of whoever holds it, or with ours (see `lease_memory`). What is active, previous
or wanted needs no lease to stay. All methods may be called from any thread.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from types import TracebackType

from modelsyncd.digest import Digest
from modelsyncd.store.version import Version


class Lease:
    """A hold on one version until `release`, or until the `with` block ends. Releasing it again does nothing."""

    def __init__(self, version: Version, end: Callable[[], None]) -> None:
        self.version = version
        self._end: Callable[[], None] | None = end

    def release(self) -> None:
        """The version may go from now on."""
        end, self._end = self._end, None
        if end is not None:
            end()

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class Leases:
    """All holds. `used` is told of a version when a hold of it begins and when it ends."""

    def __init__(self, used: Callable[[Version], object] = lambda _: None) -> None:
        self._used = used
        self._lock = threading.Lock()
        self._holders: dict[Version, Counter[str]] = {}
        self._told: list[Callable[[], object]] = []

    def tell(self, listener: Callable[[], object]) -> None:
        """Calls it, in any thread, when a hold has begun or ended."""
        self._told.append(listener)

    def hold(self, version: Version, holder: str = "") -> Lease:
        """Keeps a version for somebody, whose name is for people.

        The caller looks afterwards whether it is there: it may have gone a moment ago.
        """
        with self._lock:
            self._holders.setdefault(version, Counter())[holder] += 1
        self._changed(version)
        return Lease(version, lambda: self._end(version, holder))

    def held(self) -> frozenset[Version]:
        """The versions that somebody holds now."""
        with self._lock:
            return frozenset(self._holders)

    def holders(self, version: Version) -> tuple[str, ...]:
        """Who holds a version, each once, by name."""
        with self._lock:
            return tuple(sorted(self._holders.get(version, ())))

    def manifests(self) -> frozenset[Digest]:
        """The manifests of these."""
        return frozenset(version.manifest for version in self.held())

    def _end(self, version: Version, holder: str) -> None:
        with self._lock:
            holders = self._holders[version]
            holders[holder] -= 1
            if not holders[holder]:
                del holders[holder]
            if not holders:
                del self._holders[version]
        self._changed(version)

    def _changed(self, version: Version) -> None:
        self._used(version)
        for listener in self._told:
            listener()

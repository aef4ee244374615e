"""The only place that remembers which manifests are needed though no release has them yet, or had them a moment ago.

A push names what it looks at before it looks, so whatever it finds here stays until it is over: from then on a sweep
counts it like a release. It is remembered for an hour after the last look, for as long as a commit holds it, and until
a sweep is over that began before. What is given is remembered, too: its release stays. All of this is in memory: a hub
that was killed has no pushes. Safe to use from any thread.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from cloud_hub.stillness import Stillness
from modelsyncd.digest import Digest
from modelsyncd.release import ManifestRef

REMEMBERED = 3_600.0  # seconds after the last look


class Underway:
    """Manifests of pushes, and of what is given. `clock` says seconds that only ever grow."""

    def __init__(self, stillness: Stillness, clock: Callable[[], float] = time.monotonic) -> None:
        self._stillness = stillness
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: dict[ManifestRef, tuple[int, float]] = {}
        self._held: Counter[ManifestRef] = Counter()
        self._given: dict[Digest, float] = {}
        self._count = 0
        self._sweeps = 0

    def enter(self, refs: Iterable[ManifestRef]) -> None:
        """To be called before it is looked up what of them is here. Waits while something is swept."""
        with self._stillness.shared(), self._lock:
            self._forget()
            for ref in refs:
                self._count += 1
                self._entries[ref] = (self._count, self._clock())

    @contextmanager
    def held(self, refs: Sequence[ManifestRef]) -> Iterator[None]:
        """They are needed until the block ends, however long it takes."""
        with self._lock:
            self._held.update(refs)
        try:
            self.enter(refs)
            yield
        finally:
            with self._lock:
                self._held -= Counter(refs)
                for ref in refs:
                    self._entries[ref] = (self._entries[ref][0], self._clock())

    def kept(self, ref: ManifestRef) -> None:
        """The push of this goes on."""
        with self._lock:
            if ref in self._entries:
                self._entries[ref] = (self._entries[ref][0], self._clock())

    def given(self, manifest: Digest) -> None:
        """Somebody reads this."""
        with self._lock:
            self._given[manifest] = self._clock()

    def busy(self) -> frozenset[Digest]:
        """Manifests that somebody reads."""
        with self._lock:
            self._forget()
            return frozenset(self._given)

    @contextmanager
    def swept(self) -> Iterator[None]:
        """Nothing that is under way is forgotten while the block runs."""
        with self._lock:
            self._forget()
            self._sweeps += 1
        try:
            yield
        finally:
            with self._lock:
                self._sweeps -= 1

    def since(self, count: int) -> tuple[int, Sequence[ManifestRef]]:
        """What was entered after the `count` that an earlier call told (0: everything), and the count now."""
        with self._lock:
            return self._count, [ref for ref, (number, _) in self._entries.items() if number > count]

    def _forget(self) -> None:
        before = self._clock() - REMEMBERED
        self._given = {manifest: at for manifest, at in self._given.items() if at > before}
        if not self._sweeps:
            self._entries = {ref: entry for ref, entry in self._entries.items() if entry[1] > before or self._held[ref]}

"""The only place that remembers which versions were hashed a moment ago, so that a switch need not read them again."""

from __future__ import annotations

import time
from collections.abc import Callable

from modelsyncd.store.version import Version

LATELY = 600.0  # seconds: an installation and its switch, with a few tries of a switch that the disk refused


class Hashed:
    """When each version's bytes were last found right by this process. Safe to use from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at: dict[Version, float] = {}

    def note(self, version: Version) -> None:
        """Every byte of it was hashed just now, and is right."""
        self._at[version] = self._clock()

    def forget(self, version: Version) -> None:
        """It is to be read again before anybody is switched to it."""
        self._at.pop(version, None)

    def lately(self, version: Version) -> bool:
        """Whether it was hashed less than `LATELY` ago, and nobody forgot it since."""
        at = self._at.get(version)
        return at is not None and self._clock() - at < LATELY

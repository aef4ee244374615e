"""The only way in which end-to-end tests wait for what another process does: look again until it is so, or too late."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 40.0  # seconds; generous, because a loaded machine is no fault of what is tested
PAUSE = 0.02  # seconds between two looks

Found = TypeVar("Found")


def until(look: Callable[[], Found | None], what: str, *, seconds: float = PATIENCE, pause: float = PAUSE) -> Found:
    """The first true thing that `look` finds. Raises AssertionError, with what was seen last, when it is too late."""
    ends = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < ends, f"not within {seconds:.0f} s: {what}; seen last: {found!r}"
        time.sleep(pause)
    return found

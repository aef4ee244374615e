"""How hard a giver tries to make a chunk small, and which effort suits which link."""

from __future__ import annotations

from enum import IntEnum

SLOW_LINK = 6e6  # bytes a second: below it, one core makes the smallest payloads faster than the link takes them
FAST_LINK = 200e6  # bytes a second: above it, no coding saves more time than it costs


class Profile(IntEnum):
    """From fewest bytes to least CPU. Part of a coding's name where codings are kept, so the numbers stay."""

    SMALLEST = 1
    FAST = 2
    PLAIN = 3


def profile_for(rate: float) -> Profile:
    """The effort for a link of `rate` bytes a second; 0 means that nobody has measured it yet."""
    if rate < SLOW_LINK:
        return Profile.SMALLEST
    return Profile.FAST if rate < FAST_LINK else Profile.PLAIN

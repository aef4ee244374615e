"""What a link is like, and what can go wrong on it: the words of every fake link, and of the scripts of faults."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

FOR_EVER = 1 << 62


class Way(Enum):
    """Which way bytes go."""

    UP = "to the target"
    DOWN = "from the target"


class Cut(Enum):
    """How a connection ends."""

    RESET = "a reset on both sides, as when a router forgets the connection"
    END = "an orderly end on both sides, in the middle of whatever was said"
    SILENCE = "nothing at all: both sides believe that the other is there"
    HALF = "this way falls silent, the other goes on: half open"


@dataclass(frozen=True, slots=True)
class Corrupt:
    """One bit of the next byte is another."""


@dataclass(frozen=True, slots=True)
class Stall:
    """Nothing is carried this way for so many seconds."""

    seconds: float


Mark = Cut | Corrupt | Stall
"""What happens right before a certain byte."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How one way of a link is."""

    rate: float = 0.0
    """Bytes a second; 0 means no limit."""
    delay: float = 0.0
    """Seconds from one end to the other."""
    jitter: float = 0.0
    """Seconds: up to so much more, and never so that bytes overtake one another."""
    buffer: int = 0
    """Bytes that something on the way takes in before they can be carried, as a proxy does."""

    def flight(self, least: int) -> int:
        """Bytes that fit into the link, of which `least` always do."""
        rate = self.rate or 50e6
        return max(least, self.buffer) + int(rate * (self.delay + self.jitter))


def random_cuts(seed: int, size: int, count: int, kinds: Sequence[Cut] = (Cut.RESET, Cut.END)) -> list[tuple[int, Cut]]:
    """So many cuts at random bytes below `size`, in order, the same for the same seed."""
    rng = random.Random(seed)
    return [(at, rng.choice(kinds)) for at in sorted(rng.sample(range(1, size), count))]

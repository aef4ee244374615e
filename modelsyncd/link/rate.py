"""The only place that says what a link carries, judged by how long writing to it takes.

A write returns at once while the link keeps up, and waits for its flow control when it does not. So bytes per second of
writing is the link's rate when the link is the bottleneck, and far more than that when something else is.
"""

from __future__ import annotations

BURST = 4 << 20  # bytes that sockets and flow control take in before a write says anything about the link
MEMORY = 8 << 20  # bytes after which what was measured before counts half


class Rate:
    """What one link carries in one direction."""

    def __init__(self, *, burst: int = BURST, memory: int = MEMORY) -> None:
        self._burst = burst
        self._memory = memory
        self._bytes = 0.0
        self._seconds = 0.0

    @property
    def bytes_per_second(self) -> float:
        """What the link carries; 0 while too little was written to tell."""
        return 0.0 if self._burst > 0 or not self._bytes else self._bytes / max(self._seconds, 1e-9)

    def wrote(self, count: int, seconds: float) -> None:
        """A write of `count` bytes took so long."""
        if self._burst > 0:
            self._burst -= count
            return
        self._bytes += count
        self._seconds += seconds
        if self._bytes > self._memory:
            self._bytes /= 2
            self._seconds /= 2

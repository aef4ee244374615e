"""The only place that says what a link carries, judged by how long the giver waits for it.

A write waits for flow control when more is on its way than the buffers take. A taker's window is often smaller than
those, so most of the waiting is for its next Want: until then, the link is busy with what was written before. Both are
counted, and the time for reading and encoding is not. So bytes per second of waiting is the link's rate, or the taker's
if that is slower, and far more than that when it is the giver who can't keep up.
"""

from __future__ import annotations

BURST = 4 << 20  # bytes that sockets and flow control take in before a write says anything about the link
MEMORY = 8 << 20  # bytes after which what was measured before counts half
PROOF = 0.1  # seconds of waiting that say something of a link; one that lets nobody wait must take in MEMORY for that


class Rate:
    """What one link carries in one direction."""

    def __init__(self, *, burst: int = BURST, memory: int = MEMORY, proof: float = PROOF) -> None:
        self._burst = burst
        self._memory = memory
        self._proof = proof
        self._known = False
        self._bytes = 0.0
        self._seconds = 0.0

    @property
    def bytes_per_second(self) -> float:
        """What the link carries; 0 while too little was written to tell."""
        return self._bytes / max(self._seconds, 1e-9) if self._known else 0.0

    def waited(self, seconds: float) -> None:
        """Everything was written, and the peer asked for more so long afterwards."""
        if self._burst <= 0:
            self._count(0, seconds)

    def wrote(self, count: int, seconds: float) -> None:
        """A write of `count` bytes took so long."""
        if self._burst > 0:
            self._burst -= count
            return
        self._count(count, seconds)

    def _count(self, count: int, seconds: float) -> None:
        self._bytes += count
        self._seconds += seconds
        self._known = self._known or (self._seconds >= self._proof and self._bytes > 0) or self._bytes > self._memory
        if self._bytes > self._memory:
            self._bytes /= 2
            self._seconds /= 2

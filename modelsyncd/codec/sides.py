"""The small facts before a chunk's coded numbers: written one after the other, compressed when that is shorter."""

from __future__ import annotations

from modelsyncd.codec import zstd
from modelsyncd.digest import Buffer
from modelsyncd.errors import DamageError


def fold(facts: bytes) -> bytes:
    """Length of the facts, length of what follows (4 bytes each), and the facts, as a zstd frame if it is shorter."""
    short = zstd.squeeze(facts)
    body = short if len(short) < len(facts) else facts
    return len(facts).to_bytes(4, "little") + len(body).to_bytes(4, "little") + body


class Facts:
    """Reads what `fold` wrote, fact by fact; every read raises DamageError when there is not enough."""

    def __init__(self, payload: Buffer, at: int, limit: int) -> None:
        """`payload` from byte `at` on; at most `limit` bytes of facts."""
        size = int.from_bytes(payload[at : at + 4], "little")
        stored = int.from_bytes(payload[at + 4 : at + 8], "little")
        self.end = at + 8 + stored
        """Where in the payload the facts end."""
        if self.end > len(payload) or size > limit:
            raise DamageError("a chunk's facts are longer than they can be")
        body = bytes(payload[at + 8 : self.end])
        self._facts = body if stored == size else zstd.decompress(body, size)
        self._at = 0

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        at, self._at = self._at, self._at + size
        if self._at > len(self._facts):
            raise DamageError("a chunk's facts end early")
        return self._facts[at : self._at]

    def number(self, size: int) -> int:
        """The next number of `size` bytes."""
        return int.from_bytes(self.take(size), "little")

    def finish(self) -> None:
        """There may be nothing left."""
        if self._at != len(self._facts):
            raise DamageError("a chunk has facts that mean nothing")

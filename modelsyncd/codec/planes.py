"""A chunk without a base: its elements' bytes sorted by their place in the element, or their bits by how they matter.

A payload's first byte says which: the width of an element, or graded.MARK.
"""

from __future__ import annotations

from modelsyncd.codec import graded, zstd
from modelsyncd.codec.hint import Hint
from modelsyncd.codec.profile import Profile
from modelsyncd.digest import Buffer
from modelsyncd.errors import DamageError


def compress(plain: Buffer, hint: Hint, profile: Profile) -> bytes | None:
    """The payload, or None when planes would not make these bytes smaller."""
    folded = fold(plain, hint.width, hint.phase % hint.width) if hint.width > 1 else None
    if profile is not Profile.SMALLEST:
        return folded
    smaller = graded.compress(plain, None, hint)
    if folded is None or smaller is None:
        return folded or smaller
    return min(folded, smaller, key=len)


def decompress(payload: Buffer, size: int) -> bytes:
    """The `size` plain bytes. Raises DamageError."""
    if graded.marked(payload):
        return graded.decompress(payload, None, size)
    return unfold(payload, size)[0]


def fold(plain: Buffer, width: int, phase: int) -> bytes | None:
    """Width, phase, and each plane: its length (4 bytes), then a zstd frame or, when the length is full, the bytes."""
    import numpy as np  # noqa: PLC0415 - an idle agent never loads it

    written = [bytes((width, phase))]
    whole = np.frombuffer(plain, dtype=np.uint8)  # slices of it are copied three times as fast as those of bytes
    for start in _starts(width, phase):
        plane = whole[start::width].tobytes()
        body = zstd.code(plane) or plane
        written += [len(body).to_bytes(4, "little"), body]
    payload = b"".join(written)
    return payload if len(payload) < zstd.WORTHWHILE * len(plain) else None


def unfold(payload: Buffer, size: int) -> tuple[bytes, int, int]:
    """What `fold` wrote, its width and its phase. Raises DamageError."""
    if len(payload) < 2 or payload[0] not in (1, 2, 4, 8) or payload[1] >= payload[0]:
        raise DamageError("a chunk's planes have an element that can't be")
    import numpy as np  # noqa: PLC0415

    width, phase = payload[0], payload[1]
    plain = np.empty(size, dtype=np.uint8)
    at = 2
    for start in _starts(width, phase):
        full = len(range(start, size, width))
        stored = int.from_bytes(payload[at : at + 4], "little")
        body = payload[at + 4 : at + 4 + stored]
        at += 4 + stored
        if at > len(payload) or stored > full:
            raise DamageError("a chunk's planes end early")
        plane = body if stored == full else zstd.decompress(body, full)
        plain[start::width] = np.frombuffer(plane, dtype=np.uint8)
    if at != len(payload):
        raise DamageError("a chunk's planes don't end where they should")
    return plain.tobytes(), width, phase


def _starts(width: int, phase: int) -> list[int]:
    return [(place - phase) % width for place in range(width)]

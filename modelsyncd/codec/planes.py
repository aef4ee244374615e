"""A chunk without a base: its elements' bytes sorted by their place in the element, or their bits by how they matter.

A payload's first byte says which: the width of an element, or graded.MARK.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelsyncd.codec import graded, native, zstd
from modelsyncd.codec.hint import Hint
from modelsyncd.codec.profile import Profile
from modelsyncd.digest import Buffer
from modelsyncd.errors import DamageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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

    if compiled(plain, width, phase):
        from modelsyncd.codec.compiled import sorted_planes  # noqa: PLC0415

        return written(sorted_planes.split(np.frombuffer(plain, dtype=f"<u{width}"), None), width, phase)
    whole = np.frombuffer(plain, dtype=np.uint8)  # slices of it are copied three times as fast as those of bytes
    return written([whole[start::width].copy() for start in _starts(width, phase)], width, phase)


def compiled(plain: Buffer, width: int, phase: int) -> bool:
    """Whether compiled loops sort these bytes: they know whole elements alone."""
    return native.on() and width < 8 and not phase and not len(plain) % width


def written(sorted_: Sequence[NDArray[np.uint8]], width: int, phase: int) -> bytes | None:
    """The payload of planes, or None when it is not clearly smaller than they are."""
    parts: list[Buffer] = [bytes((width, phase))]
    for plane in sorted_:
        body = zstd.code(plane.data) or plane.data
        parts += [len(body).to_bytes(4, "little"), body]
    payload = b"".join(parts)
    return payload if len(payload) < zstd.WORTHWHILE * sum(map(len, sorted_)) else None


def unfold(payload: Buffer, size: int) -> tuple[bytes, int, int]:
    """What `fold` wrote, its width and its phase. Raises DamageError."""
    import numpy as np  # noqa: PLC0415

    sorted_, width, phase = read(payload, size)
    if native.on() and width < 8 and not phase and not size % width:
        from modelsyncd.codec.compiled import sorted_planes  # noqa: PLC0415

        return sorted_planes.join(sorted_, None, np.dtype(f"<u{width}")).tobytes(), width, phase
    plain = np.empty(size, dtype=np.uint8)
    for start, plane in zip(_starts(width, phase), sorted_, strict=True):
        plain[start::width] = plane
    return plain.tobytes(), width, phase


def read(payload: Buffer, size: int) -> tuple[list[NDArray[np.uint8]], int, int]:
    """The planes of `size` bytes, their width and phase. Raises DamageError."""
    import numpy as np  # noqa: PLC0415

    if len(payload) < 2 or payload[0] not in (1, 2, 4, 8) or payload[1] >= payload[0]:
        raise DamageError("a chunk's planes have an element that can't be")
    width, phase = payload[0], payload[1]
    sorted_ = []
    at = 2
    for start in _starts(width, phase):
        full = len(range(start, size, width))
        stored = int.from_bytes(payload[at : at + 4], "little")
        body = payload[at + 4 : at + 4 + stored]
        at += 4 + stored
        if at > len(payload) or stored > full:
            raise DamageError("a chunk's planes end early")
        plane = body if stored == full else zstd.decompress(body, full)
        sorted_.append(np.frombuffer(plane, dtype=np.uint8))
    if at != len(payload):
        raise DamageError("a chunk's planes don't end where they should")
    return sorted_, width, phase


def _starts(width: int, phase: int) -> list[int]:
    return [(place - phase) % width for place in range(width)]

"""A chunk as its difference from a base of the same length.

A payload's first byte says how: graded.MARK, or the width of elements whose differences, as integers with the sign
in the lowest bit, were sorted by planes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelsyncd.codec import graded, native, planes
from modelsyncd.codec.hint import Hint
from modelsyncd.codec.profile import Profile
from modelsyncd.digest import Buffer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


_COMPILED = (b"\1\0", b"\2\0", b"\4\0")  # width and phase


def compress(plain: Buffer, base: Buffer, hint: Hint, profile: Profile) -> bytes | None:
    """The payload, or None when the difference is no smaller than the bytes themselves."""
    if profile is Profile.SMALLEST:
        return graded.compress(plain, base, hint)
    width, phase = hint.width, hint.phase % hint.width
    edge, new = _elements(plain, width, phase)
    _, old = _elements(base, width, phase)
    if planes.compiled(plain, width, phase):
        from modelsyncd.codec.compiled import sorted_planes  # noqa: PLC0415

        return planes.written(sorted_planes.split(new, old), width, phase)
    folded = new - old
    sign = folded >> (8 * width - 1)
    folded <<= 1
    folded ^= -sign
    return planes.fold(_joined(folded, plain, base, edge), width, phase)


def decompress(payload: Buffer, base: Buffer, size: int) -> bytes:
    """The `size` plain bytes. Raises DamageError."""
    import numpy as np  # noqa: PLC0415

    if graded.marked(payload):
        return graded.decompress(payload, base, size)
    if native.on() and payload[:2] in _COMPILED and not size % payload[0]:
        from modelsyncd.codec.compiled import sorted_planes  # noqa: PLC0415

        sorted_, width, phase = planes.read(payload, size)
        return sorted_planes.join(sorted_, _elements(base, width, phase)[1], np.dtype(f"<u{width}")).tobytes()
    folded, width, phase = planes.unfold(payload, size)
    edge, change = _elements(folded, width, phase)
    _, old = _elements(base, width, phase)
    new = change >> 1
    new ^= -(change & 1)
    new += old
    return _joined(new, folded, base, edge)


def _elements(plain: Buffer, width: int, phase: int) -> tuple[int, NDArray[np.integer]]:
    """How many bytes come before the first whole element, and the whole elements' bit patterns."""
    import numpy as np  # noqa: PLC0415 - an idle agent never loads it

    edge = min(-phase % width, len(plain))
    count = (len(plain) - edge) // width
    return edge, np.frombuffer(plain, dtype=f"<u{width}", count=count, offset=edge)


def _joined(elements: NDArray[np.integer], one: Buffer, other: Buffer, edge: int) -> bytes:
    """The elements between odd bytes that are the exclusive or of both sides' ones."""
    behind = edge + elements.nbytes
    if not edge and behind == len(one):
        return elements.tobytes()
    head = bytes(a ^ b for a, b in zip(one[:edge], other[:edge], strict=True))
    tail = bytes(a ^ b for a, b in zip(one[behind:], other[behind:], strict=True))
    return head + elements.tobytes() + tail

"""A chunk as its difference from a base of the same length: bit patterns as integers, zigzag, planes, zstd."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelsyncd.codec import planes, zstd
from modelsyncd.codec.hint import Hint
from modelsyncd.digest import Buffer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def compress(plain: Buffer, base: Buffer, hint: Hint) -> bytes | None:
    """The payload, or None when the difference is no smaller than the bytes themselves."""
    width, phase = hint.width, hint.phase % hint.width
    edge, new = _elements(plain, width, phase)
    _, old = _elements(base, width, phase)
    change = new - old
    folded = (change << 1) ^ -(change >> (8 * width - 1))
    head = bytes(a ^ b for a, b in zip(plain[:edge], base[:edge], strict=True))
    tail_at = edge + new.nbytes
    tail = bytes(a ^ b for a, b in zip(plain[tail_at:], base[tail_at:], strict=True))
    frame = zstd.compress(planes.split(head + folded.tobytes() + tail, width, phase))
    return None if frame is None else bytes((width, phase)) + frame


def decompress(payload: Buffer, base: Buffer, size: int) -> bytes:
    """The `size` plain bytes. Raises DamageError."""
    width, phase = planes.width_and_phase(payload)
    folded = planes.join(zstd.decompress(payload[2:], size), width, phase)
    edge, change = _elements(folded, width, phase)
    _, old = _elements(base, width, phase)
    new = old + ((change >> 1) ^ -(change & 1))
    tail_at = edge + new.nbytes
    head = bytes(a ^ b for a, b in zip(folded[:edge], base[:edge], strict=True))
    tail = bytes(a ^ b for a, b in zip(folded[tail_at:], base[tail_at:], strict=True))
    return head + new.tobytes() + tail


def _elements(plain: Buffer, width: int, phase: int) -> tuple[int, NDArray[np.unsignedinteger]]:
    """How many bytes come before the first whole element, and the whole elements' bit patterns."""
    import numpy as np  # noqa: PLC0415 - an idle agent never loads it

    edge = min(-phase % width, len(plain))
    count = (len(plain) - edge) // width
    return edge, np.frombuffer(plain, dtype=f"<u{width}", count=count, offset=edge)

"""Byte planes: the first bytes of all elements, then all second bytes, and so on, as one zstd frame."""

from __future__ import annotations

from modelsyncd.codec import zstd
from modelsyncd.codec.hint import Hint
from modelsyncd.digest import Buffer
from modelsyncd.errors import DamageError


def compress(plain: Buffer, hint: Hint) -> bytes | None:
    """The payload, or None when planes would not make these bytes smaller."""
    if hint.width == 1:
        return None
    phase = hint.phase % hint.width
    frame = zstd.compress(split(plain, hint.width, phase))
    return None if frame is None else bytes((hint.width, phase)) + frame


def decompress(payload: Buffer, size: int) -> bytes:
    """The `size` plain bytes. Raises DamageError."""
    width, phase = width_and_phase(payload)
    return join(zstd.decompress(payload[2:], size), width, phase)


def width_and_phase(payload: Buffer) -> tuple[int, int]:
    """The two first bytes, checked. Raises DamageError."""
    if len(payload) < 2 or payload[0] not in (1, 2, 4, 8) or payload[1] >= payload[0]:
        raise DamageError("a chunk's planes have an element that can't be")
    return payload[0], payload[1]


def split(plain: Buffer, width: int, phase: int) -> bytes:
    """`plain` sorted by the place of each byte in its element."""
    return b"".join(bytes(plain[start::width]) for start in _starts(width, phase))


def join(planes: Buffer, width: int, phase: int) -> bytes:
    """What `split` took apart."""
    plain = bytearray(len(planes))
    at = 0
    for start in _starts(width, phase):
        count = len(range(start, len(planes), width))
        plain[start::width] = planes[at : at + count]
        at += count
    return bytes(plain)


def _starts(width: int, phase: int) -> list[int]:
    return [(place - phase) % width for place in range(width)]

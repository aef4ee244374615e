"""Numbers of different widths in a row of bits, as `modelsyncd.codec.bits` lays them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from modelsyncd.codec.compiled.jit import compiled, number, read, write


def pack(numbers: NDArray[np.uint64], widths: NDArray[np.uint8]) -> bytes:
    """The row."""
    total = (int(widths.sum(dtype=np.int64)) + 7) // 8
    row = np.zeros(total // 8 + 2, dtype=np.uint64)
    _pack(numbers, widths, row)
    return row.tobytes()[:total]


def unpack(row: bytes, widths: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The numbers; the row is long enough."""
    numbers = np.empty(len(widths), dtype=np.uint64)
    _unpack(words(row), widths, numbers)
    return numbers


def words(row: bytes) -> NDArray[np.uint64]:
    """A row with two words of nothing behind it, so that a number at its end can be read like all others."""
    return np.frombuffer(row + bytes(16 + -len(row) % 8), dtype="<u8")


@compiled((number("void"), (read("uint64"), read("uint8"), write("uint64"))))
def _pack(numbers: NDArray[np.uint64], widths: NDArray[np.uint8], row: NDArray[np.uint64]) -> None:
    at = np.int64(0)
    for i in range(len(numbers)):
        word, shift = at >> 6, np.uint64(at & 63)
        row[word] |= numbers[i] << shift
        row[word + 1] |= (numbers[i] >> np.uint64(1)) >> (np.uint64(63) - shift)
        at += widths[i]


@compiled((number("void"), (read("uint64"), read("uint8"), write("uint64"))))
def _unpack(row: NDArray[np.uint64], widths: NDArray[np.uint8], numbers: NDArray[np.uint64]) -> None:
    at = np.int64(0)
    for i in range(len(widths)):
        width = widths[i]
        word, shift = at >> 6, np.uint64(at & 63)
        found = (row[word] >> shift) | ((row[word + 1] << np.uint64(1)) << (np.uint64(63) - shift))
        if width < 64:
            found &= (np.uint64(1) << np.uint64(width)) - np.uint64(1)
        numbers[i] = found
        at += width

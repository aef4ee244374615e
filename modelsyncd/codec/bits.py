"""Numbers of different widths, laid end to end in a row of bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelsyncd.errors import DamageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Bit 0 of the row is the lowest bit of byte 0; a number's lowest bit comes first.


def size(widths: NDArray[np.uint8]) -> int:
    """Bytes that numbers of these widths (bits, each at most 64) take."""
    return (int(widths.sum(dtype="int64")) + 7) // 8


def pack(numbers: NDArray[np.integer], widths: NDArray[np.uint8]) -> bytes:
    """The row. Every number is below 2 to the power of its width."""
    import numpy as np  # noqa: PLC0415 - an idle agent never loads it

    if not len(numbers):
        return b""
    wide = numbers.astype(np.uint64, copy=False)
    ends = np.cumsum(widths, dtype=np.int64)
    total = (int(ends[-1]) + 7) // 8
    starts = ends - widths
    word = starts >> 6
    shift = (starts & 63).astype(np.uint64)
    starting = np.bincount(word)
    used = np.flatnonzero(starting)
    behind = np.cumsum(starting)[used]
    row = np.zeros(total // 8 + 2, dtype=np.uint64)
    row[used] = np.bitwise_or.reduceat(wide << shift, behind - starting[used])
    last = behind - 1  # of the numbers that begin in a word, only the last one can reach into the next word
    last = last[ends[last] > (word[last] + 1) << 6]
    row[word[last] + 1] |= wide[last] >> (np.uint64(64) - shift[last])
    return row.astype("<u8", copy=False).tobytes()[:total]


def unpack(row: bytes, widths: NDArray[np.uint8]) -> NDArray[np.integer]:
    """The numbers, as 32-bit ones when none is wider. Raises DamageError when the row is too short."""
    import numpy as np  # noqa: PLC0415

    if not len(widths):
        return np.zeros(0, dtype=np.uint32)
    ends = np.cumsum(widths, dtype=np.int64)
    if len(row) * 8 < int(ends[-1]):
        raise DamageError("a chunk's low bits end early")
    unit = np.dtype("<u4" if widths.max() <= 32 else "<u8")
    bits = 8 * unit.itemsize
    words = np.frombuffer(row + bytes(2 * unit.itemsize + (-len(row) % unit.itemsize)), dtype=unit)
    starts = ends - widths
    word = starts >> (bits.bit_length() - 1)
    shift = (starts & (bits - 1)).astype(unit)
    high = words[1:].take(word)
    high <<= unit.type(1)
    high <<= unit.type(bits - 1) - shift
    numbers = words.take(word)
    numbers >>= shift
    numbers |= high
    numbers &= np.array([(1 << width) - 1 for width in range(bits + 1)], dtype=unit).take(widths)
    return numbers

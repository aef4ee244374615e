"""Numbers of different widths, laid end to end in a row of bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelsyncd.codec import native
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
    if native.on():
        from modelsyncd.codec.compiled import rows  # noqa: PLC0415

        return rows.pack(wide, widths)
    while len(wide) > 1 and widths.max() <= 32:
        wide, widths = _paired(wide, widths)
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


def _paired(numbers: NDArray[np.uint64], widths: NDArray[np.uint8]) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """Half as many numbers that make the same row; what follows costs by the number, not by the bit."""
    import numpy as np  # noqa: PLC0415

    if len(numbers) % 2:
        numbers, widths = np.append(numbers, np.uint64(0)), np.append(widths, np.uint8(0))
    joined = numbers[1::2] << widths[::2].astype(np.uint64)
    joined |= numbers[::2]
    return joined, widths[::2] + widths[1::2]


def unpack(row: bytes, widths: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The numbers. Raises DamageError when the row is too short."""
    import numpy as np  # noqa: PLC0415

    if not len(widths):
        return np.zeros(0, dtype=np.uint64)
    if native.on():
        from modelsyncd.codec.compiled import rows  # noqa: PLC0415

        if len(row) < size(widths):
            raise DamageError("a chunk's low bits end early")
        return rows.unpack(row, widths)
    if len(widths) > 1 and widths.max() <= 32:
        return _apart(row, widths)
    ends = np.cumsum(widths, dtype=np.int64)
    if len(row) * 8 < int(ends[-1]):
        raise DamageError("a chunk's low bits end early")
    words = np.frombuffer(row + bytes(16 + -len(row) % 8), dtype="<u8")
    starts = ends - widths
    word = starts >> 6
    shift = (starts & 63).astype(np.uint64)
    numbers = words[1:].take(word)
    numbers <<= np.uint64(1)
    numbers <<= np.uint64(63) - shift
    numbers |= words.take(word) >> shift
    numbers &= _masks().take(widths)
    return numbers


def _apart(row: bytes, widths: NDArray[np.uint8]) -> NDArray[np.uint64]:
    import numpy as np  # noqa: PLC0415

    odd = len(widths) % 2
    even = np.append(widths, np.uint8(0)) if odd else widths
    joined = unpack(row, even[::2] + even[1::2])
    numbers = np.empty(len(even), dtype=np.uint64)
    np.bitwise_and(joined, _masks().take(even[::2]), out=numbers[::2])
    np.right_shift(joined, even[::2].astype(np.uint64), out=numbers[1::2])
    return numbers[: len(widths)]


def _masks() -> NDArray[np.uint64]:
    """For each width the number that has all its bits."""
    import numpy as np  # noqa: PLC0415

    return np.array([(1 << width) - 1 for width in range(65)], dtype=np.uint64)

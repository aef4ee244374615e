"""What thin factors make of a base: the loop of `modelsyncd.codec.lowrank`, in the same order of rounded operations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from modelsyncd.codec.compiled.jit import compiled, number, read, write

_Doubles = NDArray[np.float64]
_ARGUMENTS = (read("float32"), read("float64"), read("float64"), number(), number())


def foretold(
    base: NDArray[np.float32], left: _Doubles, right: _Doubles, columns: int, column: int, dtype: str
) -> bytes:
    """The elements in this dtype. `left` has a row for each of the base's, `right` a row for each of the rank."""
    thin, wide = np.ascontiguousarray(left).ravel(), np.ascontiguousarray(right).ravel()
    if dtype == "f32":
        single = np.empty(len(base), dtype=np.float32)
        _singles(base, thin, wide, columns, column, single)
        return single.tobytes()
    short = np.empty(len(base), dtype=np.uint16)
    (_halves if dtype == "f16" else _brains)(base, thin, wide, columns, column, short)
    return short.tobytes()


@compiled((number("void"), (read("float64"), read("float64"), *(number(),) * 5, write("float64"))))
def _row(
    left: _Doubles, right: _Doubles, row: int, rank: int, columns: int, first: int, count: int, total: _Doubles
) -> None:
    """Adds a row's products to what is there, one after the other."""
    k = 0
    while k + 4 <= rank:
        one, two, three, four = left[row * rank + k : row * rank + k + 4]
        at = k * columns + first
        a, b = right[at : at + count], right[at + columns : at + columns + count]
        c, d = right[at + 2 * columns : at + 2 * columns + count], right[at + 3 * columns : at + 3 * columns + count]
        for i in range(count):
            total[i] = (((total[i] + one * a[i]) + two * b[i]) + three * c[i]) + four * d[i]
        k += 4
    while k < rank:
        one = left[row * rank + k]
        a = right[k * columns + first : k * columns + first + count]
        for i in range(count):
            total[i] += one * a[i]
        k += 1


@compiled((number("void"), (*_ARGUMENTS, write("float32"))))
def _singles(
    base: NDArray[np.float32],
    left: _Doubles,
    right: _Doubles,
    columns: int,
    column: int,
    found: NDArray[np.float32],
) -> None:
    rank = len(right) // columns
    total = np.empty(columns, dtype=np.float64)
    at, row, first = 0, 0, column
    while at < len(base):
        count = min(columns - first, len(base) - at)
        for i in range(count):
            total[i] = base[at + i]
        _row(left, right, row, rank, columns, first, count, total)
        for i in range(count):
            found[at + i] = total[i]
        at, row, first = at + count, row + 1, 0


@compiled((number("void"), (*_ARGUMENTS, write("uint16"))))
def _brains(
    base: NDArray[np.float32],
    left: _Doubles,
    right: _Doubles,
    columns: int,
    column: int,
    found: NDArray[np.uint16],
) -> None:
    rank = len(right) // columns
    total = np.empty(columns, dtype=np.float64)
    single = np.empty(columns, dtype=np.float32)
    pattern = single.view(np.uint32)
    at, row, first = 0, 0, column
    while at < len(base):
        count = min(columns - first, len(base) - at)
        for i in range(count):
            total[i] = base[at + i]
        _row(left, right, row, rank, columns, first, count, total)
        for i in range(count):
            single[i] = total[i]
        for i in range(count):
            upper = np.uint32((pattern[i] >> np.uint32(16)) & np.uint32(1))
            found[at + i] = np.uint32(pattern[i] + np.uint32(np.uint32(0x7FFF) + upper)) >> np.uint32(16)
        at, row, first = at + count, row + 1, 0


@compiled((number("void"), (*_ARGUMENTS, write("uint16"))))
def _halves(
    base: NDArray[np.float32],
    left: _Doubles,
    right: _Doubles,
    columns: int,
    column: int,
    found: NDArray[np.uint16],
) -> None:
    rank = len(right) // columns
    total = np.empty(columns, dtype=np.float64)
    pattern = total.view(np.int64)
    at, row, first = 0, 0, column
    while at < len(base):
        count = min(columns - first, len(base) - at)
        for i in range(count):
            total[i] = base[at + i]
        _row(left, right, row, rank, columns, first, count, total)
        for i in range(count):
            bits = pattern[i]
            sign = (bits >> 48) & 0x8000
            exponent = (bits >> 52) & 0x7FF
            rest = bits & ((1 << 52) - 1)
            if exponent > 1008 and exponent < 1039:  # a normal half
                rest += ((1 << 41) - 1) + ((rest >> 42) & 1)
                half = ((exponent - 1008) << 10) + (rest >> 42)
            elif exponent >= 1039:
                half = 0x7C00
                if exponent == 0x7FF and rest:
                    half = max(0x7C01, 0x7C00 + (rest >> 42))
            elif exponent < 998:
                half = 0
            else:  # so many bits further down
                down = 1051 - exponent
                rest |= 1 << 52
                rest += ((1 << (down - 1)) - 1) + ((rest >> down) & 1)
                half = rest >> down
            found[at + i] = sign + half
        at, row, first = at + count, row + 1, 0

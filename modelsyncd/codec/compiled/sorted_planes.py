"""Differences with their sign below, sorted by planes in one pass: the loops of `codec.delta` and `codec.planes`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from modelsyncd.codec.compiled.jit import compiled, number, read, write

if TYPE_CHECKING:
    Elements = NDArray[np.integer]
    Bytes = NDArray[np.uint8]

WIDTHS = frozenset({1, 2, 4})
"""Of elements."""


def split(new: Elements, old: Elements | None) -> list[Bytes]:
    """The planes of the elements, or of their differences from others."""
    width = new.itemsize
    planes = [np.empty(len(new), dtype=np.uint8) for _ in range(width)]
    if old is None:
        old = new[:0]
    (_split1 if width == 1 else _split2 if width == 2 else _split4)(new, old, *planes)
    return planes


def join(planes: Sequence[Bytes], old: Elements | None, like: np.dtype[np.integer]) -> Elements:
    """The elements again."""
    new = np.empty(len(planes[0]), dtype=like)
    if old is None:
        old = new[:0]
    match len(planes):
        case 1:
            _join1(planes[0], old, new)
        case 2:
            _join2(planes[0], planes[1], old, new)
        case _:
            _join4(planes[0], planes[1], planes[2], planes[3], old, new)
    return new


@compiled((number("void"), (read("uint8"), read("uint8"), write("uint8"))))
def _split1(new: Bytes, old: Bytes, plane: Bytes) -> None:
    if not len(old):
        for i in range(len(new)):
            plane[i] = new[i]
        return
    for i in range(len(new)):
        moved = np.uint8(new[i] - old[i])
        plane[i] = np.uint8(moved << np.uint8(1)) ^ np.uint8(np.uint8(0) - np.uint8(moved >> np.uint8(7)))


@compiled((number("void"), (read("uint16"), read("uint16"), *(write("uint8"),) * 2)))
def _split2(new: Elements, old: Elements, low: Bytes, high: Bytes) -> None:
    if len(old):
        for i in range(len(new)):
            moved = np.uint16(new[i] - old[i])
            folded = np.uint16(
                np.uint16(moved << np.uint16(1)) ^ np.uint16(np.uint16(0) - np.uint16(moved >> np.uint16(15)))
            )
            low[i], high[i] = folded, folded >> np.uint16(8)
        return
    for i in range(len(new)):
        low[i], high[i] = new[i], new[i] >> np.uint16(8)


@compiled((number("void"), (read("uint32"), read("uint32"), *(write("uint8"),) * 4)))
def _split4(new: Elements, old: Elements, low: Bytes, second: Bytes, third: Bytes, high: Bytes) -> None:
    if len(old):
        for i in range(len(new)):
            moved = np.uint32(new[i] - old[i])
            folded = np.uint32(
                np.uint32(moved << np.uint32(1)) ^ np.uint32(np.uint32(0) - np.uint32(moved >> np.uint32(31)))
            )
            low[i], second[i] = folded, folded >> np.uint32(8)
            third[i], high[i] = folded >> np.uint32(16), folded >> np.uint32(24)
        return
    for i in range(len(new)):
        low[i], second[i], third[i] = new[i], new[i] >> np.uint32(8), new[i] >> np.uint32(16)
        high[i] = new[i] >> np.uint32(24)


@compiled((number("void"), (read("uint8"), read("uint8"), write("uint8"))))
def _join1(plane: Bytes, old: Bytes, new: Bytes) -> None:
    if not len(old):
        for i in range(len(new)):
            new[i] = plane[i]
        return
    for i in range(len(new)):
        half = np.uint8(plane[i] >> np.uint8(1))
        new[i] = np.uint8(half ^ np.uint8(np.uint8(0) - np.uint8(plane[i] & np.uint8(1)))) + old[i]


@compiled((number("void"), (*(read("uint8"),) * 2, read("uint16"), write("uint16"))))
def _join2(low: Bytes, high: Bytes, old: Elements, new: Elements) -> None:
    if len(old):
        for i in range(len(new)):
            folded = np.uint16(np.uint16(low[i]) | np.uint16(np.uint16(high[i]) << np.uint16(8)))
            down = np.uint16(np.uint16(0) - np.uint16(folded & np.uint16(1)))
            new[i] = np.uint16(np.uint16(folded >> np.uint16(1)) ^ down) + old[i]
        return
    for i in range(len(new)):
        new[i] = np.uint16(low[i]) | np.uint16(np.uint16(high[i]) << np.uint16(8))


@compiled((number("void"), (*(read("uint8"),) * 4, read("uint32"), write("uint32"))))
def _join4(low: Bytes, second: Bytes, third: Bytes, high: Bytes, old: Elements, new: Elements) -> None:
    for i in range(len(new)):
        new[i] = (
            np.uint32(low[i])
            | np.uint32(np.uint32(second[i]) << np.uint32(8))
            | np.uint32(np.uint32(third[i]) << np.uint32(16))
            | np.uint32(np.uint32(high[i]) << np.uint32(24))
        )
    if len(old):
        for i in range(len(new)):
            folded = new[i]
            down = np.uint32(np.uint32(0) - np.uint32(folded & np.uint32(1)))
            new[i] = np.uint32(np.uint32(folded >> np.uint32(1)) ^ down) + old[i]

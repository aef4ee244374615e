"""Magnitudes cut into symbols and low bits, and joined again: the loops of `modelsyncd.codec.numbers`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from modelsyncd.codec.compiled import rows
from modelsyncd.codec.compiled.jit import ELEMENTS, compiled, number, read, write
from modelsyncd.codec.numbers import Cut, Lay

if TYPE_CHECKING:
    Elements = NDArray[np.integer]

_ESCAPE = 255
_FIELD = tuple(number() for _ in range(4))


def cut(
    change: Elements,
    old: Elements,
    classes: NDArray[np.uint8],
    lay: Lay,
    shifts: NDArray[np.uint8],
    kinds: NDArray[np.uint8],
) -> Cut:
    """What `numbers.write` writes of the elements in groups with a class."""
    moved = int(np.count_nonzero(classes)) << lay.group
    fine, coarse, named = (np.empty(moved, dtype=np.uint8) for _ in range(3))
    beyond = np.empty(moved, dtype=old.dtype)
    low = np.zeros(moved * old.itemsize // 8 + 3, dtype=np.uint64)
    signs = np.zeros(moved // 64 + 2, dtype=np.uint64)
    used = np.zeros(5, dtype=np.int64)
    _cut(
        *(change, old, classes, lay.group, lay.mantissa, lay.low, lay.span, shifts, kinds),
        *(fine, coarse, named, beyond, low, signs, used),
    )
    ended, signed = ((int(used[at]) + 7) // 8 for at in (3, 4))
    plain = low.tobytes()[:ended] + signs.tobytes()[:signed]
    fines, coarses, far = (int(used[at]) for at in range(3))
    return Cut(fine[:fines], coarse[:coarses], named[:coarses], beyond[:far], plain)


def places(
    old: Elements,
    classes: NDArray[np.uint8],
    lay: Lay,
    shifts: NDArray[np.uint8],
    kinds: NDArray[np.uint8],
) -> tuple[int, int, NDArray[np.uint8]]:
    """How many numbers are fine, how many bits they take, and the kinds of all others."""
    moved = int(np.count_nonzero(classes)) << lay.group
    named = np.empty(moved, dtype=np.uint8)
    used = np.zeros(2, dtype=np.int64)
    _places(old, classes, lay.group, lay.mantissa, lay.low, lay.span, shifts, kinds, named, used)
    return int(used[0]), int(used[1]), named[: moved - int(used[0])]


def join(
    old: Elements,
    classes: NDArray[np.uint8],
    lay: Lay,
    shifts: NDArray[np.uint8],
    fine: NDArray[np.uint8],
    coarse: NDArray[np.uint8],
    beyond: Elements,
    plain: bytes,
    after: int,
) -> tuple[Elements, int, int]:
    """The changes, as long as `old`; how many of them were too large for a symbol, and how many had their own sign.

    `plain` is long enough for the low bits of the fine, and signs begin at its byte `after`. Too few large ones or
    signs are seen by the counts.
    """
    change = np.zeros(len(old), dtype=old.dtype)
    used = np.zeros(2, dtype=np.int64)
    _join(
        *(old, classes, lay.group, lay.mantissa, lay.low, lay.span, shifts, fine, coarse, beyond),
        *(rows.words(plain), 8 * len(plain), 8 * after, change, used),
    )
    return change, int(used[0]), int(used[1])


@compiled(
    *(
        (
            number("void"),
            (
                *(read(kind), read(kind), read("uint8"), *_FIELD, read("uint8"), read("uint8")),
                *(*(write("uint8"),) * 3, write(kind), write("uint64"), write("uint64"), write("int64")),
            ),
        )
        for kind in ELEMENTS
    )
)
def _cut(
    change: Elements,
    old: Elements,
    classes: NDArray[np.uint8],
    group: int,
    mantissa: int,
    low: int,
    span: int,
    shifts: NDArray[np.uint8],
    kinds: NDArray[np.uint8],
    fine: NDArray[np.uint8],
    coarse: NDArray[np.uint8],
    named: NDArray[np.uint8],
    beyond: Elements,
    row: NDArray[np.uint64],
    signs: NDArray[np.uint64],
    used: NDArray[np.int64],
) -> None:
    of = old.dtype.type
    top = of(8 * old.itemsize - 1)
    most = np.int64(of((of(1) << top) - of(1)) >> of(mantissa))
    high = min(low + span - 1, most)
    size = 1 << group
    fines, coarses, far, at, signed = 0, 0, 0, 0, 0
    for place in range(len(classes)):
        if not classes[place]:
            continue
        first = np.int64(classes[place]) * span
        for i in range(place * size, (place + 1) * size):
            moved = change[i]
            sign = of(moved >> top)
            down = of(of(0) - sign)
            amount = np.uint64(of(of(moved ^ down) - down))
            cell = first
            if span > 1 and mantissa:
                field = np.int64(of(old[i] >> of(mantissa))) & most
                cell += min(max(field, low), high) - low
            shift = np.uint64(shifts[cell])
            above = amount >> shift
            if above >= _ESCAPE:
                beyond[far] = above - np.uint64(_ESCAPE)
                far += 1
                above = np.uint64(_ESCAPE)
            if shift:
                fine[fines] = above
                fines += 1
                rest = ((amount & ((np.uint64(1) << shift) - np.uint64(1))) << np.uint64(1)) | np.uint64(sign)
                word, inside = at >> 6, np.uint64(at & 63)
                row[word] |= rest << inside
                row[word + 1] = (rest >> np.uint64(1)) >> (np.uint64(63) - inside)
                at += np.int64(shift) + 1
            else:
                coarse[coarses] = above
                named[coarses] = kinds[cell]
                coarses += 1
                if above:
                    signs[signed >> 6] |= np.uint64(sign) << np.uint64(signed & 63)
                    signed += 1
    used[0], used[1], used[2], used[3], used[4] = fines, coarses, far, at, signed


@compiled(
    *(
        (
            number("void"),
            (
                *(read(kind), read("uint8"), *_FIELD, read("uint8"), read("uint8")),
                *(write("uint8"), write("int64")),
            ),
        )
        for kind in ELEMENTS
    )
)
def _places(
    old: Elements,
    classes: NDArray[np.uint8],
    group: int,
    mantissa: int,
    low: int,
    span: int,
    shifts: NDArray[np.uint8],
    kinds: NDArray[np.uint8],
    named: NDArray[np.uint8],
    used: NDArray[np.int64],
) -> None:
    of = old.dtype.type
    top = of(8 * old.itemsize - 1)
    most = np.int64(of((of(1) << top) - of(1)) >> of(mantissa))
    high = min(low + span - 1, most)
    size = 1 << group
    fines, coarses, wide = 0, 0, 0
    for place in range(len(classes)):
        if not classes[place]:
            continue
        first = np.int64(classes[place]) * span
        for i in range(place * size, (place + 1) * size):
            cell = first
            if span > 1 and mantissa:
                field = np.int64(of(old[i] >> of(mantissa))) & most
                cell += min(max(field, low), high) - low
            shift = np.int64(shifts[cell])
            if shift:
                fines += 1
                wide += shift + 1
            else:
                named[coarses] = kinds[cell]
                coarses += 1
    used[0], used[1] = fines, wide


@compiled(
    *(
        (
            number("void"),
            (
                *(read(kind), read("uint8"), *_FIELD, read("uint8"), read("uint8"), read("uint8"), read(kind)),
                *(read("uint64"), number(), number(), write(kind), write("int64")),
            ),
        )
        for kind in ELEMENTS
    )
)
def _join(
    old: Elements,
    classes: NDArray[np.uint8],
    group: int,
    mantissa: int,
    low: int,
    span: int,
    shifts: NDArray[np.uint8],
    fine: NDArray[np.uint8],
    coarse: NDArray[np.uint8],
    beyond: Elements,
    row: NDArray[np.uint64],
    end: int,
    signs: int,
    change: Elements,
    used: NDArray[np.int64],
) -> None:
    of = old.dtype.type
    top = of(8 * old.itemsize - 1)
    most = np.int64(of((of(1) << top) - of(1)) >> of(mantissa))
    high = min(low + span - 1, most)
    size = 1 << group
    fines, coarses, far, at, signed = 0, 0, 0, 0, signs
    for place in range(len(classes)):
        if not classes[place]:
            continue
        first = np.int64(classes[place]) * span
        for i in range(place * size, (place + 1) * size):
            cell = first
            if span > 1 and mantissa:
                field = np.int64(of(old[i] >> of(mantissa))) & most
                cell += min(max(field, low), high) - low
            shift = np.uint64(shifts[cell])
            if shift:
                symbol = fine[fines]
                fines += 1
            else:
                symbol = coarse[coarses]
                coarses += 1
            amount = np.uint64(symbol)
            if symbol == _ESCAPE:
                if far < len(beyond):
                    amount += np.uint64(beyond[far])
                far += 1
            sign = np.uint64(0)
            if shift:
                word, inside = at >> 6, np.uint64(at & 63)
                low_bits = (row[word] >> inside) | ((row[word + 1] << np.uint64(1)) << (np.uint64(63) - inside))
                low_bits &= (np.uint64(2) << shift) - np.uint64(1)
                at += np.int64(shift) + 1
                sign = low_bits & np.uint64(1)
                amount = (amount << shift) | (low_bits >> np.uint64(1))
            elif symbol:
                if signed < end:
                    sign = (row[signed >> 6] >> np.uint64(signed & 63)) & np.uint64(1)
                signed += 1
            down = of(of(0) - of(sign))
            change[i] = of(of(of(amount) ^ down) - down)
    used[0], used[1] = far, signed - signs

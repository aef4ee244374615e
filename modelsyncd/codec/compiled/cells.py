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
    fine, coarse, named = (np.empty(moved + 1, dtype=np.uint8) for _ in range(3))
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
    named = np.empty(moved + 1, dtype=np.uint8)
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
    symbols = np.concatenate([fine, coarse, np.zeros(1, dtype=np.uint8)])  # what is read and not used, is there
    used = np.zeros(2, dtype=np.int64)
    _join(
        *(old, classes, lay.group, lay.mantissa, lay.low, lay.span, shifts, symbols, len(fine), beyond),
        *(rows.words(plain), 8 * after, change, used),
    )
    return change, int(used[0]), int(used[1])


@compiled(
    *(
        (number("void"), (read(kind), number(), number(), number(), number(), number(), write("uint32")))
        for kind in ELEMENTS
    )
)
def _cells(old: Elements, start: int, mantissa: int, low: int, span: int, first: int, cell: NDArray[np.uint32]) -> None:
    """The cells of a group's elements, of which the class has `first` as its own."""
    of = old.dtype.type
    if span == 1 or not mantissa:
        for i in range(len(cell)):
            cell[i] = first
        return
    most = of(of((of(1) << of(8 * old.itemsize - 1)) - of(1)) >> of(mantissa))
    least, high = of(low), of(min(low + span - 1, np.int64(most)))
    add = np.uint32(first - low)
    group = old[start : start + len(cell)]
    for i in range(len(cell)):
        field = of(of(group[i] >> of(mantissa)) & most)
        field = of(min(max(field, least), high))
        cell[i] = np.uint32(np.uint32(field) + add)


# In the loops below indices are unsigned, so that none is looked at for being negative, and there are no jumps:
# whether a number is fine depends on exponents, and those of neighbours are like dice.


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
    of, one, six = old.dtype.type, np.uint64(1), np.uint64(6)
    top = of(8 * old.itemsize - 1)
    size = 1 << group
    cell = np.empty(size, dtype=np.uint32)
    fines, coarses, far, at, signed = np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0)
    for place in range(len(classes)):
        if not classes[place]:
            continue
        _cells(old, place * size, mantissa, low, span, np.int64(classes[place]) * span, cell)
        moves = change[place * size : (place + 1) * size]
        highest = np.uint8(0)
        for i in range(size):
            highest = max(highest, shifts[cell[i]])
        for i in range(size):
            sign = of(moves[i] >> top)
            down = of(of(0) - sign)
            amount = np.uint64(of(of(moves[i] ^ down) - down))
            shift = np.uint64(shifts[cell[i]])
            above = amount >> shift
            if above >= np.uint64(_ESCAPE):
                beyond[far] = above - np.uint64(_ESCAPE)
                far += one
                above = np.uint64(_ESCAPE)
            if not highest:
                coarse[coarses] = above
                named[coarses] = kinds[cell[i]]
                coarses += one
                if above:
                    signs[signed >> six] |= np.uint64(sign) << (signed & np.uint64(63))
                    signed += one
                continue
            is_fine = np.uint64(shift != np.uint64(0))
            fine[fines] = above
            coarse[coarses] = above
            named[coarses] = kinds[cell[i]]
            fines += is_fine
            coarses += one - is_fine
            rest = ((amount & ((one << shift) - one)) << one) | np.uint64(sign)
            rest &= np.uint64(0) - is_fine
            word, inside = at >> six, at & np.uint64(63)
            row[word] |= rest << inside
            row[word + one] = (rest >> one) >> (np.uint64(63) - inside)
            at += (shift + one) & (np.uint64(0) - is_fine)
            here = np.uint64(above != np.uint64(0)) & (one - is_fine)
            signs[signed >> six] |= (np.uint64(sign) & here) << (signed & np.uint64(63))
            signed += here
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
    size, one = 1 << group, np.uint64(1)
    cell = np.empty(size, dtype=np.uint32)
    fines, coarses, wide = np.uint64(0), np.uint64(0), np.uint64(0)
    for place in range(len(classes)):
        if not classes[place]:
            continue
        _cells(old, place * size, mantissa, low, span, np.int64(classes[place]) * span, cell)
        for i in range(size):
            shift = np.uint64(shifts[cell[i]])
            is_fine = np.uint64(shift != np.uint64(0))
            named[coarses] = kinds[cell[i]]
            fines += is_fine
            coarses += one - is_fine
            wide += (shift + one) & (np.uint64(0) - is_fine)
    used[0], used[1] = fines, wide


@compiled(
    *(
        (
            number("void"),
            (
                *(read(kind), read("uint8"), *_FIELD, read("uint8"), read("uint8"), number(), read(kind)),
                *(read("uint64"), number(), write(kind), write("int64")),
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
    symbols: NDArray[np.uint8],
    between: int,
    beyond: Elements,
    row: NDArray[np.uint64],
    signs: int,
    change: Elements,
    used: NDArray[np.int64],
) -> None:
    of, one, six = old.dtype.type, np.uint64(1), np.uint64(6)
    size = 1 << group
    cell = np.empty(size, dtype=np.uint32)
    fines, coarses, far, at, signed = np.uint64(0), np.uint64(between), np.uint64(0), np.uint64(0), np.uint64(signs)
    last = np.uint64(len(row) - 2)
    for place in range(len(classes)):
        if not classes[place]:
            continue
        _cells(old, place * size, mantissa, low, span, np.int64(classes[place]) * span, cell)
        moves = change[place * size : (place + 1) * size]
        highest = np.uint8(0)
        for i in range(size):
            highest = max(highest, shifts[cell[i]])
        if not highest:
            for i in range(size):
                symbol = symbols[coarses]
                coarses += one
                if not symbol:
                    continue
                amount = np.uint64(symbol)
                if symbol == _ESCAPE:
                    if far < np.uint64(len(beyond)):
                        amount += np.uint64(beyond[far])
                    far += one
                sign = row[min(signed >> six, last)] >> (signed & np.uint64(63))
                signed += one
                down = of(of(0) - of(sign & one))
                moves[i] = of(of(of(amount) ^ down) - down)
            continue
        for i in range(size):
            shift = np.uint64(shifts[cell[i]])
            is_fine = np.uint64(shift != np.uint64(0))
            symbol = symbols[fines if is_fine else coarses]
            fines += is_fine
            coarses += one - is_fine
            amount = np.uint64(symbol)
            if symbol == _ESCAPE:
                if far < np.uint64(len(beyond)):
                    amount += np.uint64(beyond[far])
                far += one
            here = np.uint64(symbol != 0) & (one - is_fine)
            begin = at if is_fine else signed
            word, inside = min(begin >> six, last), begin & np.uint64(63)
            found = (row[word] >> inside) | ((row[word + one] << one) << (np.uint64(63) - inside))
            found &= ((np.uint64(2) << shift) - one) if is_fine else here
            at += (shift + one) & (np.uint64(0) - is_fine)
            signed += here
            amount = (amount << shift) | (found >> one)
            down = of(of(0) - of(found & one))
            moves[i] = of(of(of(amount) ^ down) - down)
    used[0], used[1] = far, np.int64(signed) - signs

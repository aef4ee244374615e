"""Differences of elements, and what is usual about them: loops of `modelsyncd.codec.graded` and its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from modelsyncd.codec.compiled.jit import ELEMENTS, compiled, number, read, write

if TYPE_CHECKING:
    Elements = NDArray[np.integer]

_COUNTS = tuple(number() for _ in range(4))


@compiled(*((number(), (read(kind), number())) for kind in ELEMENTS))
def least(elements: Elements, mask: int) -> int:
    """The smallest magnitude but zero; mask + 1 when there is none."""
    one = elements.dtype.type(1)
    ones = elements.dtype.type(mask)
    found = ones
    for i in range(len(elements)):
        size = elements.dtype.type(elements.dtype.type((elements[i] & ones) - one) & ones)
        found = min(found, size)
    return np.int64(found) + 1


@compiled(*((number("void"), (read(kind), read(kind), number(), number(), write(kind))) for kind in ELEMENTS))
def changes(old: Elements, new: Elements, mantissa: int, floor: int, change: Elements) -> None:
    """How far each element moved in the order of values: away from zero is up if it has a sign."""
    of = old.dtype.type
    if not mantissa:
        for i in range(len(old)):
            change[i] = new[i] - old[i]
        return
    one, top = of(1), of(8 * old.itemsize - 1)
    mask = of((one << top) - one)
    gap = of(max(floor, 1) - 1)
    for i in range(len(old)):
        before, after = of(old[i] & mask), of(new[i] & mask)
        down, below = of(of(0) - of(old[i] >> top)), of(of(0) - of(new[i] >> top))
        before = of(of(before - (gap if before else of(0))) ^ down)
        after = of(of(after - (gap if after else of(0))) ^ below)
        change[i] = of(of(of(after - before) ^ down) - down)


@compiled(*((number("void"), (read(kind), read(kind), number(), number(), write(kind))) for kind in ELEMENTS))
def changed(old: Elements, change: Elements, mantissa: int, floor: int, new: Elements) -> None:
    """The elements again."""
    of = old.dtype.type
    if not mantissa:
        for i in range(len(old)):
            new[i] = old[i] + change[i]
        return
    one, top = of(1), of(8 * old.itemsize - 1)
    mask = of((one << top) - one)
    gap = of(max(floor, 1) - 1)
    for i in range(len(old)):
        before = of(old[i] & mask)
        down = of(of(0) - of(old[i] >> top))
        before = of(of(before - (gap if before else of(0))) ^ down)
        after = of(before + of(of(change[i] ^ down) - down))
        sign = of(after >> top)
        size = of(after ^ of(of(0) - sign))
        new[i] = of(size + (gap if size else of(0))) | of(sign << top)


@compiled(
    *(
        (
            number("void"),
            (read(kind), read(kind), number(), number(), number(), number(), write("float32")),
        )
        for kind in ELEMENTS
    )
)
def levels(
    change: Elements,
    old: Elements,
    group: int,
    mantissa: int,
    low: int,
    span: int,
    level: NDArray[np.float32],
) -> None:
    """The sum of each group's changes in their units, halves added to halves as `graded` does."""
    of = old.dtype.type
    top = of(8 * old.itemsize - 1)
    most = np.int64(of((of(1) << top) - of(1)) >> of(mantissa))
    high = min(low + span - 1, most)
    size, lift = 1 << group, 127 - span
    real = np.empty(size, dtype=np.float32)
    for at in range(len(level)):
        for i in range(size):
            moved = change[at * size + i]
            down = of(of(0) - of(moved >> top))
            real[i] = np.float32(of(of(moved ^ down) - down))
        if span > 1 and mantissa:
            for i in range(size):
                field = np.int64(of(old[at * size + i] >> of(mantissa))) & most
                real[i] *= np.uint32(np.uint32(min(max(field, low), high) - low + lift) << np.uint32(23)).view(
                    np.float32
                )
        half = size
        while half > 1:
            half >>= 1
            for i in range(half):
                real[i] += real[half + i]
        level[at] = real[0]


@compiled(
    *(
        (
            number("void"),
            (read(kind), read(kind), read("uint8"), *_COUNTS, *(write("float64"),) * 3),
        )
        for kind in ELEMENTS
    )
)
def tally(
    change: Elements,
    old: Elements,
    classes: NDArray[np.uint8],
    group: int,
    mantissa: int,
    low: int,
    span: int,
    count: NDArray[np.float64],
    total: NDArray[np.float64],
    exponent: NDArray[np.float64],
) -> None:
    """Of one moved element in three: how many in each cell, their magnitudes' sum, and that of their logarithms."""
    of = old.dtype.type
    top = of(8 * old.itemsize - 1)
    most = np.int64(of((of(1) << top) - of(1)) >> of(mantissa))
    high = min(low + span - 1, most)
    size = 1 << group
    skip = 0
    for at in range(len(classes)):
        if not classes[at]:
            continue
        first = np.int64(classes[at]) * span
        i = skip
        while i < size:
            moved = change[at * size + i]
            down = of(of(0) - of(moved >> top))
            real = np.float32(of(of(moved ^ down) - down))
            cell = first
            if span > 1 and mantissa:
                field = np.int64(of(old[at * size + i] >> of(mantissa))) & most
                cell += min(max(field, low), high) - low
            count[cell] += 1.0
            total[cell] += np.float64(real)
            pattern = np.float32(real + np.float32(0.5)).view(np.int32)
            exponent[cell] += np.float64(pattern) * 2.0**-23 - 127.0
            i += 3
        skip = i - size

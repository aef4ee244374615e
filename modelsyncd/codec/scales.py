"""How large a change to expect where: elements in groups of one class, and in cells by class and base exponent.

An optimiser moves all weights of a row by about the same amount, so in units of the last place small weights move far
and large ones barely. A cell's numbers are cut into low bits, which are noise and sent as they are, and a symbol.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelsyncd.codec.sides import Facts
from modelsyncd.errors import DamageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CLASSES = 16  # class 0: groups without a change
SPAN = 64  # exponents that are told apart; smaller ones count as the smallest
_FINE = 4  # log2: larger changes than this have low bits that are noise
_KEPT = 2.2  # log2 of the typical symbol where low bits are cut off
EVERY = 3
"""Elements of which one is looked at."""
_TELLING = 2  # bits of a mantissa
_RARE = 120  # changes: fewer do not pay for tables of their own


@dataclass(frozen=True, slots=True)
class Scales:
    """For each cell (class × span + exponent): how many low bits to cut, and which table codes its symbols.

    A cell whose numbers have low bits to cut needs no table: its symbols are all about equally large.
    """

    span: int
    shifts: NDArray[np.uint8]
    kinds: NDArray[np.uint8]


def classes(level: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Groups of about equal changes, from each group's mean change; 0 where nothing changed."""
    import numpy as np  # noqa: PLC0415 - an idle agent never loads it

    found = np.zeros(len(level), dtype=np.uint8)
    moved = level > 0
    if moved.any():
        steps = np.rint(np.log2(level[moved]))
        found[moved] = np.clip(steps - steps.max() + CLASSES - 1, 1, CLASSES - 1)
    return found


def measure(sizes: NDArray[np.integer], cells: NDArray[np.uint16], span: int) -> Scales:
    """Scales that fit these changes (magnitudes) in these cells, judged by one element in three."""
    import numpy as np  # noqa: PLC0415

    some = cells[::EVERY]
    real = sizes[::EVERY].astype(np.float32)
    count = np.bincount(some, minlength=CLASSES * span)
    total = np.bincount(some, weights=real, minlength=CLASSES * span)
    exponents = (real + np.float32(0.5)).view(np.int32) * 2.0**-23 - 127.0
    logarithms = np.bincount(some, weights=exponents, minlength=CLASSES * span)
    return fitting(count, np.asarray(total, dtype=np.float64), np.asarray(logarithms, dtype=np.float64), span)


def fitting(
    count: NDArray[np.integer] | NDArray[np.float64],
    total: NDArray[np.float64],
    exponent: NDArray[np.float64],
    span: int,
) -> Scales:
    """Scales for cells with so many changes, such sums of them, and of their logarithms."""
    import numpy as np  # noqa: PLC0415

    filled = np.maximum(count, 1)
    mean = total / filled
    typical = exponent / filled
    fine = typical >= _FINE
    cut = np.where(fine, np.floor(typical - _KEPT), 0)
    small = np.clip(np.rint(2 * np.log2(np.maximum(mean, 2.0**-14))), -28, 12).astype(np.int64)
    tells = np.where(fine, 0.0, count * np.minimum(mean, 1.0))
    return Scales(span, cut.astype(np.uint8), np.where(fine, np.uint8(0), _merged(small, tells)))


def by_exponent(mantissa: int) -> Scales:
    """Scales for floats without a base: exponent and a little more are the symbol, sign and the rest are noise.

    Within an octave the smaller numbers are more frequent, so the mantissa's highest bits say a little too.
    """
    import numpy as np  # noqa: PLC0415

    cut = max(mantissa - _TELLING, 1)
    return Scales(1, np.full(CLASSES, cut, dtype=np.uint8), np.zeros(CLASSES, dtype=np.uint8))


def _merged(key: NDArray[np.int64], tells: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Numbers for the keys that occur often; a rare one goes to the nearest of them."""
    import numpy as np  # noqa: PLC0415

    least = int(key.min())
    total = np.bincount(key - least, weights=tells)
    often = np.flatnonzero(total >= max(min(_RARE / EVERY, total.max()), 1e-9))
    if not len(often):
        return np.zeros(len(key), dtype=np.uint8)
    nearest = np.abs(np.arange(len(total))[:, None] - often[None, :]).argmin(axis=1)
    found: NDArray[np.uint8] = nearest.astype(np.uint8)
    return found.take(key - least)


def write(scales: Scales, present: NDArray[np.uint8]) -> bytes:
    """The scales of the classes that are present, as facts."""
    rows = [slice(int(at) * scales.span, (int(at) + 1) * scales.span) for at in present]
    columns = [column[row].tobytes() for column in (scales.shifts, scales.kinds) for row in rows]
    return bytes((scales.span,)) + b"".join(columns)


def read(facts: Facts, present: NDArray[np.uint8], bits: int) -> Scales:
    """The scales. Raises DamageError."""
    import numpy as np  # noqa: PLC0415

    span = facts.number(1)
    if not 0 < span <= SPAN:
        raise DamageError("a chunk has scales that can't be")
    columns = []
    for _ in range(2):
        column = np.zeros((CLASSES, span), dtype=np.uint8)
        column[present] = np.frombuffer(facts.take(len(present) * span), dtype=np.uint8).reshape(-1, span)
        columns.append(column.ravel())
    if columns[0].max() >= bits:
        raise DamageError("a chunk has scales that can't be")
    return Scales(span, columns[0], columns[1])

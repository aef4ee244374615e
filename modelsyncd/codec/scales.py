"""How large a change to expect where: elements in groups of one class, and in cells by class and base exponent.

An optimiser moves all weights of a row by about the same amount, so in units of the last place small weights move far
and large ones barely. A cell's numbers are cut into low bits, which are noise and sent as they are, and a symbol.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelsyncd.codec import entropy
from modelsyncd.codec.sides import Facts
from modelsyncd.errors import DamageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CLASSES = 16  # class 0: groups without a change
SPAN = 64  # exponents that are told apart; smaller ones count as the smallest
TABLES = 64
ESCAPE = entropy.SYMBOLS - 1
_FINE = 4  # log2: larger changes than this have low bits that are noise
_KEPT = 2.2  # log2 of the typical symbol where low bits are cut off
_RARE = 200  # elements: fewer do not pay for a table of their own


@dataclass(frozen=True, slots=True)
class Scales:
    """For each cell (class × span + exponent): how many low bits to cut, and which table its symbols are coded by."""

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
    """Scales that fit these changes (magnitudes) in these cells."""
    import numpy as np  # noqa: PLC0415

    real = sizes.astype(np.float32)
    count = np.bincount(cells, minlength=CLASSES * span)
    filled = np.maximum(count, 1)
    mean = np.bincount(cells, weights=real, minlength=CLASSES * span) / filled
    exponents = (real + np.float32(0.5)).view(np.int32) * np.float32(2.0**-23) - np.float32(127)
    typical = np.bincount(cells, weights=exponents, minlength=CLASSES * span) / filled
    fine = typical >= _FINE
    cut = np.where(fine, np.floor(typical - _KEPT), 0)
    small = np.clip(np.rint(2 * np.log2(np.maximum(mean, 2.0**-14))), -28, 12)
    key = np.where(fine, 20 + np.floor(2 * (typical - _KEPT - cut)), small).astype(np.int64)
    return Scales(span, cut.astype(np.uint8), _merged(key, count))


def _merged(key: NDArray[np.int64], count: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Numbers for the keys that occur often; a rare one goes to the nearest of them."""
    import numpy as np  # noqa: PLC0415

    names, place = np.unique(key, return_inverse=True)
    total = np.bincount(place, weights=count)
    often = np.flatnonzero(total >= min(_RARE, total.max()))
    nearest = np.abs(names[:, None] - names[often][None, :]).argmin(axis=1)
    used = np.unique(nearest[place[count > 0]])
    merged: NDArray[np.uint8] = np.searchsorted(used, nearest)[place].clip(0, len(used) - 1).astype(np.uint8)
    return merged


def write(scales: Scales, present: NDArray[np.uint8], tables: list[bytes]) -> bytes:
    """The scales of the classes that are present, and the tables, as facts."""
    by_class = scales.span
    rows = [slice(int(at) * by_class, (int(at) + 1) * by_class) for at in present]
    cells = b"".join(scales.shifts[row].tobytes() for row in rows) + b"".join(
        scales.kinds[row].tobytes() for row in rows
    )
    return bytes((scales.span, len(tables))) + cells + b"".join(tables)


def read(facts: Facts, present: NDArray[np.uint8], bits: int) -> tuple[Scales, NDArray[np.uint32]]:
    """The scales and the tables' frequencies. Raises DamageError."""
    import numpy as np  # noqa: PLC0415

    span, count = facts.number(1), facts.number(1)
    if not 0 < span <= SPAN or not 0 < count <= TABLES:
        raise DamageError("a chunk has scales that can't be")
    columns = []
    for limit in (bits, count):
        column = np.zeros((CLASSES, span), dtype=np.uint8)
        column[present] = np.frombuffer(facts.take(len(present) * span), dtype=np.uint8).reshape(-1, span)
        if column.max() >= limit:
            raise DamageError("a chunk has scales that can't be")
        columns.append(column.ravel())
    tables = np.stack([entropy.frequencies(facts.take(facts.number(1) + 1)) for _ in range(count)])
    return Scales(span, columns[0], columns[1]), tables

"""Weights that saw no gradient: weight decay alone moved them, by an amount that only their mantissa decides.

Every step of decoupled weight decay multiplies by one factor and rounds. A float's bit pattern then sinks by as much
as every other one with the same mantissa, so the amount is learnt from the chunk itself and sent once for each of
1,024 mantissas, not once for each element.

The mean of several clients' weights that all sank alike is not quite those weights: their sum is rounded, and divided.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelsyncd.codec.patterns import Grain

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

STEPS = 10  # bits of the mantissa that are looked at
SIZE = 4 << STEPS  # bytes of a table
MOST = 1 << 20  # units in the last place
CLIENTS = 16  # at most
_SAMPLE = 1 << 13  # elements to learn from
_SPREAD = 3  # a mantissa of almost 2 sinks twice as far as one of 1, and rounding adds some


def touched_only_by_decay(change: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Which groups (rows of `change`) sank or rose as one."""
    import numpy as np  # noqa: PLC0415 - an idle agent never loads it

    least, most = change.min(axis=1), change.max(axis=1)
    near = np.minimum(np.abs(least), np.abs(most))
    far = np.maximum(np.abs(least), np.abs(most))
    one_way = (least >= 0) == (most >= 0)
    found: NDArray[np.bool_] = one_way & (near > 0) & (far < MOST) & (far <= _SPREAD * near + 2)
    return found


def learn(change: NDArray[np.integer], place: NDArray[np.uint16]) -> NDArray[np.int32]:
    """The usual change at each place; where none was seen, that of the place before."""
    import numpy as np  # noqa: PLC0415 - an idle agent never loads it

    every = len(change) // _SAMPLE + 1
    where = place[::every]
    pairs = np.sort((where.astype(np.int64) << 32) | (change[::every] + MOST).astype(np.int64))
    seen = np.bincount(where, minlength=1 << STEPS)
    known = np.flatnonzero(seen)
    middle = (np.cumsum(seen) - (seen + 1) // 2)[known]
    usual = ((pairs[middle] & 0xFFFFFFFF) - MOST).astype(np.int32)
    nearest = np.maximum(np.searchsorted(known, np.arange(1 << STEPS), side="right") - 1, 0)
    spread: NDArray[np.int32] = usual[nearest]
    return spread


def shift(old: NDArray[np.integer], table: NDArray[np.int32], clients: int, grain: Grain) -> NDArray[np.integer]:
    """By how much decay moved each of these patterns, if their elements are the mean of so many equal ones."""
    import numpy as np  # noqa: PLC0415 - an idle agent never loads it

    moved = table.take(places(old, grain)).astype(f"<i{grain.width}")
    if clients == 1:
        return moved
    sunk = (old + moved.view(old.dtype)).view(f"<f{grain.width}")
    with np.errstate(all="ignore"):
        total = sunk.copy()
        for _ in range(clients - 1):
            total += sunk
        total /= sunk.dtype.type(clients)
    moved += (total.view(old.dtype) - sunk.view(old.dtype)).view(moved.dtype)
    return moved


def clients(change: NDArray[np.integer], old: NDArray[np.integer], table: NDArray[np.int32], grain: Grain) -> int:
    """How many clients' mean explains most of these changes; 1 if there is no mean in them."""
    import numpy as np  # noqa: PLC0415

    some = slice(None, None, len(old) // (_SAMPLE >> 8) + 1)
    right = [np.count_nonzero(change[some] == shift(old[some], table, count, grain)) for count in range(1, CLIENTS + 1)]
    best = int(np.argmax(right))
    return best + 1 if right[best] > right[0] + old[some].size // 50 else 1


def places(pattern: NDArray[np.integer], grain: Grain) -> NDArray[np.uint16]:
    """For each element of the base, the top bits of its mantissa."""
    import numpy as np  # noqa: PLC0415

    top = (pattern >> (grain.mantissa - STEPS)) & ((1 << STEPS) - 1)
    return top.astype(np.uint16)


def can_be(grain: Grain) -> bool:
    """Only float32 and float64 have a mantissa that is long enough to tell."""
    return grain.mantissa > STEPS


def write(table: NDArray[np.int32]) -> bytes:
    """A table as bytes: the differences from entry to entry."""
    import numpy as np  # noqa: PLC0415

    return np.diff(table, prepend=np.int32(0)).astype("<i4").tobytes()


def read(written: bytes) -> NDArray[np.int32]:
    """The table again."""
    import numpy as np  # noqa: PLC0415

    return np.cumsum(np.frombuffer(written, dtype="<i4"), dtype=np.int32)

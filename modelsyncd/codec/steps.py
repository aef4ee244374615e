"""Rows that saw a gradient once: Adam moved each of their weights equally far, and only the sign is news.

Adam divides a gradient by its own size, so after one gradient all weights of a row are one height from where they
were, up or down (a word that came in one batch of a short training). Weight decay is taken off before. How far a weight
then is from where its step led, in units in the last place, is a number of few bits, but some have many: the number's
length goes as a symbol, against the length that is usual there, and what follows its highest bit as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelsyncd.codec import bits, decay, zstd
from modelsyncd.codec.patterns import Grain
from modelsyncd.codec.sides import Facts
from modelsyncd.digest import Buffer
from modelsyncd.errors import DamageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modelsyncd.codec.patterns import Pattern

_MANTISSA = 23
_LEVEL = 1.2  # mean square of equal steps, in squares of their mean; of normally distributed ones it is 1.57
_PAYS = 2.0  # bits: a sign for each element, and what it costs to say so


@dataclass(frozen=True, slots=True)
class Steps:
    """Which groups stepped, where from, how far each, and which of their elements went down."""

    groups: NDArray[np.intp]
    start: Pattern
    heights: NDArray[np.float32]
    down: NDArray[np.bool_]


def can_be(grain: Grain) -> bool:
    """Only float32: shorter formats round a step away, and nobody trains in longer ones."""
    return grain.mantissa == _MANTISSA


def find(
    old: Pattern, new: Pattern, others: NDArray[np.bool_], shrink: NDArray[np.int32] | None, grain: Grain
) -> Steps:
    """The groups (rows of `old` and `new`) among `others` whose steps are worth saying."""
    import numpy as np  # noqa: PLC0415 - an idle agent never loads it

    with np.errstate(all="ignore"):  # numbers that are none have no level
        far = np.abs(new.view("<f4") - old.view("<f4"))
        mean = far.mean(axis=1, dtype=np.float64)
        square = np.einsum("ij,ij->i", far, far, dtype=np.float64) / far.shape[1]
        groups = np.flatnonzero(others & (mean > 0) & (square < _LEVEL * mean * mean))
        if not len(groups):
            return Steps(groups, old[:0], np.zeros(0, dtype="<f4"), np.zeros((0, old.shape[1]), dtype=np.bool_))
        patterns = shrunk(old[groups], shrink, grain)
        start = patterns.view("<f4").astype(np.float64)
        goal = new[groups].view("<f4").astype(np.float64)
        change = goal - start
        heights = np.median(np.abs(change), axis=1).astype("<f4")
        down = change < 0
        rest = goal - _stepped(start, heights, down)
        unit = np.spacing(np.abs(goal).astype("<f4")).astype(np.float64)
        saved = np.log2(np.abs(change) / unit + 1) - np.log2(np.abs(rest) / unit + 1)
        pays = saved.mean(axis=1) > _PAYS
    return Steps(groups[pays], patterns[pays], heights[pays], down[pays])


def foretold(start: Pattern, heights: NDArray[np.float32], down: NDArray[np.bool_]) -> Pattern:
    """The patterns where the steps led: the same on every machine."""
    import numpy as np  # noqa: PLC0415

    with np.errstate(all="ignore"):
        there: Pattern = _stepped(start.view("<f4").astype(np.float64), heights, down).astype("<f4").view("<u4")
    return there


def shrunk(old: Pattern, shrink: NDArray[np.int32] | None, grain: Grain) -> Pattern:
    """Patterns after weight decay, which moves magnitudes by `shrink` at each place (decay.py)."""
    if shrink is None:
        return old
    return old + shrink.take(decay.places(old, grain)).astype(old.dtype)


def write(steps: Steps, new: Pattern) -> tuple[bytes, bytes]:
    """Facts and body: heights, usual lengths and signs, and what is left between where the steps led and `new`."""
    import numpy as np  # noqa: PLC0415

    there = foretold(steps.start, steps.heights, steps.down)
    rest = (new[steps.groups] - there).view("<i4")
    size = np.abs(rest.astype(np.int64))
    length = np.frexp(size.astype(np.float64))[1]
    exponent = _exponents(there)
    usual = np.rint((length + exponent).mean(axis=1)).astype(np.int64)
    frame = zstd.encode(((length - usual[:, None] + exponent) & 0xFF).astype(np.uint8).tobytes())
    top = np.where(length > 0, 1 << np.maximum(length - 1, 0), 0)
    low = ((size - top) << 1) | (rest < 0)
    row = bits.pack(low.ravel(), length.astype(np.uint8).ravel())
    facts = steps.heights.tobytes() + (usual & 0xFF).astype(np.uint8).tobytes() + len(frame).to_bytes(4, "little")
    return facts, np.packbits(steps.down, bitorder="little").tobytes() + frame + row


def read(facts: Facts, body: Buffer, start: Pattern) -> tuple[Pattern, Buffer]:
    """The new patterns of the groups that stepped from `start`, and the body behind theirs. Raises DamageError."""
    import numpy as np  # noqa: PLC0415

    groups, count = len(start), start.size
    heights = np.frombuffer(facts.take(4 * groups), dtype="<f4")
    usual = np.frombuffer(facts.take(groups), dtype=np.uint8).astype(np.int64)
    at = (count + 7) // 8
    end = at + facts.number(4)
    if end > len(body):
        raise DamageError("a chunk's steps end early")
    down = np.unpackbits(np.frombuffer(body[:at], dtype=np.uint8), count=count, bitorder="little")
    there = foretold(start, heights, down.reshape(start.shape) != 0)
    symbols = np.frombuffer(zstd.decompress(bytes(body[at:end]), count), dtype=np.uint8).reshape(there.shape)
    length = (symbols + usual[:, None] - _exponents(there)) & 0xFF
    if length.max(initial=0) > 8 * start.itemsize:
        raise DamageError("a chunk's steps lead too far")
    widths = length.astype(np.uint8).ravel()
    row = bytes(body[end : end + bits.size(widths)])
    low = bits.unpack(row, widths).reshape(there.shape)
    top = np.where(length > 0, np.uint64(1) << np.maximum(length - 1, 0).astype(np.uint64), np.uint64(0))
    size = ((low >> np.uint64(1)) + top).astype(np.uint32)
    rest = np.where(low & np.uint64(1), -size, size)
    return there + rest, body[end + len(row) :]


def _exponents(pattern: Pattern) -> NDArray[np.int64]:
    import numpy as np  # noqa: PLC0415

    return ((pattern >> _MANTISSA) & 0xFF).astype(np.int64)


def _stepped(start: NDArray[np.float64], heights: NDArray[np.float32], down: NDArray[np.bool_]) -> NDArray[np.float64]:
    import numpy as np  # noqa: PLC0415

    high = heights.astype(np.float64)[:, None]
    return np.where(down, start - high, start + high)

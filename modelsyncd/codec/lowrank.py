"""A chunk of a matrix whose change has a low rank, as a merged LoRA has: two thin factors, and what they leave.

A payload, little-endian: dtype (1 byte, its place in _DTYPES), rank r (1), columns (4), column of the first element
(4), exponent of the left factor's step and of each row's of the right factor (r + 1 times 2, signed), bytes of the left
and of the right factor as written (4 each), those two, and then the chunk as delta.py codes it against

    base + sum over k = 0 … r - 1, in this order, of left[row, k] * right[k, column]

in IEEE double precision, one rounded operation after the other, rounded to the dtype (to nearest, ties to even; bf16 by
way of float32). Every product is exact. So the same bytes come out on every machine. A factor is 32-bit integers with
the sign in the lowest bit: as planes.py folds them, or a zero byte and then themselves.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelsyncd.codec import delta, planes
from modelsyncd.codec.hint import Hint
from modelsyncd.codec.profile import Profile
from modelsyncd.digest import Buffer
from modelsyncd.errors import DamageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_DTYPES = ("f32", "bf16", "f16")
_WIDTHS = {"f32": 4, "bf16": 2, "f16": 2}
_MANTISSAS = {"f32": 23, "bf16": 7, "f16": 10}  # stored bits of a significand
_HEAD = struct.Struct("<BBII")
_SIZES = struct.Struct("<II")
RANK_MAX = 16  # adapters are trained with 4 to 16 as a rule
_PROBE_COLUMNS = 64  # columns that are looked at first, of twice as many rows as the highest rank
_ROUNDING = 3.0  # what factors leave is rounding, when its square is at most so much of one rounding's
_WORTH = 5.0  # the change's square, in squares of one rounding: below it, factors save less than they take
_INTEGER = 1 << 26  # above any part of a factor: a product of two stays exact in a double's 53 bits
_EXPONENTS = range(-300, 300)  # of steps: any product is a double, and no denormal one
_FINENESS = (0.25,)  # error of the factors' rounding, in units of what no factor could foretell
_LOWEST = 1e-30  # in place of a change that the factors foretell wholly


@dataclass(frozen=True, slots=True)
class _Factors:
    """`left` has a row for each of the chunk's, `right` a row for each of the rank; integers, to be scaled by steps."""

    left: NDArray[np.int32]
    right: NDArray[np.int32]
    left_step: int
    right_steps: tuple[int, ...]


def compress(plain: Buffer, base: Buffer, hint: Hint) -> bytes | None:
    """The payload, or None when the change is not of a low rank; that is seen from a few rows."""
    import numpy as np  # noqa: PLC0415 - an idle agent never loads it

    if hint.dtype not in _DTYPES or hint.phase or len(plain) % hint.width or hint.columns <= 2 * RANK_MAX:
        return None
    with np.errstate(all="ignore"):  # numbers that are none raise nothing, and are looked for below
        old = _values(base, hint.dtype)
        change = _values(plain, hint.dtype) - old
        if not np.isfinite(change).all() or not np.isfinite(old).all():
            return None
        rank = _rank(_whole_rows(change, hint), _whole_rows(old, hint), _MANTISSAS[hint.dtype])
        if rank == 0:
            return None
        found = _decomposed(change, hint, rank)
        payloads = (_payload(plain, base, hint, found, fineness) for fineness in _FINENESS)
        return min((one for one in payloads if one is not None), key=len, default=None)


def _whole_rows(values: NDArray[np.float64], hint: Hint) -> NDArray[np.float64]:
    start = -hint.skip % hint.columns
    rows = max(0, (len(values) - start) // hint.columns)
    return values[start : start + rows * hint.columns].reshape(rows, hint.columns)


def _rank(change: NDArray[np.float64], old: NDArray[np.float64], mantissa: int) -> int:
    """The rank of the rows' change, judged by some of them; 0 when they are not of a low rank but for rounding."""
    if len(change) < 2 * RANK_MAX:
        return 0
    rows = slice(None, None, len(change) // (2 * RANK_MAX))
    few = slice(None, None, max(1, change.shape[1] // _PROBE_COLUMNS))
    return _fitting(change[rows, few], old[rows, few], mantissa) and _fitting(change[rows], old[rows], mantissa)


def _fitting(change: NDArray[np.float64], old: NDArray[np.float64], mantissa: int) -> int:
    """The lowest rank that leaves nothing but rounding errors; 0 when there is none, or nothing else in the change."""
    import numpy as np  # noqa: PLC0415

    _, exponents = np.frexp(old + change)
    noise = np.mean(np.ldexp(1.0, 2 * (exponents - 1 - mantissa))) / 12
    energy = np.linalg.eigvalsh(change @ change.T)[::-1] / change.size
    if energy.sum() < _WORTH * noise:
        return 0
    left = np.append(np.cumsum(energy[::-1])[::-1], 0.0)
    enough = np.flatnonzero(left[1 : RANK_MAX + 1] <= _ROUNDING * noise)
    if not len(enough):
        return 0
    rank = int(enough[0]) + 1
    moved = np.count_nonzero(np.mean(change * change, axis=1) > noise)
    return rank if 4 * moved >= 3 * len(change) else 0  # an adapter moves all rows; a table of words, few of them


@dataclass(frozen=True, slots=True)
class _Found:
    """Factors before rounding, and what they leave of the change (root mean square)."""

    left: NDArray[np.float64]
    right: NDArray[np.float64]
    rest: float


def _decomposed(change: NDArray[np.float64], hint: Hint, rank: int) -> _Found:
    """The best factors for the whole rows; a row that the chunk has a part of is fitted to what is there."""
    import numpy as np  # noqa: PLC0415

    columns = hint.columns
    rows = -(-(hint.skip + len(change)) // columns)
    padded = np.zeros(rows * columns)
    padded[hint.skip : hint.skip + len(change)] = change
    grid = padded.reshape(rows, columns)
    first = 1 if hint.skip else 0
    last = rows - 1 if (hint.skip + len(change)) % columns else rows
    whole = grid[first:last]
    sketch = whole @ whole[:: max(1, len(whole) // (2 * RANK_MAX))].T  # spans what the strongest directions span
    span, _ = np.linalg.qr(sketch)
    small = span.T @ whole
    energy, turns = np.linalg.eigh(small @ small.T)  # of a small matrix: a hundredth of a full decomposition's time
    values = np.sqrt(np.maximum(energy[::-1][:rank], _LOWEST))
    left = np.zeros((rows, rank))
    left[first:last] = span @ (turns[:, ::-1][:, :rank] * values)
    right = (turns[:, ::-1][:, :rank] / values).T @ small
    for row in {0, rows - 1} - set(range(first, last)):
        start = hint.skip if row == 0 else 0
        end = min(columns, hint.skip + len(change) - row * columns)
        if end - start >= 2 * rank:
            left[row] = np.linalg.lstsq(right[:, start:end].T, grid[row, start:end], rcond=None)[0]
    rest = whole - left[first:last] @ right
    return _Found(left, right, max(_LOWEST, float(np.sqrt(np.mean(rest * rest)))))


def _payload(plain: Buffer, base: Buffer, hint: Hint, found: _Found, fineness: float) -> bytes | None:
    """Rounds the factors so that their error is `fineness` of what they leave anyway."""
    factors = _rounded(found, fineness * found.rest)
    if factors is None:
        return None
    left, right = _written(factors.left), _written(factors.right)
    foretold = _foretold(base, hint.dtype, hint.columns, hint.skip, factors)
    rest = delta.compress(plain, foretold, Hint(hint.dtype, 0, hint.columns, hint.skip), Profile.SMALLEST)
    if rest is None:
        return None
    rank = len(factors.right)
    return b"".join(
        (
            _HEAD.pack(_DTYPES.index(hint.dtype), rank, hint.columns, hint.skip),
            struct.pack(f"<{rank + 1}h", factors.left_step, *factors.right_steps),
            _SIZES.pack(len(left), len(right)),
            left,
            right,
            rest,
        )
    )


def _rounded(found: _Found, error: float) -> _Factors | None:
    """Integers and steps (powers of two) whose rounding errs by about `error` in the product; None beyond reason."""
    import numpy as np  # noqa: PLC0415

    rank, columns = found.right.shape
    sizes = np.maximum(np.sqrt(np.mean(found.left**2, axis=0)), _LOWEST)
    # A step of s rounds with an error of s / sqrt(12); the other factor's entries carry it into the product.
    share = error * np.sqrt(12 / (2 * rank))
    left_step = int(np.floor(np.log2(share * np.sqrt(columns))))
    right_steps = np.floor(np.log2(share / sizes)).astype(int)
    left = np.rint(np.ldexp(found.left, -left_step))
    right = np.rint(np.ldexp(found.right, -right_steps[:, None]))
    if max(abs(left).max(), abs(right).max()) >= _INTEGER:
        return None
    if left_step not in _EXPONENTS or not all(step in _EXPONENTS for step in right_steps):
        return None
    return _Factors(left.astype(np.int32), right.astype(np.int32), left_step, tuple(map(int, right_steps)))


def _foretold(base: Buffer, dtype: str, columns: int, column: int, factors: _Factors) -> bytes:
    """What the factors make of the base: elementwise, in a fixed order."""
    import numpy as np  # noqa: PLC0415

    values = _values(base, dtype)
    total = np.zeros(len(factors.left) * columns)
    total[column : column + len(values)] = values
    grid = total.reshape(-1, columns)
    for k, step in enumerate(factors.right_steps):
        left = np.ldexp(factors.left[:, k].astype(np.float64), factors.left_step)
        right = np.ldexp(factors.right[k].astype(np.float64), step)
        grid += left[:, None] * right
    return _bytes_of(total[column : column + len(values)], dtype)


def decompress(payload: Buffer, base: Buffer, size: int) -> bytes:
    """The `size` plain bytes; `base` is as long. Raises DamageError."""
    import numpy as np  # noqa: PLC0415

    if len(payload) < _HEAD.size:
        raise DamageError("a chunk's factors end early")
    kind, rank, columns, column = _HEAD.unpack_from(payload)
    if kind >= len(_DTYPES) or not 0 < rank <= RANK_MAX or not column < columns <= size or size % _width(kind):
        raise DamageError("a chunk's factors have a shape that can't be")
    rows = -(-(column + size // _width(kind)) // columns)
    if rank * (rows + columns) > 2 * (size // _width(kind)):
        raise DamageError("a chunk's factors are larger than the chunk")  # and would take memory in proportion
    steps, at = _numbers(payload, f"<{rank + 1}h", _HEAD.size)
    (left_size, right_size), at = _numbers(payload, "<II", at)
    if not all(step in _EXPONENTS for step in steps) or at + left_size + right_size > len(payload):
        raise DamageError("a chunk's factors don't fit into it")
    factors = _Factors(
        _read(payload[at : at + left_size], (rows, rank)),
        _read(payload[at + left_size : at + left_size + right_size], (rank, columns)),
        steps[0],
        steps[1:],
    )
    with np.errstate(all="ignore"):
        foretold = _foretold(base, _DTYPES[kind], columns, column, factors)
    return delta.decompress(payload[at + left_size + right_size :], foretold, size)


def _width(kind: int) -> int:
    return _WIDTHS[_DTYPES[kind]]


def _numbers(payload: Buffer, format_: str, at: int) -> tuple[tuple[int, ...], int]:
    end = at + struct.calcsize(format_)
    if end > len(payload):
        raise DamageError("a chunk's factors end early")
    return struct.unpack(format_, payload[at:end]), end


def _written(factor: NDArray[np.int32]) -> bytes:
    """The sign goes into the lowest bit, so that small numbers have zeros above; as planes when that is smaller."""
    folded = ((factor << 1) ^ (factor >> 31)).astype("<i4").tobytes()
    return planes.fold(folded, 4, 0) or b"\0" + folded


def _read(written: Buffer, shape: tuple[int, int]) -> NDArray[np.int32]:
    import numpy as np  # noqa: PLC0415

    size = 4 * shape[0] * shape[1]
    if written[:1] == b"\0":
        plain = bytes(written[1:])
        if len(plain) != size:
            raise DamageError("a chunk's factor is not as large as it should be")
    else:
        plain, width, phase = planes.unfold(written, size)
        if (width, phase) != (4, 0):
            raise DamageError("a chunk's factor is not made of integers")
    folded = np.frombuffer(plain, dtype="<u4")
    factor = ((folded >> np.uint32(1)).astype(np.int32) ^ -(folded & np.uint32(1)).astype(np.int32)).reshape(shape)
    if (abs(factor.astype(np.int64)) >= _INTEGER).any():
        raise DamageError("a chunk's factor has a number that can't be")
    return factor


def _values(data: Buffer, dtype: str) -> NDArray[np.float64]:
    import numpy as np  # noqa: PLC0415

    if dtype == "bf16":
        return (np.frombuffer(data, dtype="<u2").astype("<u4") << np.uint32(16)).view("<f4").astype(np.float64)
    return np.frombuffer(data, dtype="<f4" if dtype == "f32" else "<f2").astype(np.float64)


def _bytes_of(values: NDArray[np.float64], dtype: str) -> bytes:
    import numpy as np  # noqa: PLC0415

    if dtype == "f16":
        return values.astype("<f2").tobytes()
    single = values.astype("<f4")
    if dtype == "f32":
        return single.tobytes()
    bits = single.view("<u4")
    # Rounded twice, by way of float32: the same on both sides, and that is all that counts here.
    rounded = (bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))) >> np.uint32(16)
    data: bytes = rounded.astype("<u2").tobytes()
    return data

"""A chunk of a matrix whose change has a low rank, as a merged LoRA has: two thin factors, and what they leave.

A payload, little-endian: dtype (1 byte, its place in _DTYPES, and _CUT more), rank r (1), columns (4), column of the
first element (4), exponent of the left factor's step and of each row's of the right factor (r + 1 times 2, signed),
bytes of the left and of the right factor as written (4 each), those two, and then the chunk as delta.py codes it
against

    base + sum over k = 0 … r - 1, in this order, of left[row, k] * right[k, column]

in IEEE double precision, one rounded operation after the other, rounded to the dtype (to nearest, ties to even; bf16 by
way of float32). So the same bytes come out on every machine.

A factor is integers with the sign in the lowest bit, below 2^31: for each direction (column of the left factor, row of
the right one) a byte that says how many low bits are cut off; the length of a zstd frame (4 bytes); that frame, of one
symbol for each integer, direction by direction; their low bits in that order, as bits.py lays them. Without _CUT, as it
was first, it is 32-bit integers below 2^27, row by row: as planes.py folds them, or a zero byte and then themselves.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import TYPE_CHECKING

from modelsyncd.codec import bits, delta, factors, native, planes, zstd
from modelsyncd.codec.factors import EXPONENTS, INTEGER, RANK_MAX, Change, Factors, Shape
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
_ALONG = 0.5  # of the change's square; chance makes it a sixty-fourth
_GROUP = 64  # elements
_EVERY = 16  # elements: one tells the rounding of so many
_CUT = 4
_BLOCK = 1 << 13  # elements
_SYMBOL = 6  # bits of the largest
_SHORT = 1 << 26


def compress(plain: Buffer, base: Buffer, hint: Hint) -> bytes | None:
    """The payload, or None when the change is not of a low rank, or not enough of it to pay for the factors."""
    import numpy as np  # noqa: PLC0415 - an idle agent never loads it

    if hint.dtype not in _DTYPES or hint.phase or len(plain) % hint.width or hint.columns <= 2 * RANK_MAX:
        return None
    with np.errstate(all="ignore"):  # numbers that are none raise nothing, and are looked for
        try:
            found = _searched(plain, base, hint)
        except np.linalg.LinAlgError:  # of numbers too far apart
            return None
        return None if found is None else _payload(plain, base, hint, found)


def _searched(plain: Buffer, base: Buffer, hint: Hint) -> Factors | None:
    import numpy as np  # noqa: PLC0415

    old, new = _singles(base, hint.dtype), _singles(plain, hint.dtype)
    shape = Shape(len(old), hint.columns, hint.skip)
    if (
        hint.dtype == "f32"
    ):  # of weights of 16 bits, which were trained in float32 and cast, the base's too, no more is known
        rank = factors.rank_of(shape, old, new, lambda some: _rounding(some.view("<u4"), "f32"))
        if rank:
            values = new.astype(np.float64) - old
            if not np.isfinite(values).all():
                return None
            rounding = _rounding(new.view("<u4"), "f32")
            found = factors.of_an_adapter(Change(shape.size, shape.columns, shape.skip, values, rounding), rank)
            if found is not None:
                return found
    moved = new - old
    if not np.isfinite(moved.sum(dtype=np.float64)) or _shrunk(moved, old):
        return None
    some = slice(None, None, _EVERY)
    rounding = _rounding(_patterns(plain, hint.dtype)[some], hint.dtype)
    if hint.dtype != "f32":
        rounding += _rounding(_patterns(base, hint.dtype)[some], hint.dtype)
    return factors.of_a_training(shape, moved, rounding)


def _patterns(data: Buffer, dtype: str) -> NDArray[np.unsignedinteger]:
    import numpy as np  # noqa: PLC0415

    return np.frombuffer(data, dtype=f"<u{_WIDTHS[dtype]}")


def _singles(data: Buffer, dtype: str) -> NDArray[np.float32]:
    import numpy as np  # noqa: PLC0415

    if dtype == "bf16":
        return (np.frombuffer(data, dtype="<u2").astype("<u4") << np.uint32(16)).view("<f4")
    if dtype == "f16":
        return _halves().take(np.frombuffer(data, dtype="<u2"))  # twice as fast as a cast
    return np.frombuffer(data, dtype="<f4")


@cache
def _halves() -> NDArray[np.float32]:
    import numpy as np  # noqa: PLC0415

    return np.arange(1 << 16, dtype="<u2").view("<f2").astype("<f4")


def _rounding(patterns: NDArray[np.unsignedinteger], dtype: str) -> NDArray[np.float64]:
    """The square of what rounding to the dtype errs by."""
    import numpy as np  # noqa: PLC0415

    width, mantissa = _WIDTHS[dtype], _MANTISSAS[dtype]
    exponents = 1 << (8 * width - 1 - mantissa)
    last = np.maximum(np.arange(exponents), 1) - exponents // 2 + 1 - mantissa
    field = (patterns >> mantissa) & (exponents - 1)
    square: NDArray[np.float64] = np.ldexp(1 / 12, 2 * last).take(field)
    return square


def _shrunk(change: NDArray[np.float32], old: NDArray[np.float32]) -> bool:
    """Whether weight decay alone did it in many places, which graded.py foretells better than any factor."""
    import numpy as np  # noqa: PLC0415

    groups = len(change) // _GROUP
    change = change[: groups * _GROUP].reshape(groups, _GROUP)
    old = old[: groups * _GROUP].reshape(groups, _GROUP)
    along = np.einsum("ij,ij->i", change, old) ** 2
    whole = np.einsum("ij,ij->i", change, change) * np.einsum("ij,ij->i", old, old)
    return bool(8 * np.count_nonzero(along > _ALONG * whole) > groups)


def _payload(plain: Buffer, base: Buffer, hint: Hint, found: Factors) -> bytes | None:
    left, right = _written(found.left.T), _written(found.right)
    foretold = _foretold(base, hint.dtype, hint.columns, hint.skip, found)
    rest = delta.compress(plain, foretold, Hint(hint.dtype, 0, hint.columns, hint.skip), Profile.SMALLEST)
    if rest is None:
        return None
    rank = len(found.right)
    return b"".join(
        (
            _HEAD.pack(_DTYPES.index(hint.dtype) + _CUT, rank, hint.columns, hint.skip),
            struct.pack(f"<{rank + 1}h", found.left_step, *found.right_steps),
            _SIZES.pack(len(left), len(right)),
            left,
            right,
            rest,
        )
    )


def _foretold(base: Buffer, dtype: str, columns: int, column: int, found: Factors) -> bytes:
    """What the factors make of the base: elementwise, in a fixed order."""
    import numpy as np  # noqa: PLC0415

    left = np.ldexp(found.left.astype(np.float64), found.left_step)
    right = np.ldexp(found.right.astype(np.float64), np.array(found.right_steps, dtype=np.int32)[:, None])
    if native.on():
        from modelsyncd.codec.compiled import matrices  # noqa: PLC0415

        return matrices.foretold(_singles(base, dtype), left, right, columns, column, dtype)
    values = _values(base, dtype)
    total = np.zeros(len(found.left) * columns)
    total[column : column + len(values)] = values
    grid = total.reshape(-1, columns)
    block = max(1, _BLOCK // columns)
    product = np.empty((block, columns))
    for at in range(0, len(grid), block):  # few rows at once stay in the processor's cache
        rows = grid[at : at + block]
        for k in range(len(right)):
            rows += np.multiply(left[at : at + block, k, None], right[k], out=product[: len(rows)])
    return _bytes_of(total[column : column + len(values)], dtype)


def decompress(payload: Buffer, base: Buffer, size: int) -> bytes:
    """The `size` plain bytes; `base` is as long. Raises DamageError."""
    import numpy as np  # noqa: PLC0415

    if len(payload) < _HEAD.size:
        raise DamageError("a chunk's factors end early")
    mark, rank, columns, column = _HEAD.unpack_from(payload)
    kind = mark % _CUT
    if mark >= 2 * _CUT or kind >= len(_DTYPES) or not 0 < rank <= RANK_MAX:
        raise DamageError("a chunk's factors are of a kind that can't be")
    if not column < columns <= size or size % _width(kind):
        raise DamageError("a chunk's factors have a shape that can't be")
    rows = -(-(column + size // _width(kind)) // columns)
    if rank * (rows + columns) > 2 * (size // _width(kind)):
        raise DamageError("a chunk's factors are larger than the chunk")  # and would take memory in proportion
    steps, at = _numbers(payload, f"<{rank + 1}h", _HEAD.size)
    (left_size, right_size), at = _numbers(payload, "<II", at)
    if not all(step in EXPONENTS for step in steps) or at + left_size + right_size > len(payload):
        raise DamageError("a chunk's factors don't fit into it")
    one, other = payload[at : at + left_size], payload[at + left_size : at + left_size + right_size]
    if mark >= _CUT:
        found = Factors(_read(one, (rank, rows)).T, _read(other, (rank, columns)), steps[0], steps[1:])
    else:
        found = Factors(_read_planes(one, (rows, rank)), _read_planes(other, (rank, columns)), steps[0], steps[1:])
    with np.errstate(all="ignore"):
        foretold = _foretold(base, _DTYPES[kind], columns, column, found)
    return delta.decompress(payload[at + left_size + right_size :], foretold, size)


def _width(kind: int) -> int:
    return _WIDTHS[_DTYPES[kind]]


def _numbers(payload: Buffer, format_: str, at: int) -> tuple[tuple[int, ...], int]:
    end = at + struct.calcsize(format_)
    if end > len(payload):
        raise DamageError("a chunk's factors end early")
    return struct.unpack(format_, payload[at:end]), end


def _written(factor: NDArray[np.int32]) -> bytes:
    """Direction by direction, each cut so that its symbols are of about the same size as all others."""
    import numpy as np  # noqa: PLC0415

    folded = ((factor << 1) ^ (factor >> 31)).view(np.uint32)
    cuts = np.array([max(int(row.max()).bit_length() - _SYMBOL, 0) for row in folded], dtype=np.uint8)
    symbols = folded >> cuts[:, None].astype(np.uint32)
    frame = zstd.encode(symbols.astype(np.uint8).tobytes())
    low = folded ^ (symbols << cuts[:, None].astype(np.uint32))
    row = bits.pack(low.ravel(), np.repeat(cuts, folded.shape[1]))
    return cuts.tobytes() + len(frame).to_bytes(4, "little") + frame + row


def _read(written: Buffer, shape: tuple[int, int]) -> NDArray[np.int32]:
    import numpy as np  # noqa: PLC0415

    directions, length = shape
    (size,), at = _numbers(written, "<I", directions)
    cuts = np.frombuffer(written[:directions], dtype=np.uint8)
    if int(cuts.max()) + _SYMBOL > INTEGER.bit_length() or at + size > len(written):
        raise DamageError("a chunk's factor is cut where it can't be")
    symbols = np.frombuffer(zstd.decompress(bytes(written[at : at + size]), directions * length), dtype=np.uint8)
    widths = np.repeat(cuts, length)
    row = bytes(written[at + size :])
    if symbols.max() >> _SYMBOL or len(row) != bits.size(widths):
        raise DamageError("a chunk's factor is not as large as it should be")
    folded = (symbols.astype(np.uint64) << widths) | bits.unpack(row, widths)
    return _unfolded(folded.astype(np.uint32)).reshape(shape)


def _read_planes(written: Buffer, shape: tuple[int, int]) -> NDArray[np.int32]:
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
    factor = _unfolded(np.frombuffer(plain, dtype="<u4")).reshape(shape)
    if (abs(factor.astype(np.int64)) >= _SHORT).any():
        raise DamageError("a chunk's factor has a number that can't be")
    return factor


def _unfolded(folded: NDArray[np.uint32]) -> NDArray[np.int32]:
    import numpy as np  # noqa: PLC0415

    factor: NDArray[np.int32] = (folded >> np.uint32(1)).astype(np.int32) ^ -(folded & np.uint32(1)).astype(np.int32)
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

"""The only place that says how much the numbers of a tensor changed: norms over blocks of bytes, in float64.

Whatever the dtype, each element is widened to float64 (complex128 for complex ones) exactly, but for 64-bit integers
beyond 2^53, which are rounded. Elements that are infinite or no number on either side are counted and left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from modelsyncd.digest import Buffer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64] | NDArray[np.complex128]

BITS = {
    **{f"{kind}{bits}": bits for kind in "iu" for bits in (8, 16, 32, 64)},
    **dict.fromkeys(("i4", "u4", "f4"), 4),
    **dict.fromkeys(("bool", "f8_e4m3", "f8_e4m3fn", "f8_e5m2", "f8_e4m3fnuz", "f8_e5m2fnuz", "f8_e8m0"), 8),
    "f16": 16,
    "bf16": 16,
    "f32": 32,
    "f64": 64,
    "c64": 64,
    "c128": 128,
}
"""Bits of an element of the dtypes that have norms. Blocks of quantised numbers that share a scale have none."""

_SAFE = 1e-140, 1e140  # magnitudes whose squares neither vanish nor overflow, however many are added up


@dataclass(frozen=True, slots=True)
class Norm:
    """See ChangeNorm in catalog.proto: Euclidean norms, the largest difference, and numbers of elements."""

    l2: float
    l2_before: float
    largest: float
    elements: int
    changed: int
    left_out: int


class Change:
    """The change of one tensor, block after block."""

    def __init__(self, before: str, after: str) -> None:
        """The dtypes. Raises KeyError for one without norms."""
        self._widen = _widener(before), _widener(after)
        self.bits = BITS[before], BITS[after]
        """Of an element on either side."""
        self._difference, self._before = _Sum(), _Sum()
        self._largest = 0.0
        self._elements = self._changed = self._left_out = 0

    def add(self, old: Buffer, new: Buffer) -> None:
        """Takes the same elements of both sides. Raises ValueError when they are not as many."""
        import numpy as np  # noqa: PLC0415 -- loaded when it is first needed

        with np.errstate(all="ignore"):  # what is infinite or no number is expected here, and counted
            before, after = self._widen[0](old), self._widen[1](new)
            if len(before) != len(after):
                raise ValueError(f"{len(before)} elements against {len(after)}")
            difference = after - before
            finite = np.isfinite(difference)  # not so if either is infinite or no number, or both are huge
            self._elements += len(before)
            self._changed += int(np.count_nonzero(before != after))
            left_out = len(before) - int(np.count_nonzero(finite))
            if left_out:
                self._left_out += left_out
                self._changed -= int(np.count_nonzero(np.isnan(before) & np.isnan(after)))
                difference, before = difference[finite], before[finite]
            sizes = np.abs(difference)
            self._largest = max(self._largest, float(sizes.max(initial=0.0)))
            self._difference.add(sizes)
            self._before.add(np.abs(before))

    def result(self) -> Norm:
        """What came of it."""
        return Norm(
            self._difference.root, self._before.root, self._largest, self._elements, self._changed, self._left_out
        )


class _Sum:
    """A sum of squares that neither overflows nor vanishes: `scale`² × `squares`."""

    def __init__(self) -> None:
        self._scale = 1.0
        self._squares = 0.0

    def add(self, sizes: NDArray[np.float64]) -> None:
        """Adds magnitudes."""
        import numpy as np  # noqa: PLC0415

        top = float(sizes.max(initial=0.0))
        if top == 0.0:
            return
        scale = 1.0 if _SAFE[0] < top < _SAFE[1] else top
        scaled = sizes if scale == 1.0 else sizes / scale
        self._join(scale, float(np.dot(scaled, scaled)))

    def _join(self, scale: float, squares: float) -> None:
        if not self._squares:
            self._scale, self._squares = scale, squares
        elif scale > self._scale:
            self._squares = squares + self._squares * (self._scale / scale) ** 2
            self._scale = scale
        else:
            self._squares += squares * (scale / self._scale) ** 2

    @property
    def root(self) -> float:
        """The norm."""
        return self._scale * math.sqrt(self._squares)


@cache
def _widener(dtype: str) -> Callable[[Buffer], Numbers]:
    import numpy as np  # noqa: PLC0415

    BITS[dtype]  # the KeyError that was promised
    if dtype == "bf16":
        return lambda data: (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    if dtype in _NARROW:
        values = np.array([_NARROW[dtype](code) for code in range(1 << BITS[dtype])], np.float64)
        if BITS[dtype] == 4:
            return lambda data: values[_halves(data)]
        return lambda data: values[np.frombuffer(data, np.uint8)]
    if dtype[0] == "c":
        return lambda data: np.frombuffer(data, f"<c{BITS[dtype] // 8}").astype(np.complex128)
    letter = "u" if dtype == "bool" else dtype[0]
    return lambda data: np.frombuffer(data, f"<{letter}{BITS[dtype] // 8}").astype(np.float64)


def _halves(data: Buffer) -> NDArray[np.uint8]:
    import numpy as np  # noqa: PLC0415

    both = np.frombuffer(data, np.uint8)
    return np.stack((both & 15, both >> 4), axis=1).reshape(-1)


def _small_float(exponent_bits: int, mantissa_bits: int, bias: int, special: str) -> Callable[[int], float]:
    """What a code of a float of up to 8 bits stands for; `special` says which codes are no numbers.

    "ieee": the highest exponent; "top": all ones; "zero": negative zero; "": none (OCP 8-bit floating point, and the
    "fnuz" forms of arXiv 2206.02915).
    """
    magnitude_bits = exponent_bits + mantissa_bits

    def value(code: int) -> float:
        sign = -1.0 if code >> magnitude_bits else 1.0
        exponent, mantissa = (code >> mantissa_bits) & ((1 << exponent_bits) - 1), code & ((1 << mantissa_bits) - 1)
        if special == "zero" and code == 1 << magnitude_bits:
            return math.nan
        if special == "top" and code & ((1 << magnitude_bits) - 1) == (1 << magnitude_bits) - 1:
            return math.nan
        if special == "ieee" and exponent == (1 << exponent_bits) - 1:
            return math.nan if mantissa else sign * math.inf
        if exponent == 0:
            return sign * math.ldexp(mantissa, 1 - bias - mantissa_bits)
        return sign * math.ldexp((1 << mantissa_bits) + mantissa, exponent - bias - mantissa_bits)

    return value


_NARROW: dict[str, Callable[[int], float]] = {
    "f8_e4m3": _small_float(4, 3, 7, "top"),
    "f8_e4m3fn": _small_float(4, 3, 7, "top"),
    "f8_e5m2": _small_float(5, 2, 15, "ieee"),
    "f8_e4m3fnuz": _small_float(4, 3, 8, "zero"),
    "f8_e5m2fnuz": _small_float(5, 2, 16, "zero"),
    "f8_e8m0": lambda code: math.nan if code == 255 else math.ldexp(1.0, code - 127),
    "f4": _small_float(2, 1, 1, ""),
    "i4": lambda code: float(code - 16 if code >= 8 else code),
    "u4": float,
}

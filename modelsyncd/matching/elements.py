"""The only place that says how the elements of a dtype are read, and from when on two samples look related."""

from __future__ import annotations

import struct
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Element:
    """One element of `width` bytes, read as numbers by `letter` of `struct`; a complex one is two numbers.

    `signed` numbers of floats are a sign and a magnitude. Below `related` bits, two tensors are taken for versions of
    one; below `sure` nobody looks further.
    """

    width: int
    letter: str
    floating: bool
    related: float
    sure: float
    turns: bool = True

    @property
    def bits(self) -> int:
        """Bits of one number."""
        return 8 * struct.calcsize(self.letter)


# `related`: measured on pairs of real training runs. Unrelated weights differ in sign every other time, so their
# differences are 28 of 32 bits long on average, 14 of 16 and 6.5 of 8; weights after 300 steps are at 15, 4 and 1.
_WORDS = {8: ("b", 4.0, 2.5), 16: ("h", 10.0, 7.0), 32: ("i", 26.0, 20.0), 64: ("q", 56.0, 48.0)}


def _element(bits: int, *, floating: bool, signed: bool = True, numbers: int = 1) -> Element:
    letter, related, sure = _WORDS[bits]
    return Element(numbers * bits // 8, letter if signed else letter.upper(), floating, related, sure)


_KNOWN = {
    **{f"f{bits}": _element(bits, floating=True) for bits in (16, 32, 64)},
    **{f"i{bits}": _element(bits, floating=False) for bits in (8, 16, 32, 64)},
    **{f"u{bits}": _element(bits, floating=False, signed=False) for bits in (8, 16, 32, 64)},
    "bf16": _element(16, floating=True),
    "c64": _element(32, floating=True, numbers=2),
    "c128": _element(64, floating=True, numbers=2),
    "bool": _element(8, floating=False, signed=False),
    **{f"f8_{kind}": _element(8, floating=True) for kind in ("e4m3", "e4m3fn", "e5m2", "e4m3fnuz", "e5m2fnuz")},
    "f8_e8m0": _element(8, floating=False, signed=False),
}
_OPAQUE = Element(1, "B", floating=False, related=4.0, sure=2.5, turns=False)


def element_of(dtype: str) -> Element:
    """How to read a dtype. Several elements in one byte, and blocks that share a scale, are read as bytes."""
    return _KNOWN.get(dtype, _OPAQUE)


def numbers(sample: bytes, element: Element) -> list[int]:
    """The sample's numbers, in an order in which neighbours in value are neighbours; a rest is left out."""
    count = len(sample) * 8 // element.bits
    # Little-endian, as all formats have it; `unpack_from` would refuse nothing less.
    found = struct.unpack(f"<{count}{element.letter}", sample[: count * element.bits // 8])
    if not element.floating:
        return list(found)
    magnitude = (1 << (element.bits - 1)) - 1
    return [number ^ magnitude if number < 0 else number for number in found]


def mean_bits(new: bytes, base: bytes, element: Element) -> float:
    """Mean length in bits of the zigzag differences of two samples of the same places; 0 for equal ones."""
    if new == base:
        return 0.0
    pairs = zip(numbers(new, element), numbers(base, element), strict=True)
    differences = [left - right for left, right in pairs]
    # Zigzag of d is 2d or -2d-1: one bit longer than d or ~d.
    total = sum((d if d >= 0 else ~d).bit_length() + (d != 0) for d in differences)
    return min(total / max(len(differences), 1), element.bits)


def signature(sample: bytes, element: Element) -> int:
    """A bit for each number: whether it is above the median. Training moves few over it; other tensors share half."""
    found = numbers(sample, element)
    if not found:
        return 0
    median = sorted(found)[len(found) // 2]
    return int("".join("1" if number > median else "0" for number in found), 2)

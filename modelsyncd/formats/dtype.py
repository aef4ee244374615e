"""The only place for the names of element types, the same for every format, and for their sizes in bits."""

from __future__ import annotations

from collections.abc import Sequence

from modelsyncd.formats.header import OddError
from modelsyncd.limits import LIMITS

BITS = {
    **dict.fromkeys(("i2", "u2"), 2),
    **dict.fromkeys(("i4", "u4", "f4"), 4),
    **dict.fromkeys(("f6_e2m3", "f6_e3m2"), 6),
    **dict.fromkeys(("bool", "u8", "i8"), 8),
    **dict.fromkeys(("f8_e5m2", "f8_e4m3", "f8_e8m0", "f8_e4m3fnuz", "f8_e5m2fnuz"), 8),
    **dict.fromkeys(("i16", "u16", "f16", "bf16"), 16),
    **dict.fromkeys(("i32", "u32", "f32"), 32),
    **dict.fromkeys(("i64", "u64", "f64", "c64"), 64),
    "c128": 128,
}
"""Bits of one element. The names are those of safetensors in lower case: a tensor finds its like in any format."""

COUNT_MAX = 1 << 58  # elements of one tensor: their bits still fit into 64


def elements(shape: Sequence[int]) -> int:
    """Elements of a tensor of this shape. Raises OddError for a shape that can't be."""
    if len(shape) > LIMITS.layout_extents:
        raise OddError
    count = 1
    for extent in shape:
        if not 0 <= extent < COUNT_MAX:
            raise OddError
        count *= extent
        if count >= COUNT_MAX:
            raise OddError
    return count


def size_of(dtype: str, shape: Sequence[int]) -> int:
    """Bytes of a tensor whose elements lie without gaps, the last byte filled up. Raises OddError."""
    bits = BITS.get(dtype)
    if bits is None:
        raise OddError
    return (elements(shape) * bits + 7) // 8

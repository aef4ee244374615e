"""The only place that reads safetensors headers: 8 bytes of length, JSON, then the tensors without gaps.

The rules are those of the format's own reader (https://github.com/huggingface/safetensors, README and
`safetensors/src/tensor.rs`); what that refuses, this refuses. Beyond it, numbers here are bounded before they are used.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import cast

from modelsyncd.limits import LIMITS
from modelsyncd.manifest import Tensor

HEADER_BYTES = 16 << 20
"""Bytes of JSON that we read. The format allows 100,000,000; 16 MiB is about 100,000 tensors, and Python needs up to
forty times as much memory for hostile JSON."""
DIMENSIONS = 64  # extents of one tensor
_COUNT_MAX = 1 << 64  # elements: where the format's own reader overflows

_BITS = {
    **dict.fromkeys(("F4",), 4),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
}
"""Bits of one element."""


class _OddError(Exception):
    """The header is not what we would have written."""


def read_tensors(size: int, read_at: Callable[[int, int], bytes]) -> tuple[Tensor, ...] | None:
    """The tensors of a file of `size` bytes, ascending by offset; None when anything about its header is odd."""
    length = int.from_bytes(read_at(0, 8), "little")
    if not 2 <= length <= min(HEADER_BYTES, size - 8):
        return None
    try:
        return _tensors(_parse(read_at(8, length), length), 8 + length, size)
    except (_OddError, ValueError, RecursionError):  # ValueError: not UTF-8, not JSON, a number of 5,000 digits
        return None


def _parse(header: bytes, length: int) -> dict[str, object]:
    if len(header) != length or not header.startswith(b"{"):
        raise _OddError
    # An object whose keys repeat means different things to different readers.
    parsed: object = json.loads(header.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    return cast("dict[str, object]", parsed)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise _OddError
    return unique


def _no_constant(name: str) -> object:
    """NaN and Infinity are Python's, not JSON's."""
    raise _OddError(name)


def _tensors(header: dict[str, object], start: int, size: int) -> tuple[Tensor, ...]:
    _check_metadata(header.pop("__metadata__", {}))
    if len(header) > LIMITS.tensors:
        raise _OddError
    tensors = [_tensor(name, entry, start) for name, entry in header.items()]
    tensors.sort(key=lambda tensor: (tensor.offset, tensor.size))
    position = start
    for tensor in tensors:
        if tensor.offset != position:
            raise _OddError
        position += tensor.size
    if position != size:
        raise _OddError
    return tuple(tensors)


def _check_metadata(metadata: object) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _OddError


def _tensor(name: str, entry: object, start: int) -> Tensor:
    """One entry of the header; its offsets count from `start`, the first byte after the header."""
    name.encode()  # half of a surrogate pair is no text
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise _OddError
    dtype, shape, (begin, end) = entry["dtype"], _naturals(entry["shape"]), _pair(entry["data_offsets"])
    if not isinstance(dtype, str) or dtype not in _BITS or begin > end:
        raise _OddError
    if _count(shape) * _BITS[dtype] != 8 * (end - begin):
        raise _OddError
    return Tensor(name, dtype.lower(), shape, start + begin, end - begin)


def _naturals(value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) > DIMENSIONS:
        raise _OddError
    # Not isinstance: True is an int to Python.
    if not all(type(number) is int and 0 <= number < _COUNT_MAX for number in value):
        raise _OddError
    return tuple(value)


def _pair(value: object) -> tuple[int, int]:
    numbers = _naturals(value)
    if len(numbers) != 2:
        raise _OddError
    return numbers[0], numbers[1]


def _count(shape: tuple[int, ...]) -> int:
    """Elements of a tensor of this shape."""
    count = 1
    for extent in shape:
        count *= extent
        if count >= _COUNT_MAX // 64:
            raise _OddError
    return count

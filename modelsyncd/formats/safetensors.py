"""The only place that reads safetensors headers: 8 bytes of length, JSON, then the tensors without gaps.

The rules are those of the format's own reader (https://github.com/huggingface/safetensors, README and
`safetensors/src/tensor.rs`); what that refuses, this refuses. Beyond it, numbers here are bounded before they are used.
"""

from __future__ import annotations

import json
from typing import cast

from modelsyncd.formats.dtype import BITS
from modelsyncd.formats.header import Header, OddError
from modelsyncd.limits import LIMITS
from modelsyncd.manifest import Tensor

HEADER_BYTES = 16 << 20
"""Bytes of JSON that we read. The format allows 100,000,000; 16 MiB is about 100,000 tensors, and Python needs up to
forty times as much memory for hostile JSON."""
DIMENSIONS = 64  # extents of one tensor
_COUNT_MAX = 1 << 64  # elements: where the format's own reader overflows
_DTYPES = {
    name.upper(): name
    for name in BITS
    if name not in ("i2", "u2", "i4", "u4", "c128")  # which are other formats'
}


def read_tensors(header: Header) -> tuple[Tensor, ...]:
    """The tensors, ascending by offset. Raises OddError when anything about the header is odd."""
    length = header.u64(0)
    if not 2 <= length <= min(HEADER_BYTES, header.size - 8):
        raise OddError
    try:
        return _tensors(_parse(header.read(8, length)), 8 + length, header.size)
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, a number of 5,000 digits; too deep
        raise OddError from error


def read_metadata(header: Header) -> dict[str, str]:
    """What the file says of itself: words by name. Raises OddError."""
    length = header.u64(0)
    if not 2 <= length <= min(HEADER_BYTES, header.size - 8):
        raise OddError
    try:
        metadata = _parse(header.read(8, length)).get("__metadata__", {})
    except (ValueError, RecursionError) as error:
        raise OddError from error
    _check_metadata(metadata)
    return cast("dict[str, str]", metadata)


def _parse(header: bytes) -> dict[str, object]:
    if not header.startswith(b"{"):
        raise OddError
    # An object whose keys repeat means different things to different readers.
    parsed: object = json.loads(header.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    return cast("dict[str, object]", parsed)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise OddError
    return unique


def _no_constant(name: str) -> object:
    """NaN and Infinity are Python's, not JSON's."""
    raise OddError(name)


def _tensors(header: dict[str, object], start: int, size: int) -> tuple[Tensor, ...]:
    _check_metadata(header.pop("__metadata__", {}))
    if len(header) > LIMITS.tensors:
        raise OddError
    tensors = [_tensor(name, entry, start) for name, entry in header.items()]
    tensors.sort(key=lambda tensor: (tensor.offset, tensor.size))
    position = start
    for tensor in tensors:
        if tensor.offset != position:
            raise OddError
        position += tensor.size
    if position != size:
        raise OddError
    return tuple(tensors)


def _check_metadata(metadata: object) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise OddError


def _tensor(name: str, entry: object, start: int) -> Tensor:
    """One entry of the header; its offsets count from `start`, the first byte after the header."""
    name.encode()  # half of a surrogate pair is no text
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise OddError
    dtype, shape, (begin, end) = entry["dtype"], _naturals(entry["shape"]), _pair(entry["data_offsets"])
    if not isinstance(dtype, str) or dtype not in _DTYPES or begin > end:
        raise OddError
    if _count(shape) * BITS[_DTYPES[dtype]] != 8 * (end - begin):
        raise OddError
    return Tensor(name, _DTYPES[dtype], shape, start + begin, end - begin)


def _naturals(value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) > DIMENSIONS:
        raise OddError
    # Not isinstance: True is an int to Python.
    if not all(type(number) is int and 0 <= number < _COUNT_MAX for number in value):
        raise OddError
    return tuple(value)


def _pair(value: object) -> tuple[int, int]:
    numbers = _naturals(value)
    if len(numbers) != 2:
        raise OddError
    return numbers[0], numbers[1]


def _count(shape: tuple[int, ...]) -> int:
    """Elements of a tensor of this shape."""
    count = 1
    for extent in shape:
        count *= extent
        if count >= _COUNT_MAX // 64:
            raise OddError
    return count

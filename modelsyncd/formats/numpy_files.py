"""The only place that reads the headers of NumPy's files: one array in a `.npy`, several of those stored in a `.npz`.

The format is https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html. Its header is a Python literal;
only the one text that NumPy itself writes is taken, and nothing is evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from modelsyncd.formats.dtype import size_of
from modelsyncd.formats.header import Header, OddError
from modelsyncd.formats.layout import laid_out
from modelsyncd.formats.zip_directory import Entry
from modelsyncd.manifest import Tensor

MAGIC = b"\x93NUMPY"
SUFFIX = ".npy"
_HEADER_MAX = 10_000  # bytes: what NumPy itself reads without being told that it may
_WORDS = re.compile(
    rb"\{'descr': '([<|][a-z]\d{1,2})', 'fortran_order': (True|False), 'shape': \(((?:\d{1,19}, ?)*\d{0,19})\), \} *\n"
)
_DTYPES = {
    "f2": "f16",
    "f4": "f32",
    "f8": "f64",
    "i1": "i8",
    "i2": "i16",
    "i4": "i32",
    "i8": "i64",
    "u1": "u8",
    "u2": "u16",
    "u4": "u32",
    "u8": "u64",
    "b1": "bool",
    "c8": "c64",
    "c16": "c128",
}


def read_tensors(header: Header) -> tuple[Tensor, ...]:
    """The one array of a `.npy` file; it has no name. Raises OddError."""
    return laid_out([_array(header, "", 0, header.size)], header.size)


def is_archive(entries: Sequence[Entry]) -> bool:
    """Whether a zip file is a `.npz`."""
    return any(entry.name.endswith(SUFFIX) for entry in entries)


def read_archive(header: Header, entries: Sequence[Entry]) -> tuple[Tensor, ...]:
    """The arrays of a `.npz` file, ascending by offset; entries that are no array, or odd, are left out."""
    return laid_out(_arrays(header, entries), header.size)


def _arrays(header: Header, entries: Sequence[Entry]) -> Iterator[Tensor]:
    for entry in entries:
        if not entry.name.endswith(SUFFIX):
            continue
        try:
            yield _array(header, entry.name.removesuffix(SUFFIX), entry.offset, entry.offset + entry.size)
        except OddError:
            continue


def _array(header: Header, name: str, start: int, end: int) -> Tensor:
    magic = header.read(start, 8)
    if not magic.startswith(MAGIC) or magic[6] not in (1, 2, 3) or magic[7] != 0:
        raise OddError
    if magic[6] == 1:
        length, begin = header.u16(start + 8), start + 10
    else:
        length, begin = header.u32(start + 8), start + 12
    if length > _HEADER_MAX:
        raise OddError
    words = _WORDS.fullmatch(header.read(begin, length))
    if words is None:
        raise OddError
    dtype = _DTYPES.get(words[1][1:].decode())
    shape = tuple(int(extent) for extent in words[3].split(b",") if extent.strip())
    if dtype is None or begin + length + size_of(dtype, shape) != end:
        raise OddError
    # The first extent runs fastest in Fortran's order: turned round, the shape is as the bytes lie.
    lying = shape[::-1] if words[2] == b"True" else shape
    return Tensor(name, dtype, lying, begin + length, end - begin - length)

"""The only place that reads GGUF headers: key-value pairs, tensor infos, padding, then the tensors, each aligned.

The rules are those of https://github.com/ggml-org/ggml/blob/master/docs/gguf.md; block sizes are ggml's own. Only
little-endian files are read: turned round, their version is a number that is none.
"""

from __future__ import annotations

from typing import NamedTuple

from modelsyncd.formats.dtype import elements
from modelsyncd.formats.header import Cursor, Header, OddError, text
from modelsyncd.formats.layout import laid_out
from modelsyncd.manifest import Tensor

MAGIC = b"GGUF"
_ALIGNMENT = 32  # bytes, when the file does not say
_ALIGNMENT_KEY = b"general.alignment"
_ARCHITECTURE_KEY = b"general.architecture"
_UINT32, _STRING, _ARRAY = 4, 8, 9
_WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a value, by its type; text and arrays say their own."""


class _Block(NamedTuple):
    """Elements that are kept together, and the bytes that they take."""

    dtype: str
    elements: int
    size: int


_BLOCKS = {
    0: _Block("f32", 1, 4),
    1: _Block("f16", 1, 2),
    2: _Block("q4_0", 32, 18),
    3: _Block("q4_1", 32, 20),
    6: _Block("q5_0", 32, 22),
    7: _Block("q5_1", 32, 24),
    8: _Block("q8_0", 32, 34),
    10: _Block("q2_k", 256, 84),
    11: _Block("q3_k", 256, 110),
    12: _Block("q4_k", 256, 144),
    13: _Block("q5_k", 256, 176),
    14: _Block("q6_k", 256, 210),
    15: _Block("q8_k", 256, 292),
    16: _Block("iq2_xxs", 256, 66),
    17: _Block("iq2_xs", 256, 74),
    18: _Block("iq3_xxs", 256, 98),
    19: _Block("iq1_s", 256, 50),
    20: _Block("iq4_nl", 32, 18),
    21: _Block("iq3_s", 256, 110),
    22: _Block("iq2_s", 256, 82),
    23: _Block("iq4_xs", 256, 136),
    24: _Block("i8", 1, 1),
    25: _Block("i16", 1, 2),
    26: _Block("i32", 1, 4),
    27: _Block("i64", 1, 8),
    28: _Block("f64", 1, 8),
    29: _Block("iq1_m", 256, 56),
    30: _Block("bf16", 1, 2),
    34: _Block("tq1_0", 256, 54),
    35: _Block("tq2_0", 256, 66),
    39: _Block("mxfp4", 32, 17),
    40: _Block("nvfp4", 64, 36),
    41: _Block("q1_0", 128, 18),
}
"""By ggml's number. Types that were given up, or never lie in a file, are missing: a file with one is odd."""


def read_tensors(header: Header) -> tuple[Tensor, ...]:
    """The tensors, ascending by offset. Raises OddError."""
    cursor = Cursor(header, 4, header.size)
    version = cursor.u32()
    if not 1 <= version <= 3:
        raise OddError
    reader = _Reader(cursor, version)
    tensors, pairs = reader.length(), reader.length()
    if tensors > header.limits.layout_tensors:
        raise OddError
    alignment = _alignment(reader, pairs)
    infos = [reader.info() for _ in range(tensors)]
    start = -(-cursor.position // alignment) * alignment
    if any(info.offset % alignment or not info.name for info in infos) or len({info.name for info in infos}) != tensors:
        raise OddError
    return laid_out(
        [Tensor(info.name, info.dtype, info.shape, start + info.offset, info.size) for info in infos], header.size
    )


def read_architecture(header: Header) -> str:
    """What kind of model it is, as in "llama"; "" when the file does not say. Raises OddError."""
    cursor = Cursor(header, 4, header.size)
    version = cursor.u32()
    if not 1 <= version <= 3:
        raise OddError
    reader = _Reader(cursor, version)
    _, pairs = reader.length(), reader.length()
    for _ in range(pairs):
        key, kind = reader.string(), cursor.u32()
        if key == _ARCHITECTURE_KEY and kind == _STRING:
            return text(reader.string())
        reader.skip_value(kind, 0)
    return ""


def _alignment(reader: _Reader, pairs: int) -> int:
    """Goes over the key-value pairs and keeps the one that moves tensors."""
    alignment = _ALIGNMENT
    for _ in range(pairs):
        key, kind = reader.string(), reader.cursor.u32()
        if key != _ALIGNMENT_KEY:
            reader.skip_value(kind, 0)
            continue
        if kind != _UINT32:
            raise OddError
        alignment = reader.cursor.u32()
    if not 1 <= alignment <= 1 << 20 or alignment & (alignment - 1):
        raise OddError
    return alignment


class _Reader:
    """The parts of a header, in their order; lengths have 4 bytes in version 1 and 8 bytes since."""

    def __init__(self, cursor: Cursor, version: int) -> None:
        self.cursor = cursor
        self.length = cursor.u32 if version == 1 else cursor.u64

    def string(self) -> bytes:
        """A text that is a name."""
        length = self.length()
        if length > 4 * self.cursor.header.limits.layout_name_chars:
            raise OddError
        return self.cursor.take(length)

    def info(self) -> Tensor:
        """One tensor; its offset counts from the first byte after the header."""
        name = text(self.string())
        dimensions = self.cursor.u32()
        if dimensions > self.cursor.header.limits.layout_extents:
            raise OddError
        # The innermost extent comes first, and only whole blocks of it.
        shape = tuple(reversed([self.length() for _ in range(dimensions)]))
        block = _BLOCKS.get(self.cursor.u32())
        if block is None or (shape and shape[-1] % block.elements):
            raise OddError
        count = elements(shape)
        if count % block.elements:
            raise OddError
        return Tensor(name, block.dtype, shape, self.cursor.u64(), count // block.elements * block.size)

    def skip_value(self, kind: int, nesting: int) -> None:
        """Goes over a value of this type without keeping it."""
        if kind == _STRING:
            self.cursor.skip(self.length())
        elif kind == _ARRAY:
            self._skip_array(nesting + 1)
        elif kind in _WIDTHS:
            self.cursor.skip(_WIDTHS[kind])
        else:
            raise OddError

    def _skip_array(self, nesting: int) -> None:
        if nesting > self.cursor.header.limits.layout_nesting:
            raise OddError
        kind, count = self.cursor.u32(), self.length()
        if kind in _WIDTHS:
            self.cursor.skip(count * _WIDTHS[kind])
            return
        for _ in range(count):  # each takes a step of the budget
            self.skip_value(kind, nesting)

"""The only place that finds tensors in TensorFlow Lite models: flatbuffers, read offset by offset, a few bytes each.

The schema is https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema/schema.fbs. The
way from the root to a buffer has a fixed length, so offsets that lead in a circle lead nowhere.
"""

from __future__ import annotations

from modelsyncd.formats.dtype import size_of
from modelsyncd.formats.header import Header, OddError, text
from modelsyncd.formats.layout import laid_out
from modelsyncd.manifest import Tensor

MAGIC = b"TFL3"
"""At byte 4."""
_SUBGRAPHS, _BUFFERS = 2, 4  # fields of Model
_TENSORS, _INPUTS, _OUTPUTS = 0, 1, 2  # of SubGraph
_SHAPE, _TYPE, _BUFFER, _NAME = 0, 1, 2, 3  # of Tensor
_DATA, _OFFSET, _SIZE = 0, 1, 2  # of Buffer; a model above 2 GB says offset and size in the file instead
_DTYPES = {
    0: "f32",
    1: "f16",
    2: "i32",
    3: "u8",
    4: "i64",
    6: "bool",
    7: "i16",
    8: "c64",
    9: "i8",
    10: "f64",
    11: "c128",
    12: "u64",
    15: "u32",
    16: "u16",
    17: "i4",
    18: "bf16",
}
_Place = tuple[int, int]
"""(first byte, bytes) in the file."""
_Port = tuple[str, str, tuple[int, ...]]
"""(name, element type, shape)."""


def read_tensors(header: Header) -> tuple[Tensor, ...]:
    """The tensors that have a buffer with bytes, ascending by offset. Raises OddError."""
    flat = _Flat(header)
    model = flat.follow(0)
    buffers = [flat.buffer(table) for table in flat.tables(model, _BUFFERS)]
    tensors: list[Tensor] = []
    for subgraph in flat.tables(model, _SUBGRAPHS):
        for table in flat.tables(subgraph, _TENSORS):
            tensor = flat.tensor(table, buffers)
            if tensor is not None:
                tensors.append(tensor)
            if len(tensors) > header.limits.layout_tensors:
                raise OddError
    return laid_out(tensors, header.size)


def read_ports(header: Header, most: int) -> tuple[list[_Port], list[_Port]]:
    """What goes into the first subgraph, and what comes out of it. Raises OddError, for more than `most` too."""
    flat = _Flat(header)
    subgraphs = flat.tables(flat.follow(0), _SUBGRAPHS)
    if not subgraphs:
        return [], []
    tensors = flat.tables(subgraphs[0], _TENSORS)
    return flat.ports(subgraphs[0], _INPUTS, tensors, most), flat.ports(subgraphs[0], _OUTPUTS, tensors, most)


class _Flat:
    """A flatbuffer: tables, vectors and texts, each found by an offset from where that offset stands."""

    def __init__(self, header: Header) -> None:
        self._header = header

    def follow(self, at: int) -> int:
        """Where the offset that stands here leads."""
        return at + self._header.u32(at)

    def field(self, table: int, number: int) -> int | None:
        """Where a field of a table stands; None when it was left out."""
        shape = table - self._header.i32(table)
        length = self._header.u16(shape)
        if 6 + 2 * number > length:
            return None
        offset = self._header.u16(shape + 4 + 2 * number)
        return table + offset if offset else None

    def vector(self, table: int, number: int) -> _Place:
        """(first element, how many) of a vector; (0, 0) of none."""
        at = self.field(table, number)
        if at is None:
            return 0, 0
        start = self.follow(at)
        return start + 4, self._header.u32(start)

    def tables(self, table: int, number: int) -> list[int]:
        """The tables of a vector of tables."""
        start, count = self.vector(table, number)
        if count > self._header.limits.layout_tensors:
            raise OddError
        return [self.follow(start + 4 * index) for index in range(count)]

    def buffer(self, table: int) -> _Place:
        """The bytes of a buffer."""
        offset, size = self.field(table, _OFFSET), self.field(table, _SIZE)
        if offset is not None and size is not None and self._header.u64(offset) > 1:
            return self._header.u64(offset), self._header.u64(size)
        return self.vector(table, _DATA)

    def tensor(self, table: int, buffers: list[_Place]) -> Tensor | None:
        """A tensor with its bytes in the file; None for one that is computed, or of elements of no fixed size."""
        index, kind = self.field(table, _BUFFER), self.field(table, _TYPE)
        number = 0 if index is None else self._header.u32(index)
        dtype = _DTYPES.get(0 if kind is None else self._header.u8(kind))
        if number >= len(buffers):
            raise OddError
        offset, size = buffers[number]
        if size == 0 or dtype is None:
            return None
        shape = self._shape(table)
        if size_of(dtype, shape) != size:  # sparse, for example: a row of bytes
            dtype, shape = "u8", (size,)
        return Tensor(self._name(table), dtype, shape, offset, size)

    def ports(self, subgraph: int, number: int, tensors: list[int], most: int) -> list[_Port]:
        """The tensors that a vector of a subgraph names by their place in it."""
        start, count = self.vector(subgraph, number)
        if count > most:
            raise OddError
        return [self._port(tensors, self._header.i32(start + 4 * index)) for index in range(count)]

    def _port(self, tensors: list[int], index: int) -> _Port:
        if not 0 <= index < len(tensors):
            raise OddError
        kind = self.field(tensors[index], _TYPE)
        dtype = _DTYPES.get(0 if kind is None else self._header.u8(kind), "")
        return self._name(tensors[index]), dtype, self._shape(tensors[index])

    def _shape(self, table: int) -> tuple[int, ...]:
        start, count = self.vector(table, _SHAPE)
        if count > self._header.limits.layout_extents:
            raise OddError
        return tuple(self._header.i32(start + 4 * index) for index in range(count))

    def _name(self, table: int) -> str:
        start, length = self.vector(table, _NAME)
        if length > 4 * self._header.limits.layout_name_chars:
            raise OddError
        return text(self._header.read(start, length))

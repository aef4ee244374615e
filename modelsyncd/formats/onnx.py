"""The only place that finds tensors in ONNX models, inside the file and in the files that it points to.

Field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, rules for external data those of
docs/ExternalData.md there. Numbers that are written one by one (`int32_data`, `int64_data`) are no tensors here: they
have no fixed width. The file has no magic: whoever calls goes by its name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from modelsyncd.formats.dtype import size_of
from modelsyncd.formats.header import Header, OddError, text
from modelsyncd.formats.layout import laid_out
from modelsyncd.formats.protobuf import LENGTH, VARINT, Field, fields, numbers
from modelsyncd.manifest import Tensor

_LARGE = 64 << 10  # bytes: a node below this holds no tensor that is worth a look
_GRAPH = 7  # of ModelProto
_NODE, _INITIALIZER, _SPARSE = 1, 5, 15  # of GraphProto
_OUTPUT, _ATTRIBUTE = 2, 5  # of NodeProto
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS = 5, 6, 10, 11  # of AttributeProto
_DIMS, _TYPE, _FLOATS, _NAME, _RAW, _DOUBLES, _EXTERNAL, _LOCATION = 1, 2, 4, 8, 9, 10, 13, 14  # of TensorProto
DTYPES = {
    1: "f32",
    2: "u8",
    3: "i8",
    4: "u16",
    5: "i16",
    6: "i32",
    7: "i64",
    9: "bool",
    10: "f16",
    11: "f64",
    12: "u32",
    13: "u64",
    14: "c64",
    15: "c128",
    16: "bf16",
    17: "f8_e4m3",
    18: "f8_e4m3fnuz",
    19: "f8_e5m2",
    20: "f8_e5m2fnuz",
    21: "u4",
    22: "i4",
    23: "f4",
    24: "f8_e8m0",
    25: "u2",
    26: "i2",
}


@dataclass(frozen=True, slots=True)
class Found:
    """The tensors of a model: inside its file, and in other files by their path, relative to the model's folder."""

    inside: tuple[Tensor, ...]
    elsewhere: Mapping[str, tuple[Tensor, ...]]


def read_tensors(header: Header) -> Found:
    """Raises OddError. Tensors elsewhere are not yet held against the size of the file that they should lie in."""
    walk = _Walk(header)
    for field in fields(header, 0, header.size):
        if field.number == _GRAPH and field.wire == LENGTH:
            walk.graph(field, 0)
    return Found(laid_out(walk.inside, header.size), {path: tuple(found) for path, found in walk.elsewhere.items()})


class _Walk:
    """Goes through graphs, and gathers."""

    def __init__(self, header: Header) -> None:
        self.header = header
        self.inside: list[Tensor] = []
        self.elsewhere: defaultdict[str, list[Tensor]] = defaultdict(list)
        self._count = 0

    def graph(self, place: Field, nesting: int) -> None:
        """A graph: its initializers, and the nodes large enough to hold tensors or graphs of their own."""
        if nesting > self.header.limits.layout_nesting:
            raise OddError
        for field in self._inside(place):
            if field.number == _INITIALIZER:
                self._tensor(field, "")
            elif field.number == _SPARSE and field.size >= _LARGE:
                self._sparse(field)
            elif field.number == _NODE and field.size >= _LARGE:
                self._node(field, nesting)

    def _inside(self, place: Field) -> Iterator[Field]:
        """The fields that have fields or bytes in them."""
        return (field for field in fields(self.header, place.start, place.end) if field.wire == LENGTH)

    def _sparse(self, place: Field) -> None:
        for field in self._inside(place):
            if field.number in (1, 2):  # values and indices, each a tensor
                self._tensor(field, "")

    def _node(self, place: Field, nesting: int) -> None:
        name = ""
        for field in self._inside(place):
            if field.number == _OUTPUT and not name:
                name = self._text(field)
            elif field.number == _ATTRIBUTE and field.size >= _LARGE:
                self._attribute(field, name, nesting)

    def _attribute(self, place: Field, name: str, nesting: int) -> None:
        for field in self._inside(place):
            if field.number in (_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS):
                self._tensor(field, name)
            elif field.number in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS):
                self.graph(field, nesting + 1)

    def _text(self, field: Field) -> str:
        if field.size > 4 * self.header.limits.layout_name_chars:
            raise OddError
        return text(self.header.read(field.start, field.size))

    def _tensor(self, place: Field, name: str) -> None:
        """A tensor; `name` is for one that has none of its own."""
        self._count += 1
        if self._count > self.header.limits.layout_tensors:
            raise OddError
        shape: list[int] = []
        kind = location = 0
        data: list[Field] = []
        pointers: dict[str, str] = {}
        for field in fields(self.header, place.start, place.end):
            if field.number == _DIMS:
                shape.extend(numbers(self.header, field))
            elif field.number == _TYPE and field.wire == VARINT:
                kind = field.value
            elif field.number == _LOCATION and field.wire == VARINT:
                location = field.value
            elif field.wire != LENGTH:
                continue
            elif field.number == _NAME:
                name = self._text(field) or name
            elif field.number in (_RAW, _FLOATS, _DOUBLES):
                data.append(field)
            elif field.number == _EXTERNAL:
                pointers.update(self._pointer(field))
        if kind not in DTYPES or len(shape) > self.header.limits.layout_extents:
            return
        tensor = Tensor(name, DTYPES[kind], tuple(shape), 0, size_of(DTYPES[kind], shape))
        if location == 1:
            self._keep_elsewhere(tensor, pointers)
        elif data:
            self._keep_inside(tensor, data)

    def _keep_inside(self, tensor: Tensor, data: list[Field]) -> None:
        # What is said twice, or has another size than its shape, is for the reader of the model to judge.
        if len(data) != 1 or data[0].size != tensor.size:
            raise OddError
        self.inside.append(Tensor(tensor.name, tensor.dtype, tensor.shape, data[0].start, tensor.size))

    def _keep_elsewhere(self, tensor: Tensor, pointers: Mapping[str, str]) -> None:
        path = _relative(pointers.get("location", ""))
        offset = _number(pointers.get("offset", "0"))
        if _number(pointers.get("length", str(tensor.size))) != tensor.size:
            raise OddError
        self.elsewhere[path].append(Tensor(tensor.name, tensor.dtype, tensor.shape, offset, tensor.size))

    def _pointer(self, place: Field) -> dict[str, str]:
        """A key with its value."""
        key = value = ""
        for field in self._inside(place):
            if field.number == 1:
                key = self._text(field)
            elif field.number == 2:
                value = self._text(field)
        return {key: value}


def _relative(location: str) -> str:
    """The path in the model's folder. Nothing is opened by it; it is looked up among the files of the version."""
    parts = [part for part in location.split("/") if part not in ("", ".")]
    if not parts or location.startswith("/") or ".." in parts:
        raise OddError
    return "/".join(parts)


def _number(digits: str) -> int:
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 19):
        raise OddError
    return int(digits)

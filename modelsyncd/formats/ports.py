"""The only place that reads what a file says of itself beside its tensors: what goes in, what comes out, for whom.

As with layouts, this is a hint and never an error: of anything odd, nothing is said. The field numbers of ONNX are
those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, the keys of GGUF those of
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, and the fields of TensorFlow Lite those of its schema.fbs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modelsyncd.formats import gguf, onnx, safetensors, tflite
from modelsyncd.formats.header import Header, OddError, ReadAt, text
from modelsyncd.formats.protobuf import LENGTH, VARINT, Field, fields
from modelsyncd.limits import LIMITS, Limits

PORTS = 256  # inputs, and as many outputs, of one file
_WORD_CHARS = 64  # characters of an architecture's name


@dataclass(frozen=True, slots=True)
class Port:
    """Something that goes into a model or comes out: extents outermost first, a name where one is open ("batch")."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Words:
    """What a file says of itself; "" and none where it says nothing."""

    framework: str = ""
    architecture: str = ""
    inputs: tuple[Port, ...] = ()
    outputs: tuple[Port, ...] = ()


NOTHING = Words()
_FRAMEWORKS = {
    "gguf": "llama.cpp",
    "hdf5": "keras",
    "keras": "keras",
    "npy": "numpy",
    "npz": "numpy",
    "onnx": "onnx",
    "onnx-data": "onnx",
    "pytorch": "pytorch",
    "tflite": "tensorflow-lite",
}
"""What loads a format that only one kind of program loads."""
_SAFETENSORS = {"pt": "pytorch", "tf": "tensorflow", "flax": "flax", "mlx": "mlx", "np": "numpy"}
"""What `format` in the metadata of safetensors stands for."""


def read_words(format_name: str, size: int, read_at: ReadAt, limits: Limits = LIMITS) -> Words:
    """Of a file of `size` bytes in this format (as in its layout). Raises only what `read_at` raises."""
    header = Header(size, read_at, limits)
    framework = _FRAMEWORKS.get(format_name, "")
    try:
        match format_name:
            case "onnx":
                inputs, outputs = _onnx(header)
                return Words(framework, "", inputs, outputs)
            case "tflite":
                inputs, outputs = _tflite(header)
                return Words(framework, "", inputs, outputs)
            case "gguf":
                return Words(framework, gguf.read_architecture(header)[:_WORD_CHARS])
            case "safetensors":
                said = safetensors.read_metadata(header).get("format", "")
                return Words(_SAFETENSORS.get(said, ""))
            case _:
                return Words(framework)
    except OddError:
        return Words(framework)


# --- ONNX ---

_GRAPH = 7  # of ModelProto
_INITIALIZER, _INPUT, _OUTPUT = 5, 11, 12  # of GraphProto
_TENSOR_NAME = 8  # of TensorProto
_INFO_NAME, _INFO_TYPE = 1, 2  # of ValueInfoProto
_TENSOR_TYPE = 1  # of TypeProto
_ELEMENT, _SHAPE = 1, 2  # of TypeProto.Tensor
_DIMENSION, _VALUE, _PARAMETER = 1, 1, 2  # of TensorShapeProto and its Dimension


def _onnx(header: Header) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    inputs: list[Port] = []
    outputs: list[Port] = []
    weights: set[str] = set()
    for graph in _long(header, 0, header.size, _GRAPH):
        for field in _long(header, graph.start, graph.end):
            if field.number == _INITIALIZER:
                weights.update(_text(header, one) for one in _long(header, field.start, field.end, _TENSOR_NAME))
            elif field.number == _INPUT:
                inputs.append(_onnx_port(header, field))
            elif field.number == _OUTPUT:
                outputs.append(_onnx_port(header, field))
    # Before version 4 of the format, weights were listed among the inputs too.
    return _bounded([port for port in inputs if port.name not in weights]), _bounded(outputs)


def _long(header: Header, start: int, end: int, number: int = 0) -> list[Field]:
    """The fields that have a length, of this number or of any."""
    return [one for one in fields(header, start, end) if one.wire == LENGTH and number in (0, one.number)]


def _onnx_port(header: Header, place: Field) -> Port:
    name, dtype = "", ""
    shape: tuple[int | str, ...] = ()
    for field in _long(header, place.start, place.end):
        if field.number == _INFO_NAME:
            name = _text(header, field)
        elif field.number == _INFO_TYPE:
            for tensor in _long(header, field.start, field.end, _TENSOR_TYPE):
                dtype, shape = _onnx_type(header, tensor)
    return Port(name, dtype, shape)


def _onnx_type(header: Header, place: Field) -> tuple[str, tuple[int | str, ...]]:
    dtype = ""
    shape: tuple[int | str, ...] = ()
    for field in fields(header, place.start, place.end):
        if field.number == _ELEMENT and field.wire == VARINT:
            dtype = onnx.DTYPES.get(field.value, "")
        elif field.number == _SHAPE and field.wire == LENGTH:
            extents = _long(header, field.start, field.end, _DIMENSION)
            if len(extents) > header.limits.layout_extents:
                raise OddError
            shape = tuple(_onnx_extent(header, one) for one in extents)
    return dtype, shape


def _onnx_extent(header: Header, place: Field) -> int | str:
    for field in fields(header, place.start, place.end):
        if field.number == _VALUE and field.wire == VARINT:
            return field.value if field.value < 1 << 63 else "?"  # some writers say -1 for an open extent
        if field.number == _PARAMETER and field.wire == LENGTH:
            return _text(header, field) or "?"
    return "?"


def _text(header: Header, field: Field) -> str:
    if field.size > 4 * header.limits.layout_name_chars:
        raise OddError
    return text(header.read(field.start, field.size))


# --- TensorFlow Lite ---


def _tflite(header: Header) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    inputs, outputs = tflite.read_ports(header, PORTS)
    return (
        tuple(Port(name, dtype, _open(shape)) for name, dtype, shape in inputs),
        tuple(Port(name, dtype, _open(shape)) for name, dtype, shape in outputs),
    )


def _open(shape: Sequence[int]) -> tuple[int | str, ...]:
    return tuple(extent if extent >= 0 else "?" for extent in shape)


def _bounded(ports: Sequence[Port]) -> tuple[Port, ...]:
    if len(ports) > PORTS:
        raise OddError
    return tuple(ports)

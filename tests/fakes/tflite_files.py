"""TensorFlow Lite models for tests, by the schema's own generated writer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import flatbuffers
import tflite


class Written(NamedTuple):
    """A tensor to write: `kind` is a number of the schema's TensorType; without data it is one that is computed."""

    name: str
    kind: int
    shape: tuple[int, ...]
    data: bytes = b""


def tflite_file(
    tensors: Sequence[Written], subgraphs: int = 1, *, inputs: Sequence[int] = (), outputs: Sequence[int] = ()
) -> bytes:
    """A model with these tensors in each of its subgraphs, all on the same buffers; some go in, some come out."""
    builder: Any = flatbuffers.Builder(1024)
    blobs = [builder.CreateByteVector(tensor.data) if tensor.data else None for tensor in tensors]
    buffers = [_buffer(builder, None), *(_buffer(builder, blob) for blob in blobs)]
    graphs = [_graph(builder, tensors, inputs, outputs) for _ in range(subgraphs)]
    graph_vector = _vector(builder, tflite.ModelStartSubgraphsVector, graphs)
    buffer_vector = _vector(builder, tflite.ModelStartBuffersVector, buffers)
    tflite.ModelStart(builder)
    tflite.ModelAddVersion(builder, 3)
    tflite.ModelAddSubgraphs(builder, graph_vector)
    tflite.ModelAddBuffers(builder, buffer_vector)
    builder.Finish(tflite.ModelEnd(builder), b"TFL3")
    return bytes(builder.Output())


def _buffer(builder: Any, blob: int | None) -> int:
    tflite.BufferStart(builder)
    if blob is not None:
        tflite.BufferAddData(builder, blob)
    return int(tflite.BufferEnd(builder))


def _graph(builder: Any, tensors: Sequence[Written], inputs: Sequence[int], outputs: Sequence[int]) -> int:
    made = [_tensor(builder, tensor, index + 1) for index, tensor in enumerate(tensors)]
    vector = _vector(builder, tflite.SubGraphStartTensorsVector, made)
    ins = _numbers(builder, tflite.SubGraphStartInputsVector, inputs)
    outs = _numbers(builder, tflite.SubGraphStartOutputsVector, outputs)
    tflite.SubGraphStart(builder)
    tflite.SubGraphAddTensors(builder, vector)
    tflite.SubGraphAddInputs(builder, ins)
    tflite.SubGraphAddOutputs(builder, outs)
    return int(tflite.SubGraphEnd(builder))


def _tensor(builder: Any, tensor: Written, buffer: int) -> int:
    name = builder.CreateString(tensor.name)
    tflite.TensorStartShapeVector(builder, len(tensor.shape))
    for extent in reversed(tensor.shape):
        builder.PrependInt32(extent)
    shape = builder.EndVector()
    tflite.TensorStart(builder)
    tflite.TensorAddShape(builder, shape)
    tflite.TensorAddType(builder, tensor.kind)
    tflite.TensorAddBuffer(builder, buffer)
    tflite.TensorAddName(builder, name)
    return int(tflite.TensorEnd(builder))


def _vector(builder: Any, start: Any, offsets: Sequence[int]) -> int:
    start(builder, len(offsets))
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _numbers(builder: Any, start: Any, numbers: Sequence[int]) -> int:
    start(builder, len(numbers))
    for number in reversed(numbers):
        builder.PrependInt32(number)
    return int(builder.EndVector())

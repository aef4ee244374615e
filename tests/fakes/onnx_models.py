"""A small classifier that was really trained, as ONNX in 32 and in eight bits, and how often it is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

CLASSES, INPUTS, HIDDEN = 8, 32, 512
Array = npt.NDArray[np.float32]


def examples(seed: int, count: int) -> tuple[Array, npt.NDArray[Any]]:
    """Points around the centres of their classes, near enough to each other that nobody is always right."""
    centres = np.random.default_rng(7).normal(size=(CLASSES, INPUTS))
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, CLASSES, count)
    return (centres[classes] + rng.normal(scale=1.6, size=(count, INPUTS))).astype(np.float32), classes


def write_fp32(folder: Path) -> Path:
    """Random features and a layer that is fitted to them by least squares."""
    rng = np.random.default_rng(11)
    first = rng.normal(scale=INPUTS**-0.5, size=(INPUTS, HIDDEN)).astype(np.float32)
    bias = rng.normal(size=HIDDEN).astype(np.float32)
    points, classes = examples(1, 4_000)
    features = np.maximum(points @ first + bias, 0)
    last = np.linalg.lstsq(features, np.eye(CLASSES)[classes], rcond=None)[0].astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["points", "first"], ["mixed"]),
        helper.make_node("Add", ["mixed", "bias"], ["shifted"]),
        helper.make_node("Relu", ["shifted"], ["features"]),
        helper.make_node("MatMul", ["features", "last"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("points", TensorProto.FLOAT, ["batch", INPUTS])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", CLASSES])],
        [numpy_helper.from_array(array, name) for name, array in (("first", first), ("bias", bias), ("last", last))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    folder.mkdir(parents=True)
    onnx.save(model, folder / "model.onnx")
    return folder


def write_int8(folder: Path, source: Path) -> Path:
    """The same with its weights in eight bits."""
    from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415 - takes long to load

    folder.mkdir(parents=True)
    quantize_dynamic(source / "model.onnx", folder / "model.onnx", weight_type=QuantType.QInt8)
    return folder


def accuracy(path: Path) -> float:
    """How often ONNX Runtime is right with this file, on points that it was not trained on."""
    points, classes = examples(2, 2_000)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    scores = session.run(None, {"points": points})[0]
    return float((np.argmax(scores, axis=1) == classes).mean())

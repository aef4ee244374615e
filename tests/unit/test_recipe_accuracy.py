"""What the recipes cost in accuracy, measured with networks that learned something."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file, save_file

from docs.examples.federated.model import CLASSES, INPUTS, Net, Points, judge_points, points
from modelsyncd.recipes.cast import Cast
from modelsyncd.recipes.recipe import named, step

HIDDEN = 256


@pytest.fixture(scope="module")
def learned() -> Net:
    """A network that learned to tell ten classes apart."""
    net = Net.fresh(HIDDEN)
    net.train(points(3_000, np.ones(CLASSES), 1), epochs=12, seed=2)
    return net


def saved_as_onnx(net: Net, path: Path) -> None:
    """The network as an exporter writes it."""
    ends = [("x", INPUTS), ("y", CLASSES)]
    told = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size]) for name, size in ends]
    nodes = [
        helper.make_node("MatMul", ["x", "first.weight"], ["a"]),
        helper.make_node("Add", ["a", "first.bias"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("MatMul", ["c", "second.weight"], ["d"]),
        helper.make_node("Add", ["d", "second.bias"], ["y"]),
    ]
    weights = [numpy_helper.from_array(weight, name) for name, weight in net.weights.items()]
    graph = helper.make_graph(nodes, "classes", told[:1], told[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def accuracy(path: Path, seen: Points) -> float:
    """What ONNX Runtime makes of it."""
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {"x": seen.values})
    return float(np.mean(np.argmax(scores, axis=1) == seen.classes))


def test_int8_is_a_third_of_the_size_and_as_good_within_a_hundredth(learned: Net, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    target.mkdir()
    saved_as_onnx(learned, source / "model.onnx")
    recipe = named("onnx-int8")
    recipe.derive(source, target, step(recipe, {}).options)
    before, after = ((folder / "model.onnx").stat().st_size for folder in (source, target))
    seen = judge_points()
    whole, less = accuracy(source / "model.onnx", seen), accuracy(target / "model.onnx", seen)
    assert whole == pytest.approx(learned.accuracy(seen), abs=0.002)
    assert whole > 0.85, "it learned nothing that could be lost"
    assert less > whole - 0.01
    assert after < 0.4 * before


@pytest.mark.parametrize("dtype", ["bf16", "f16"])
def test_half_the_bits_are_as_good_within_half_a_hundredth(learned: Net, tmp_path: Path, dtype: str) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    target.mkdir()
    save_file(learned.weights, source / "weights.safetensors")
    Cast().derive(source, target, step(Cast(), {"dtype": dtype}).options)
    made = {name: weight.astype(np.float32) for name, weight in load_file(target / "weights.safetensors").items()}
    seen = judge_points()
    assert Net(made).accuracy(seen) > learned.accuracy(seen) - 0.005
    before, after = ((folder / "weights.safetensors").stat().st_size for folder in (source, target))
    assert after < 0.55 * before

"""What a file says of itself is read as the formats' own packages wrote it, and of anything odd nothing is said."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
import tflite
from onnx import TensorProto, helper, numpy_helper

from modelsyncd.formats.ports import PORTS, Port, Words, read_words
from modelsyncd.limits import Limits
from tests.fakes.model_files import safetensors_file, safetensors_header
from tests.fakes.tflite_files import Written, tflite_file


def words_of(content: bytes, format_name: str, limits: Limits | None = None) -> Words:
    """What a file with these bytes says."""
    return read_words(format_name, len(content), lambda at, size: content[at : at + size], limits or Limits())


def onnx_file(inputs: int = 1, weight: bool = True) -> bytes:
    """A model with open and fixed extents; its weight is named among the inputs, as old writers do."""
    tensor = numpy_helper.from_array(np.zeros((384, 2), np.float32), "weight")
    ends = [helper.make_tensor_value_info(f"tokens{n}", TensorProto.INT64, ["batch", 128]) for n in range(inputs)]
    listed = helper.make_tensor_value_info("weight", TensorProto.FLOAT, [384, 2])
    out = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", None, 2])
    node = helper.make_node("MatMul", ["tokens0", "weight"], ["scores"])
    graph = helper.make_graph([node], "g", [*ends, listed], [out], [tensor] if weight else [])
    return bytes(helper.make_model(graph).SerializeToString())


def test_an_onnx_model_says_what_goes_in_and_comes_out() -> None:
    found = words_of(onnx_file(), "onnx")
    assert found.framework == "onnx"
    assert found.inputs == (Port("tokens0", "i64", ("batch", 128)),)
    assert found.outputs == (Port("scores", "f32", ("batch", "?", 2)),)


def test_what_an_onnx_model_has_no_weight_for_goes_in() -> None:
    assert [port.name for port in words_of(onnx_file(weight=False), "onnx").inputs] == ["tokens0", "weight"]


def test_a_model_with_inputs_without_end_says_nothing_of_them() -> None:
    assert words_of(onnx_file(PORTS), "onnx").inputs
    assert words_of(onnx_file(PORTS + 1), "onnx") == Words("onnx")


def test_a_tensorflow_lite_model_says_what_goes_in_and_comes_out() -> None:
    kinds = tflite.TensorType
    tensors = [
        Written("image", kinds.UINT8, (1, 224, 224, 3)),
        Written("filter", kinds.FLOAT32, (2,), b"\0" * 8),
        Written("scores", kinds.FLOAT32, (-1, 1001)),
    ]
    found = words_of(tflite_file(tensors, 2, inputs=[0], outputs=[2]), "tflite")
    assert found.framework == "tensorflow-lite"
    assert found.inputs == (Port("image", "u8", (1, 224, 224, 3)),)
    assert found.outputs == (Port("scores", "f32", ("?", 1001)),)


def test_a_tensorflow_lite_model_that_names_a_tensor_it_has_not_says_nothing() -> None:
    tensors = [Written("image", tflite.TensorType.UINT8, (1,))]
    assert words_of(tflite_file(tensors, inputs=[1]), "tflite") == Words("tensorflow-lite")


def test_a_gguf_file_names_its_architecture(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "llama")
    writer.add_array("k.texts", ["a", "bb"])
    writer.add_tensor("w", np.zeros(32, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert words_of((tmp_path / "x.gguf").read_bytes(), "gguf") == Words("llama.cpp", "llama")


@pytest.mark.parametrize(("said", "framework"), [("pt", "pytorch"), ("flax", "flax"), ("unheard", ""), (None, "")])
def test_safetensors_say_for_whom_they_were_written(said: str | None, framework: str) -> None:
    metadata = None if said is None else {"format": said}
    content = safetensors_file(safetensors_header({"w": ("F32", [2])}, metadata), b"\0" * 8)
    assert words_of(content, "safetensors") == Words(framework)


@pytest.mark.parametrize("format_name", ["onnx", "tflite", "gguf", "safetensors"])
@pytest.mark.parametrize("content", [b"", b"\xff" * 300, b"\x3a\xff\xff\xff\xff\x0f" + b"\0" * 50])
def test_an_odd_file_says_nothing(format_name: str, content: bytes) -> None:
    found = words_of(content, format_name)
    assert (found.architecture, found.inputs, found.outputs) == ("", (), ())


def test_a_budget_that_runs_out_ends_the_reading() -> None:
    assert words_of(onnx_file(), "onnx", Limits(layout_steps=3)) == Words("onnx")

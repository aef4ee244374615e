"""A version's facts are what its files' headers say: counted once, whatever lies beside them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

from modelsyncd.facts import CONFIG_BYTES, Facts, facts_of
from modelsyncd.formats.ports import Port
from modelsyncd.store.source import scan


def facts(folder: Path) -> Facts:
    """Of a folder, as it would be pushed."""
    source = scan(folder)
    paths = [file.path for file in source.manifest.files]

    def read(file: int, offset: int, length: int) -> bytes:
        found = (folder / paths[file]).read_bytes()[offset : offset + length]
        assert len(found) == length, "facts asked for bytes beyond the end"
        return found

    try:
        return facts_of(source.manifest, read)
    finally:
        source.close()


def weights(folder: Path, name: str, tensors: dict[str, np.ndarray], framework: str = "pt") -> None:
    """Writes a safetensors file."""
    save_file(tensors, folder / name, metadata={"format": framework})


def test_a_folder_as_hugging_face_has_it(tmp_path: Path) -> None:
    weights(tmp_path, "model.safetensors", {"w": np.zeros((3, 4), np.float32), "ids": np.zeros(5, np.int64)})
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "architectures": ["BertModel"]}))
    (tmp_path / "README.md").write_text("# A model")
    found = facts(tmp_path)
    assert found == Facts(
        formats=("safetensors",),
        frameworks=("pytorch",),
        architectures=("bert",),
        parameters=17,
        tensors=2,
        dtypes=(("f32", 12), ("i64", 5)),
    )


def test_shards_are_one_model(tmp_path: Path) -> None:
    for shard in range(3):
        weights(tmp_path, f"model-{shard}-of-3.safetensors", {f"w{shard}": np.zeros((10, 10), np.float16)})
    assert (facts(tmp_path).parameters, facts(tmp_path).tensors) == (300, 3)


def test_the_same_weights_in_two_formats_count_once(tmp_path: Path) -> None:
    weights(tmp_path, "model.safetensors", {"w": np.zeros((30, 40), np.float32)})
    tensor = numpy_helper.from_array(np.zeros((30, 40), np.float32), "w")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [40]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("MatMul", ["w", "x"], ["y"])], "g", ends[:1], ends[1:], [tensor])
    (tmp_path / "model.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    found = facts(tmp_path)
    assert (found.parameters, found.tensors, found.dtypes) == (1_200, 1, (("f32", 1_200),))
    assert set(found.formats) == {"safetensors", "onnx"}
    assert set(found.frameworks) == {"pytorch", "onnx"}
    assert (found.inputs, found.outputs) == ((Port("x", "f32", (40,)),), (Port("y", "f32", (40,)),))


def test_files_without_a_format_have_no_facts(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"\x01" * 100)
    assert facts(tmp_path) == Facts()


def test_a_config_that_is_no_config_says_nothing(tmp_path: Path) -> None:
    for number, text in enumerate(('["model_type"]', '{"model_type": 3}', "[" * 100_000, '{"model_type": "a\\u0007"}')):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "config.json").write_text(text)
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "config.json").write_text('{"model_type": "bert"' + " " * CONFIG_BYTES + "}")
    assert facts(tmp_path) == Facts()

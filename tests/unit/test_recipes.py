"""Recipes make models into other forms of themselves: equal to what the libraries of the field make of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import ModelProto, TensorProto, helper, numpy_helper
from safetensors import safe_open
from safetensors.numpy import save_file

from modelsyncd.errors import BadInputError, NotFoundError
from modelsyncd.recipes.cast import Cast, bf16
from modelsyncd.recipes.recipe import Recipe, Step, installed, named, step
from modelsyncd.recipes.to_safetensors import ToSafetensors
from tests.fakes.zip_files import Storage, TorchTensor, torch_file

Weights = Mapping[str, npt.NDArray[Any]]
rng = np.random.default_rng(5)


def derived(tmp_path: Path, recipe: Recipe, **options: str) -> Path:
    """What a recipe makes of the folder `in`."""
    out = tmp_path / "out"
    out.mkdir()
    before = {path: path.read_bytes() for path in (tmp_path / "in").rglob("*") if path.is_file()}
    recipe.derive(tmp_path / "in", out, step(recipe, options).options)
    assert all(path.read_bytes() == content for path, content in before.items()), "the source was changed"
    return out


def folder(tmp_path: Path, weights: Weights, name: str = "model.safetensors") -> None:
    """A folder with a model, and files that are none."""
    path = tmp_path / "in" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(dict(weights), path, metadata={"format": "pt", "who": "ann"})
    (tmp_path / "in" / "config.json").write_text("{}")


def test_the_recipes_that_come_with_us_are_installed() -> None:
    assert {"cast", "onnx-int8", "to-safetensors"} <= set(installed())
    for name in installed():
        assert named(name).name == name


def test_an_unknown_recipe_or_option_is_refused_with_the_nearest() -> None:
    with pytest.raises(NotFoundError, match="no recipe 'csat'") as caught:
        named("csat")
    assert "cast" in caught.value.hint
    with pytest.raises(BadInputError, match="no option 'dtpye'") as refused:
        step(Cast(), {"dtpye": "bf16"})
    assert "dtype" in refused.value.hint


def test_a_step_is_named_by_all_that_it_depends_on() -> None:
    one = step(Cast(), {})
    assert one.digest == step(Cast(), {"dtype": "bf16"}).digest
    assert one.digest != step(Cast(), {"dtype": "f16"}).digest
    assert one.digest != Step(ToSafetensors(), one.options).digest


@given(arrays.arrays(np.float32, st.integers(1, 50), elements=st.floats(width=32)))
def test_bf16_is_rounded_as_ml_dtypes_does(wide: npt.NDArray[np.float32]) -> None:
    theirs = wide.astype(ml_dtypes.bfloat16).view(np.uint16)
    ours = bf16(wide)
    nan = np.isnan(wide)
    assert np.array_equal(ours[~nan], theirs[~nan])
    assert np.all((ours[nan] & 0x7FFF) > 0x7F80)


@pytest.mark.parametrize(("dtype", "kind"), [("bf16", ml_dtypes.bfloat16), ("f16", np.float16)])
def test_cast_halves_what_is_wide_and_leaves_the_rest(tmp_path: Path, dtype: str, kind: type) -> None:
    weights: dict[str, npt.NDArray[Any]] = {
        "w": rng.standard_normal((300, 200)).astype(np.float32),
        "deep.w": rng.standard_normal(7),
        "ids": np.arange(9),
        "half": rng.standard_normal(3).astype(np.float16),
    }
    folder(tmp_path, weights, "onnx/model.safetensors")
    out = derived(tmp_path, Cast(), dtype=dtype)
    assert (out / "config.json").read_text() == "{}"
    with safe_open(out / "onnx" / "model.safetensors", "np") as made:
        assert made.metadata() == {"format": "pt", "who": "ann"}
        assert set(made.keys()) == set(weights)
        for name in ("w", "deep.w"):
            expected: np.ndarray = weights[name].astype(np.float32).astype(kind)
            assert made.get_slice(name).get_dtype() == dtype.upper()
            assert bytes(made.get_tensor(name).tobytes()) == expected.tobytes()
        for name in ("ids", "half"):
            assert np.array_equal(made.get_tensor(name), weights[name])


def test_a_value_too_large_for_f16_is_refused_unless_it_may_be_infinite(tmp_path: Path) -> None:
    folder(tmp_path, {"w": np.array([1.0, 1e6, np.inf], np.float32)})
    with pytest.raises(BadInputError, match="w has values above 65,504"):
        Cast().derive(tmp_path / "in", tmp_path / "nowhere", step(Cast(), {"dtype": "f16"}).options)
    out = derived(tmp_path, Cast(), dtype="f16", overflow="allow")
    with safe_open(out / "model.safetensors", "np") as made:
        assert made.get_tensor("w").tolist() == [1.0, np.inf, np.inf]


def test_scales_and_rotary_frequencies_keep_their_bits_and_config_json_says_what_became_of_the_rest(
    tmp_path: Path,
) -> None:
    kept = ["q.weight_scale", "q.weight_scale_inv", "q.scales", "q.weight.absmax", "rotary.inv_freq"]
    weights = {name: rng.standard_normal(5).astype(np.float32) for name in [*kept, "w", "norm.scale"]}
    folder(tmp_path, weights)
    (tmp_path / "in" / "config.json").write_text('{"torch_dtype": "float32", "layers": 2}')
    (tmp_path / "in" / "run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "in" / "run.sh").chmod(0o555)
    out = derived(tmp_path, Cast(), dtype="f16")
    with safe_open(out / "model.safetensors", "np") as made:
        dtypes = {name: made.get_slice(name).get_dtype() for name in weights}
        assert dtypes == dict.fromkeys(kept, "F32") | {"w": "F16", "norm.scale": "F16"}
        assert all(made.get_tensor(name).tobytes() == weights[name].tobytes() for name in kept)
    assert json.loads((out / "config.json").read_text()) == {"torch_dtype": "float16", "layers": 2}
    assert (out / "run.sh").stat().st_mode & 0o100
    assert not (out / "config.json").stat().st_mode & 0o100


def test_a_model_without_wide_weights_is_refused(tmp_path: Path) -> None:
    folder(tmp_path, {"ids": np.arange(3)})
    with pytest.raises(BadInputError, match="no safetensors file with weights of 32 bits"):
        Cast().derive(tmp_path / "in", tmp_path, step(Cast(), {}).options)


FLOATS = Storage("0", "FloatStorage", 4, np.arange(12, dtype=np.float32).tobytes())
BITS = Storage("1", "LongStorage", 8, np.arange(4, dtype=np.int64).tobytes())


def test_the_weights_of_a_pytorch_file_are_taken_out(tmp_path: Path) -> None:
    state = {
        "emb": TorchTensor(FLOATS, (3, 4)),
        "tied": TorchTensor(FLOATS, (12,)),
        "part": TorchTensor(FLOATS, (2, 2), offset=4),
        "ids": TorchTensor(BITS, (4,)),
    }
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "pytorch_model.bin").write_bytes(torch_file(state))
    out = derived(tmp_path, ToSafetensors())
    with safe_open(out / "model.safetensors", "np") as made:
        found = {name: made.get_tensor(name).tolist() for name in made.keys()}  # noqa: SIM118  # no mapping
    whole = np.arange(12.0)
    assert found == {
        "emb": whole.reshape(3, 4).tolist(),
        "tied": whole.tolist(),
        "part": [[4.0, 5.0], [6.0, 7.0]],
        "ids": [0, 1, 2, 3],
    }


@pytest.mark.parametrize(
    "state",
    [
        {"turned": TorchTensor(FLOATS, (4, 3), strides=(1, 4))},
        {"long": TorchTensor(FLOATS, (13,))},
        {"beyond": TorchTensor(FLOATS, (4,), offset=9)},
    ],
)
def test_a_tensor_that_is_no_run_of_its_storage_is_not_guessed(tmp_path: Path, state: dict[str, TorchTensor]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "m.pt").write_bytes(torch_file(state | {"whole": TorchTensor(BITS, (4,))}))
    with pytest.raises(BadInputError, match="can't all be told"):
        ToSafetensors().derive(tmp_path / "in", tmp_path / "nowhere", {})


def test_quantised_tensors_are_refused_by_name_because_their_scales_would_be_lost(tmp_path: Path) -> None:
    bytes_of = Storage("2", "QInt8Storage", 1, bytes(12))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "m.pt").write_bytes(torch_file({"w": TorchTensor(bytes_of, (12,), quantised=True)}))
    with pytest.raises(BadInputError, match=r"w of m\.pt is quantised: its scales would be lost"):
        derived(tmp_path, ToSafetensors())


def test_a_storage_that_no_plain_tensor_names_is_not_left_behind(tmp_path: Path) -> None:
    """As of a sparse tensor, whose indices and values only its maker knows."""
    raw = torch_file({"whole": TorchTensor(BITS, (4,)), "sparse": TorchTensor(FLOATS, (12,))})
    place = raw.rindex(b"_rebuild_tensor_v2")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "m.pt").write_bytes(raw[:place] + b"_rebuild_tensor_xx" + raw[place + 18 :])
    with pytest.raises(BadInputError, match="can't all be told"):
        derived(tmp_path, ToSafetensors())


def test_a_whole_module_is_not_taken_for_its_weights(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "m.pt").write_bytes(torch_file({"_parameters": {"w": TorchTensor(FLOATS, (12,))}}))
    with pytest.raises(BadInputError, match="a whole module"):
        derived(tmp_path, ToSafetensors())


def test_a_model_in_several_files_keeps_its_index_under_the_names_that_loaders_look_for(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    first, second = "pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"
    (tmp_path / "in" / first).write_bytes(torch_file({"a": TorchTensor(FLOATS, (12,))}))
    (tmp_path / "in" / second).write_bytes(torch_file({"b": TorchTensor(BITS, (4,))}))
    index = {"metadata": {"total_size": 80}, "weight_map": {"a": first, "b": second}}
    (tmp_path / "in" / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    out = derived(tmp_path, ToSafetensors())
    made = json.loads((out / "model.safetensors.index.json").read_text())
    assert made["metadata"] == index["metadata"]
    for name, place in made["weight_map"].items():
        with safe_open(out / place, "np") as file:
            assert list(file.keys()) == [name]
    assert {path.name for path in out.iterdir()} == {*made["weight_map"].values(), "model.safetensors.index.json"}


def test_two_files_do_not_become_one(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("m.pt", "m.bin"):
        (tmp_path / "in" / name).write_bytes(torch_file({"w": TorchTensor(FLOATS, (12,))}))
    with pytest.raises(BadInputError, match=r"two files would become m\.safetensors"):
        derived(tmp_path, ToSafetensors())


def multiplying(weight: npt.NDArray[np.float32]) -> ModelProto:
    """A model that multiplies x with this weight."""
    sizes = (("x", weight.shape[0]), ("y", weight.shape[1]))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size]) for name, size in sizes]
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], [numpy_helper.from_array(weight, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_an_onnx_model_is_quantised_and_still_answers(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    weight = rng.standard_normal((64, 32)).astype(np.float32)
    model = multiplying(weight)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "model.onnx").write_bytes(model.SerializeToString())
    (tmp_path / "in" / "labels.json").write_text(json.dumps(["a"]))
    out = derived(tmp_path, named("onnx-int8"))
    assert (out / "labels.json").exists()
    assert (out / "model.onnx").stat().st_size < 0.6 * (tmp_path / "in" / "model.onnx").stat().st_size
    session = runtime.InferenceSession(out / "model.onnx", providers=["CPUExecutionProvider"])
    x = rng.standard_normal((1, 64)).astype(np.float32)
    (answer,) = session.run(None, {"x": x})
    assert np.abs(answer - x @ weight).max() < 0.05 * np.abs(x @ weight).max() + 0.3


def test_weights_beside_an_onnx_model_are_read_and_the_old_ones_not_carried_along(tmp_path: Path) -> None:
    """And nothing is written into the source, which is read-only as that of a step is."""
    runtime = pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    weight = rng.standard_normal((64, 32)).astype(np.float32)
    path = tmp_path / "in" / "model.onnx"
    path.parent.mkdir()
    onnx.save(multiplying(weight), path, save_as_external_data=True, location="model.bin", size_threshold=0)
    assert (tmp_path / "in" / "model.bin").stat().st_size >= weight.nbytes
    seen = {one.name for one in path.parent.iterdir()}
    before = path.parent.stat().st_mtime_ns
    out = derived(tmp_path, named("onnx-int8"))
    assert path.parent.stat().st_mtime_ns == before, "something was made beside the source"
    assert {one.name for one in path.parent.iterdir()} == seen
    assert "model.bin" not in {one.name for one in out.iterdir()}
    assert sum(one.stat().st_size for one in out.iterdir()) < 0.6 * weight.nbytes
    session = runtime.InferenceSession(out / "model.onnx", providers=["CPUExecutionProvider"])
    x = rng.standard_normal((1, 64)).astype(np.float32)
    (answer,) = session.run(None, {"x": x})
    assert np.abs(answer - x @ weight).max() < 0.05 * np.abs(x @ weight).max() + 0.3


def test_a_file_that_is_no_onnx_model_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "model.onnx").write_bytes(b"\xff" * 100)
    with pytest.raises(BadInputError, match=r"model\.onnx can't be quantised"):
        derived(tmp_path, named("onnx-int8"))

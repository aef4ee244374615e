"""ONNX models: tensors are found inside the file and in those beside it, without the numbers being read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelsyncd.formats.onnx import DTYPES
from modelsyncd.limits import LIMITS
from modelsyncd.store.source import scan
from tests.fakes.layouts import bytes_of, elsewhere, layout_of, reading, tensors_of

WEIGHTS = np.arange(60_000, dtype=np.float32).reshape(200, 300)
INITIALIZERS = [
    numpy_helper.from_array(WEIGHTS, "weights"),
    numpy_helper.from_array(np.arange(9, dtype=np.int64), "shape"),
    numpy_helper.from_array(WEIGHTS.astype(np.float16), "half"),
    helper.make_tensor("floats", TensorProto.FLOAT, [3], [1.0, 2.0, 3.0]),
    helper.make_tensor("doubles", TensorProto.DOUBLE, [2], [1.0, 2.0]),
    helper.make_tensor("one by one", TensorProto.INT64, [3], [1, 2, 3]),
    helper.make_tensor("words", TensorProto.STRING, [1], [b"text"]),  # type: ignore[list-item]
    numpy_helper.from_array(np.array(3.0, np.float32), "scalar"),
]


def model(
    initializers: Sequence[onnx.TensorProto] = (), nodes: Sequence[onnx.NodeProto] = (), name: str = "g"
) -> onnx.ModelProto:
    """A model with these tensors."""
    ends = [helper.make_tensor_value_info(one, TensorProto.FLOAT, [1]) for one in ("in", "out")]
    graph = helper.make_graph(
        [*nodes, helper.make_node("Relu", ["in"], ["out"])], name, ends[:1], ends[1:], list(initializers)
    )
    made: onnx.ModelProto = helper.make_model(graph)
    return made


def written(made: onnx.ModelProto) -> bytes:
    """The model's bytes."""
    return bytes(made.SerializeToString())


def test_initializers_are_found_where_they_lie() -> None:
    content = written(model(INITIALIZERS))
    found = tensors_of(content, "model.onnx")
    assert set(found) == {"weights", "shape", "half", "floats", "doubles", "scalar"}
    for one in INITIALIZERS:
        if one.name in found:
            assert bytes_of(content, found[one.name]) == numpy_helper.to_array(one).tobytes()
            assert found[one.name].shape == tuple(one.dims)
    assert [found[name].dtype for name in ("weights", "shape", "half", "floats", "doubles")] == [
        "f32", "i64", "f16", "f32", "f64"
    ]  # fmt: skip


def test_only_the_name_says_that_a_file_is_onnx() -> None:
    content = written(model(INITIALIZERS))
    assert layout_of(content, "a/MODEL.ONNX") is not None
    assert layout_of(content, "model.pb") is None


def test_every_type_has_the_elements_that_the_formats_own_package_gives_it() -> None:
    theirs = {number: helper.tensor_dtype_to_string(number).removeprefix("TensorProto.") for number in DTYPES}
    names = {"FLOAT": "F32", "DOUBLE": "F64", "FLOAT16": "F16", "BFLOAT16": "BF16", "COMPLEX64": "C64",
             "COMPLEX128": "C128", "FLOAT4E2M1": "F4", "BOOL": "BOOL"}  # fmt: skip
    for number, theirname in theirs.items():
        short = names.get(theirname, theirname.replace("UINT", "U").replace("INT", "I").replace("FLOAT8", "F8_"))
        short = short.removesuffix("FN") if short.endswith("M3FN") else short
        assert DTYPES[number] == short.lower()


@pytest.mark.parametrize("count", [1, 3, 7])
@pytest.mark.parametrize("kind", [TensorProto.UINT4, TensorProto.INT4, TensorProto.FLOAT4E2M1])
def test_elements_of_half_a_byte_fill_up_their_last_byte(kind: int, count: int) -> None:
    one = TensorProto(name="t", data_type=kind, dims=[count], raw_data=bytes((count + 1) // 2))
    found = tensors_of(written(model([one])), "x.onnx")
    assert (found["t"].shape, found["t"].size) == ((count,), (count + 1) // 2)


def test_a_large_constant_is_named_after_what_it_feeds() -> None:
    node = helper.make_node("Constant", [], ["fed"], value=numpy_helper.from_array(WEIGHTS))
    content = written(model(nodes=[node]))
    found = tensors_of(content, "x.onnx")
    assert set(found) == {"fed"}
    assert bytes_of(content, found["fed"]) == WEIGHTS.tobytes()


def test_tensors_in_graphs_inside_graphs_are_found() -> None:
    inner = model([numpy_helper.from_array(WEIGHTS, "inner")]).graph
    content = written(model(nodes=[helper.make_node("If", ["in"], ["o"], then_branch=inner, else_branch=inner)]))
    layout = layout_of(content, "x.onnx")
    assert layout is not None
    assert [one.name for one in layout.tensors] == ["inner", "inner"]
    assert [bytes_of(content, one) for one in layout.tensors] == [WEIGHTS.tobytes()] * 2


def test_graphs_in_graphs_beyond_the_limit_are_odd() -> None:
    graph = model([numpy_helper.from_array(WEIGHTS, "inner")]).graph
    for _ in range(4):
        graph = model(nodes=[helper.make_node("Loop", ["in"], ["o"], body=graph)]).graph
    content = written(helper.make_model(graph))
    assert layout_of(content, "x.onnx", type(LIMITS)(layout_nesting=4)) is not None
    assert layout_of(content, "x.onnx", type(LIMITS)(layout_nesting=3)) is None


def saved(folder: Path, **options: object) -> dict[str, bytes]:
    """The files of a model that is written with its data outside, by the format's own package."""
    onnx.save(model(INITIALIZERS), folder / "m.onnx", save_as_external_data=True, size_threshold=64, **options)  # type: ignore[arg-type]
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_data_in_one_other_file_is_found_there(tmp_path: Path) -> None:
    files = saved(tmp_path, location="m.data")
    layouts = elsewhere(files, "m.onnx")
    assert set(layouts) == {"m.data"}
    assert layouts["m.data"].format == "onnx-data"
    found = {one.name: one for one in layouts["m.data"].tensors}
    assert bytes_of(files["m.data"], found["weights"]) == WEIGHTS.tobytes()
    assert set(found) == {"weights", "half", "shape"}
    assert set(tensors_of(files["m.onnx"], "m.onnx")) == {"floats", "doubles", "scalar"}


def test_data_in_a_file_for_each_tensor_is_found_there(tmp_path: Path) -> None:
    files = saved(tmp_path, all_tensors_to_one_file=False)
    assert {name: [one.name for one in layout.tensors] for name, layout in elsewhere(files, "m.onnx").items()} == {
        "weights": ["weights"], "half": ["half"], "shape": ["shape"]
    }  # fmt: skip


def test_a_folder_with_data_outside_is_cut_along_it(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    saved(tmp_path / "sub", location="m.data")
    (tmp_path / "other.data").write_bytes(b"another file")
    files = {file.path: file for file in scan(tmp_path).manifest.files}
    assert files["sub/m.data"].format == "onnx-data"
    assert [one.name for one in files["sub/m.data"].tensors] == ["weights", "shape", "half"]
    assert files["sub/m.data"].chunk_sizes == (240_072, 120_000)
    assert files["other.data"].format == ""


def external(location: str, offset: str = "0", length: str = "40") -> bytes:
    """A model with one tensor of 40 bytes in another file."""
    one = TensorProto(name="t", data_type=TensorProto.FLOAT, dims=[10], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        one.external_data.add(key=key, value=value)
    return written(model([one]))


@pytest.mark.parametrize("location", ["d", "./d", ".//d"])
def test_a_place_elsewhere_is_looked_up_beside_the_model(location: str) -> None:
    files = {"a/m.onnx": external(location), "a/d": bytes(40), "d": bytes(40)}
    assert list(elsewhere(files, "a/m.onnx")) == ["a/d"]


@pytest.mark.parametrize(
    "content",
    [external(location) for location in ("../d", "/d", "a/../../d", "", "nowhere", "m.onnx", "d/", "d/..")]
    + [external("d", offset) for offset in ("1", "-1", "x", "", "9" * 30, "0x0", "٣")]
    + [external("d", length=length) for length in ("41", "39", "-40", "", "9" * 30)]
    + [b"", b"\xff" * 40],
    ids=lambda content: ascii(content[-60:]),
)
def test_a_place_elsewhere_that_cannot_be_is_none(content: bytes) -> None:
    files = {"a/m.onnx": content, "a/d": bytes(40), "d": bytes(40)}
    assert elsewhere({**files, "a/m.onnx": external("d")}, "a/m.onnx") != {}
    layouts = elsewhere(files, "a/m.onnx")
    assert layouts == {} or content == external("d/")


def raw(number: int, content: bytes) -> bytes:
    """A field of bytes."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    """A number as protobuf writes it."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def tensor(**changed: bytes) -> bytes:
    """A model with one tensor of 8 bytes, one of whose fields is another."""
    parts = {"dims": b"\x08\x02", "kind": b"\x10\x01", "name": raw(8, b"t"), "data": raw(9, bytes(8)), **changed}
    return raw(7, raw(5, b"".join(parts.values())))


ODD = {
    "shape too large": tensor(dims=b"\x08\x03"),
    "shape overflows": tensor(dims=(b"\x08" + varint(1 << 62)) * 4),
    "negative extent": tensor(dims=b"\x08" + varint((1 << 64) - 2)),
    "packed extents without an end": tensor(dims=b"\x0a\x02\x80\x80"),
    "packed extents by the thousand": tensor(dims=raw(1, b"\x01" * 5_000)),
    "data twice": tensor(more=raw(9, bytes(8))),
    "two kinds of data": tensor(more=raw(4, bytes(8))),
    "a long name": tensor(name=raw(8, b"n" * 5_000)),
    "a name that is no text": tensor(name=raw(8, b"\xff\xfe")),
    "data past the end": raw(7, raw(5, b"\x08\x02\x10\x01" + varint(9 << 3 | 2) + varint(1 << 40))),
    "data of 2^64 bytes": raw(7, raw(5, b"\x08\x02\x10\x01" + varint(9 << 3 | 2) + b"\xff" * 9 + b"\x01")),
    "a number without an end": b"\xff" * 30,
    "a group": b"\x3b" + tensor(),
    "field 0": b"\x02\x00" + tensor(),
    "cut short": tensor()[:-1],
}


@pytest.mark.parametrize("content", ODD.values(), ids=ODD.keys())
def test_an_odd_model_is_opaque(content: bytes) -> None:
    assert set(tensors_of(tensor(), "x.onnx")) == {"t"}
    assert layout_of(content, "x.onnx") is None


def test_a_type_of_the_future_costs_the_others_nothing() -> None:
    other = tensor(kind=b"\x10\x70")
    assert set(tensors_of(other + tensor(), "x.onnx")) == {"t"}


def test_the_numbers_of_a_model_are_not_read() -> None:
    content = written(model([numpy_helper.from_array(np.zeros(5_000_000, np.float32), "large"), *INITIALIZERS]))
    found = reading(content, "x.onnx")
    assert found.layout is not None
    assert found.read < 100_000


def test_a_model_of_a_million_tensors_is_given_up_within_the_budget() -> None:
    content = raw(7, raw(5, b"\x10\x01" + raw(9, bytes(4))) * 1_000_000)
    found = reading(content, "x.onnx", limits=type(LIMITS)(layout_tensors=1_000))
    assert found.layout is None
    assert found.read < 100_000

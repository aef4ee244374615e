"""PyTorch files: each storage is found with its name, and nothing that the pickle says is ever done."""

from __future__ import annotations

import pickle
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from modelsyncd.formats.header import OddError
from modelsyncd.formats.pickled import views
from modelsyncd.limits import LIMITS
from tests.fakes.layouts import bytes_of, layout_of, tensors_of
from tests.fakes.zip_files import Member, Storage, TorchTensor, torch_file, zip_file

FLOATS = Storage("0", "FloatStorage", 4, bytes(range(48)))
HALVES = Storage("1", "BFloat16Storage", 2, bytes(range(100, 112)))
STATE = {
    "model": {"layer.weight": TorchTensor(FLOATS, (3, 4), parameter=True), "layer.bias": TorchTensor(HALVES, (6,))},
    "step": 7,
    "groups": [{"lr": None, "params": [0, 1]}],
}


def test_a_storage_bears_the_name_that_its_state_dict_gives_it() -> None:
    content = torch_file(STATE)
    layout = layout_of(content)
    assert layout is not None
    assert layout.format == "pytorch"
    assert [(one.name, one.dtype, one.shape) for one in layout.tensors] == [
        ("model.layer.weight", "f32", (3, 4)),
        ("model.layer.bias", "bf16", (6,)),
    ]
    assert [bytes_of(content, one) for one in layout.tensors] == [FLOATS.data, HALVES.data]


def test_optimiser_states_are_named_by_the_way_to_them() -> None:
    state = {"optimizer": {"state": {0: {"exp_avg": TorchTensor(FLOATS, (12,))}, 1: [TorchTensor(HALVES, (2, 3))]}}}
    assert set(tensors_of(torch_file(state))) == {"optimizer.state.0.exp_avg", "optimizer.state.1.0"}


@pytest.mark.parametrize("folder", ["archive", "model-3", "ünï"])
def test_the_folder_in_the_file_may_have_any_name(folder: str) -> None:
    assert set(tensors_of(torch_file(STATE, folder))) == {"model.layer.weight", "model.layer.bias"}


def test_of_tensors_that_share_a_storage_the_first_that_is_all_of_it_gives_the_name() -> None:
    part, turned = TorchTensor(FLOATS, (4,), offset=2), TorchTensor(FLOATS, (4, 3), strides=(1, 4))
    whole, tied = TorchTensor(FLOATS, (2, 6)), TorchTensor(FLOATS, (12,))
    found = tensors_of(torch_file({"part": part, "turned": turned, "whole": whole, "tied": tied}))
    assert [(one.name, one.shape) for one in found.values()] == [("whole", (2, 6))]


def test_a_storage_that_no_tensor_is_all_of_is_a_row_under_its_key() -> None:
    found = tensors_of(torch_file({"part": TorchTensor(FLOATS, (4,), offset=2)}))
    assert [(one.name, one.dtype, one.shape, one.size) for one in found.values()] == [("data/0", "f32", (12,), 48)]


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("DoubleStorage", "f64"), ("FloatStorage", "f32"), ("HalfStorage", "f16"), ("BFloat16Storage", "bf16"),
     ("LongStorage", "i64"), ("IntStorage", "i32"), ("ShortStorage", "i16"), ("CharStorage", "i8"),
     ("ByteStorage", "u8"), ("BoolStorage", "bool"), ("ComplexFloatStorage", "c64"),
     ("ComplexDoubleStorage", "c128"), ("QInt8Storage", "i8")],
)  # fmt: skip
def test_each_kind_of_storage_has_its_elements(kind: str, dtype: str) -> None:
    width = {"f64": 8, "f32": 4, "f16": 2, "bf16": 2, "i64": 8, "i32": 4, "i16": 2, "c64": 8, "c128": 16}.get(dtype, 1)
    storage = Storage("0", kind, width, bytes(3 * width))
    assert tensors_of(torch_file({"t": TorchTensor(storage, (3,))}))["t"].dtype == dtype


@pytest.mark.parametrize(("given", "dtype"), [("float8_e4m3fn", "f8_e4m3"), ("float8_e5m2", "f8_e5m2")])
def test_the_tensor_tells_what_an_untyped_storage_holds(given: str, dtype: str) -> None:
    tensor = TorchTensor(Storage("0", "UntypedStorage", 1, bytes(6)), (2, 3), dtype=given)
    found = tensors_of(torch_file({"t": tensor}))["t"]
    assert (found.dtype, found.shape) == (dtype, (2, 3))


def test_an_element_type_of_the_future_is_a_row_of_bytes() -> None:
    tensor = TorchTensor(Storage("0", "UntypedStorage", 1, bytes(6)), (12,), dtype="float4_future")
    assert [(one.name, one.dtype, one.size) for one in tensors_of(torch_file(tensor)).values()] == [("data/0", "u8", 6)]


def test_big_endian_files_are_opaque() -> None:
    assert layout_of(torch_file(STATE)) is not None
    assert layout_of(torch_file(STATE, byteorder=b"big")) is None


def test_storages_without_a_pickle_that_can_be_followed_are_found_under_their_keys() -> None:
    for pickled in (b"", b"\x80\x02", b"garbage", b"\x80\x02Pwho\n.", b"\x80\x02\x82\x01."):
        content = zip_file([Member("a/data.pkl", pickled), Member("a/data/0", b"12345")])
        found = tensors_of(content)
        assert [(one.name, one.dtype, one.shape) for one in found.values()] == [("data/0", "u8", (5,))]
        assert bytes_of(content, found["data/0"]) == b"12345"


def test_a_tensor_larger_than_its_storage_gives_no_name() -> None:
    found = tensors_of(torch_file({"t": TorchTensor(FLOATS, (300, 4)), "u": TorchTensor(FLOATS, (1 << 40, 1 << 40))}))
    assert [one.name for one in found.values()] == ["data/0"]


def test_nothing_in_a_pickle_is_done(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return (Path.touch, (tmp_path / "done",))

    bomb = pickle.dumps({"model": Bomb(), "also": [Bomb()]})
    assert views(bomb) == []
    assert layout_of(zip_file([Member("a/data.pkl", bomb), Member("a/data/0", b"12")])) is not None
    assert list(tmp_path.iterdir()) == []
    pickle.loads(bomb)  # noqa: S301 - it would have gone off
    assert list(tmp_path.iterdir()) != []


ODD_PICKLES = {
    "empty": b"",
    "no stop": b"\x80\x02N",
    "nothing on the stack": b"\x80\x02.",
    "unknown word": b"\x80\x02\xff.",
    "no such memo": b"\x80\x02h\x07.",
    "no mark": b"\x80\x02Nt.",
    "text cut short": b"\x80\x02X\xff\xff\xff\x7fab.",
    "long text claimed": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 62) + b"ab.",
    "long number claimed": b"\x80\x02\x8b" + struct.pack("<I", 0x7FFFFFFF) + b"ab.",
    "a number of 5000 digits": b"\x80\x02I" + b"9" * 5_000 + b"\n.",
    "odd dictionary": b"\x80\x02}(Nu.",
    "extension": b"\x80\x02\x82\x01.",
    "text as persistent id": b"\x80\x02Pabc\n.",
    "unknown storage": b"\x80\x02(X\x07\0\0\0storagecos\nsystem\nX\x01\0\0\x000tQ.",
}


@pytest.mark.parametrize("pickled", ODD_PICKLES.values(), ids=ODD_PICKLES.keys())
def test_an_odd_pickle_is_odd(pickled: bytes) -> None:
    with pytest.raises(OddError):
        views(pickled)


def test_things_that_lie_in_one_another_are_entered_once() -> None:
    assert views(b"\x80\x02}q\0X\x01\0\0\0ah\0s.") == []
    doubled = b"\x80\x02]q\0" + b"".join(
        b"](" + b"h" + bytes([at]) * 1 + b"h" + bytes([at]) + b"eq" + bytes([at + 1]) for at in range(60)
    )
    assert views(doubled + b".") == []


def test_a_pickle_as_deep_as_it_is_long_is_followed_no_further_than_the_limit() -> None:
    inner = TorchTensor(FLOATS, (12,))
    deep: object = inner
    for _ in range(LIMITS.layout_nesting + 1):
        deep = [deep]
    assert len(views(b"\x80\x02" + _opcodes(deep) + b".")) == 1
    assert views(b"\x80\x02" + _opcodes([deep, 1]) + b".") == []
    assert views(b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b".") == []
    assert views(b"\x80\x02N" + b"\x85" * 100_000 + b".") == []


def _opcodes(value: object) -> bytes:
    content = torch_file(value)
    start = content.index(b"\x80\x02") + 2
    return content[start : content.index(b".PK", start)]


def test_a_pickle_of_too_many_words_is_given_up() -> None:
    with pytest.raises(OddError):
        views(b"\x80\x02" + b"N0" * 600 + b"N.", replace(LIMITS, layout_steps=1_000))
    assert views(b"\x80\x02" + b"N0" * 400 + b"N.", replace(LIMITS, layout_steps=1_000)) == []


def test_the_ways_to_wrap_a_tensor_are_followed_so_far_and_no_further() -> None:
    whole = _opcodes(TorchTensor(FLOATS, (12,)))
    wrapped = b"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_parameter\nN(" + whole + b"ttR."
    assert [one.view.shape for one in views(b"\x80\x02" + wrapped)] == [(12,)]
    turning = b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\nq\0(h\0N(h\0N(h\0N(h\0N(NNNttttR"
    assert views(turning + b".") == []

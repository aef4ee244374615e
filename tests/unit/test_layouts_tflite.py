"""TensorFlow Lite models: buffers are found under the names of their tensors, and offsets lead astray nowhere."""

from __future__ import annotations

import struct

import pytest
import tflite

from modelsyncd.formats.tflite import _DTYPES
from modelsyncd.limits import LIMITS
from tests.fakes.layouts import bytes_of, layout_of, reading, tensors_of
from tests.fakes.tflite_files import Written, tflite_file

TENSORS = [
    Written("conv/kernel", tflite.TensorType.FLOAT32, (3, 4), bytes(range(48))),
    Written("conv/bias", tflite.TensorType.INT8, (5,), b"12345"),
    Written("computed", tflite.TensorType.FLOAT32, (1, 10)),
    Written("packed", tflite.TensorType.INT4, (3,), b"ab"),
]
CONTENT = tflite_file(TENSORS)


def test_the_schemas_own_reader_and_ours_agree() -> None:
    model = tflite.Model.GetRootAsModel(CONTENT, 0)
    graph = model.Subgraphs(0)
    found = tensors_of(CONTENT, "any.name")
    for index in range(graph.TensorsLength()):
        theirs = graph.Tensors(index)
        buffer = model.Buffers(theirs.Buffer())
        name = theirs.Name().decode()
        if buffer.DataIsNone():
            assert name not in found
            continue
        assert bytes_of(CONTENT, found[name]) == buffer.DataAsNumpy().tobytes()
        assert found[name].shape == tuple(theirs.ShapeAsNumpy().tolist())
    assert {name: one.dtype for name, one in found.items()} == {
        "conv/kernel": "f32", "conv/bias": "i8", "packed": "i4"
    }  # fmt: skip


def test_every_type_has_the_elements_that_the_schema_gives_it() -> None:
    theirs = {number: name for name, number in vars(tflite.TensorType).items() if name.isupper()}
    short = {"BFLOAT16": "bf16", "BOOL": "bool"}
    for number, dtype in _DTYPES.items():
        name = theirs[number]
        guess = name.replace("UINT", "U").replace("INT", "I").replace("FLOAT", "F").replace("COMPLEX", "C").lower()
        assert dtype == short.get(name, guess)


def test_a_buffer_that_several_tensors_share_is_named_after_the_first() -> None:
    found = tensors_of(tflite_file(TENSORS, subgraphs=3))
    assert set(found) == {"conv/kernel", "conv/bias", "packed"}


def test_a_buffer_of_another_size_than_its_shape_is_a_row_of_bytes() -> None:
    found = tensors_of(tflite_file([Written("sparse", tflite.TensorType.FLOAT32, (100, 100), bytes(30))]))
    assert [(one.dtype, one.shape) for one in found.values()] == [("u8", (30,))]


def test_a_tensor_of_texts_is_left_out() -> None:
    words = Written("words", tflite.TensorType.STRING, (1,), b"abc")
    assert set(tensors_of(tflite_file([words, *TENSORS]))) == {"conv/kernel", "conv/bias", "packed"}


def test_each_offset_may_lead_anywhere_and_nothing_is_found_outside() -> None:
    for at in range(0, len(CONTENT) - 3, 2):
        for lie in (0, 4, 0x10, len(CONTENT) - 4, 0x7FFFFFFF, 0xFFFFFFFF, (1 << 32) - at):
            lying = CONTENT[:at] + struct.pack("<I", lie & 0xFFFFFFFF) + CONTENT[at + 4 :]
            layout = layout_of(lying)
            if layout is not None:
                assert all(one.offset + one.size <= len(lying) for one in layout.tensors)


@pytest.mark.parametrize("count", [1 << 20, 1 << 31, (1 << 32) - 1])
def test_more_tables_than_the_limit_are_not_looked_at(count: int) -> None:
    model = tflite.Model.GetRootAsModel(CONTENT, 0)
    table = model._tab
    vector = table.Vector(table.Offset(12)) - 4  # the field of the buffers
    lying = CONTENT[:vector] + struct.pack("<I", count) + CONTENT[vector + 4 :]
    found = reading(lying)
    assert found.layout is None
    assert found.read < 100_000


def test_tables_that_are_all_the_same_take_no_more_than_the_budget() -> None:
    # A vector of tables, each of which is the same subgraph with the same vector of tables.
    many = 3_000
    graph = _table([4 + 4 * (many + 8)])
    content = b"".join([struct.pack("<I", 8), b"TFL3", _table([]), graph])
    content += struct.pack("<I", many) + b"".join(struct.pack("<I", 4) for _ in range(many))
    limits = type(LIMITS)(layout_steps=5_000)
    assert reading(content, limits=limits).layout is None


def _table(offsets: list[int]) -> bytes:
    """A table whose fields are these offsets, with its shape before it."""
    fields = b"".join(struct.pack("<I", offset) for offset in offsets)
    shape = struct.pack("<HH", 4 + 2 * len(offsets), 4 + len(fields))
    shape += b"".join(struct.pack("<H", 4 + 4 * index) for index in range(len(offsets)))
    return shape + struct.pack("<i", len(shape)) + fields


@pytest.mark.parametrize("content", [b"", b"\0\0\0\0TFL3", b"\xff\xff\xff\xffTFL3", CONTENT[:40], b"\x08\0\0\0TFL3"])
def test_a_model_cut_short_is_opaque(content: bytes) -> None:
    assert layout_of(content, "x.tflite") is None

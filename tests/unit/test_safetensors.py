"""The safetensors reader: what the format's own library takes it takes alike, and anything odd is no layout."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable

import pytest
import safetensors

from modelsyncd.formats import Layout, read_layout
from modelsyncd.formats.header import Header, OddError
from modelsyncd.formats.safetensors import HEADER_BYTES, read_tensors
from modelsyncd.manifest import Tensor
from tests.fakes.model_files import safetensors_file, safetensors_header, their_tensors


def reader(content: bytes) -> Callable[[int, int], bytes]:
    """Reads at a place, as a file is read."""
    return lambda offset, length: content[offset : offset + length]


def tensors_of(content: bytes) -> tuple[Tensor, ...] | None:
    """What our reader says of a file."""
    try:
        return read_tensors(Header(len(content), reader(content)))
    except OddError:
        return None


def test_tensors_are_found_with_their_places() -> None:
    header = safetensors_header({"b": ("F32", [2, 3]), "a": ("U8", [5])}, {"format": "pt"})
    content = safetensors_file(header, bytes(29))
    start = 8 + len(header)
    assert tensors_of(content) == (Tensor("b", "f32", (2, 3), start, 24), Tensor("a", "u8", (5,), start + 24, 5))


def test_the_formats_own_writer_and_our_reader_agree() -> None:
    buffers = {name: ctypes.create_string_buffer((name.encode() * 24)[:24], 24) for name in ("x", "y.weight", "ünï")}
    content = safetensors.serialize(
        {
            name: safetensors.TensorSpec(dtype="float32", shape=[2, 3], data_ptr=ctypes.addressof(buffer), data_len=24)
            for name, buffer in buffers.items()
        },
        {"epoch": "3"},
    )
    found = tensors_of(content)
    assert found is not None
    assert {tensor.name for tensor in found} == set(buffers)
    for tensor in found:
        assert (tensor.dtype, tensor.shape) == ("f32", (2, 3))
        assert content[tensor.offset : tensor.offset + tensor.size] == buffers[tensor.name].raw


@pytest.mark.parametrize(
    ("dtype", "bits"),
    [("F4", 4), ("F6_E2M3", 6), ("F6_E3M2", 6), ("BOOL", 8), ("U8", 8), ("I8", 8), ("F8_E5M2", 8), ("F8_E4M3", 8),
     ("F8_E8M0", 8), ("F8_E4M3FNUZ", 8), ("F8_E5M2FNUZ", 8), ("I16", 16), ("U16", 16), ("F16", 16), ("BF16", 16),
     ("I32", 32), ("U32", 32), ("F32", 32), ("C64", 64), ("F64", 64), ("I64", 64), ("U64", 64)],
)  # fmt: skip
def test_each_element_type_has_the_size_that_the_formats_own_reader_gives_it(dtype: str, bits: int) -> None:
    header = json.dumps({"t": {"dtype": dtype, "shape": [8], "data_offsets": [0, bits]}}).encode()
    content = safetensors_file(header, bytes(bits))
    theirs = their_tensors(content)["t"]
    found = tensors_of(content)
    assert found == (Tensor("t", dtype.lower(), (8,), 8 + len(header), len(theirs.data)),)


def _entry(**changed: object) -> bytes:
    """A header of one tensor of 8 bytes, with one thing changed."""
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changed}
    return json.dumps({"t": {key: value for key, value in entry.items() if value is not None}}).encode()


def _twice(first: str, second: str, one: tuple[int, int], other: tuple[int, int], size: int) -> bytes:
    """A header of two tensors of bytes, at these offsets; the names may be the same."""
    entries = [{"dtype": "U8", "shape": [size], "data_offsets": list(offsets)} for offsets in (one, other)]
    return f'{{"{first}":{json.dumps(entries[0])},"{second}":{json.dumps(entries[1])}}}'.encode()


ODD_HEADERS = {
    "not json": b"{t}",
    "torn json": _entry()[:-1],
    "two values": _entry() + b"{}",
    "list": b"[]",
    "leading space": b" " + _entry(),
    "bom": b"\xef\xbb\xbf" + _entry(),
    "utf-16": _entry().decode().encode("utf-16-le"),
    "not utf-8": b'{"\xff": {"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
    "half a surrogate": b'{"\\ud800": {"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
    "nan": _entry().replace(b"[2]", b"NaN"),
    "infinite": _entry().replace(b"[2]", b"[Infinity]"),
    "deep": b'{"t":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "deep objects": b'{"t":' * 100_000 + b"1" + b"}" * 100_000,
    "a long number": _entry().replace(b"[2]", b"[" + b"9" * 10_000 + b"]"),
    "the same name twice": _twice("t", "t", (0, 4), (4, 8), 4),
    "the same key twice": b'{"t":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
    "entry is a list": b'{"t":[]}',
    "entry is null": b'{"t":null}',
    "no dtype": _entry(dtype=None),
    "no shape": _entry(shape=None),
    "no offsets": _entry(data_offsets=None),
    "a key too many": _entry(offset=0),
    "unknown dtype": _entry(dtype="F31"),
    "lower-case dtype": _entry(dtype="f32"),
    "dtype is a number": _entry(dtype=32),
    "dtype is a list": _entry(dtype=["F32"]),
    "shape is a number": _entry(shape=2),
    "shape is text": _entry(shape="2"),
    "shape is negative": _entry(shape=[-2]),
    "two negative extents": _entry(shape=[-1, -2]),
    "shape is a float": _entry(shape=[2.0]),
    "shape is true": _entry(shape=[True, 2]),
    "shape is null": _entry(shape=[None]),
    "shape too large": _entry(shape=[3]),
    "shape too small": _entry(shape=[1]),
    "shape overflows": _entry(shape=[1 << 62, 1 << 62]),
    "shape overflows to nothing": _entry(shape=[1 << 63, 1 << 63, 0], data_offsets=[0, 0]),
    "an extent of 65 bits": _entry(shape=[1 << 64, 0], data_offsets=[0, 0]),
    "65 extents": _entry(shape=[2] + [1] * 64),
    "offsets turned round": _entry(data_offsets=[8, 0]),
    "one offset": _entry(data_offsets=[8]),
    "three offsets": _entry(data_offsets=[0, 4, 8]),
    "negative offset": _entry(data_offsets=[-8, 0]),
    "offset is a float": _entry(data_offsets=[0, 8.0]),
    "past the end": _entry(data_offsets=[0, 16], shape=[4]),
    "far past the end": _entry(data_offsets=[1 << 60, (1 << 60) + 8]),
    "a gap before": _entry(data_offsets=[4, 8], shape=[1]),
    "bytes left over": _entry(data_offsets=[0, 4], shape=[1]),
    "overlap": _twice("a", "b", (0, 6), (2, 8), 6),
    "tied": _twice("a", "b", (0, 8), (0, 8), 8),
    "half a byte": _entry(dtype="F4", shape=[15]),
    "metadata is a list": b'{"__metadata__":[],' + _entry()[1:],
    "metadata is not text": b'{"__metadata__":{"a":1},' + _entry()[1:],
    "metadata is nested": b'{"__metadata__":{"a":{"b":"c"}},' + _entry()[1:],
}


@pytest.mark.parametrize("header", ODD_HEADERS.values(), ids=ODD_HEADERS.keys())
def test_an_odd_header_is_no_layout(header: bytes) -> None:
    assert tensors_of(safetensors_file(_twice("a", "b", (0, 4), (4, 8), 4), bytes(8))) is not None
    assert tensors_of(safetensors_file(header, bytes(8))) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        bytes(7),
        bytes(8),
        bytes(100),
        b"\xff" * 8,
        b"\xff" * 100,
        (1).to_bytes(8, "little") + b"{",
        (100).to_bytes(8, "little") + b"{}",
        (3).to_bytes(8, "little") + b"{}",
        (HEADER_BYTES + 1).to_bytes(8, "little") + b"{}",
        b"PK\x03\x04" + bytes(60),
    ],
    ids=lambda content: ascii(content[:12]),
)
def test_a_file_without_a_header_has_no_layout(content: bytes) -> None:
    assert tensors_of(content) is None


def test_a_header_that_claims_to_be_huge_is_not_read() -> None:
    asked: list[tuple[int, int]] = []

    def read_at(offset: int, length: int) -> bytes:
        asked.append((offset, length))
        return ((1 << 62).to_bytes(8, "little") + bytes(length))[:length]

    assert read_layout("x.safetensors", 1 << 63, read_at) is None
    assert sum(length for _, length in asked) <= 64 << 10


def test_a_file_that_shrinks_while_its_header_is_read_has_no_layout() -> None:
    content = safetensors_file(_entry(), bytes(8))
    for shorter in (content[:20], b""):
        assert read_layout("x.safetensors", len(content), reader(shorter)) is None


def test_padding_after_the_header_is_the_formats_own() -> None:
    content = safetensors_file(_entry() + b"   ", bytes(8))
    assert tensors_of(content) is not None
    assert len(their_tensors(content)) == 1


def test_tensors_without_bytes_are_tensors() -> None:
    header = safetensors_header({"a": ("F32", [0]), "b": ("F32", [2, 0, 3]), "c": ("F32", [1]), "d": ("F32", [0])})
    found = tensors_of(safetensors_file(header, bytes(4)))
    assert found is not None
    assert sorted((tensor.name, tensor.size) for tensor in found) == [("a", 0), ("b", 0), ("c", 4), ("d", 0)]


@pytest.mark.parametrize("path", ["model.safetensors", "a/b/model-00001-of-00002.safetensors", "MODEL.SafeTensors"])
def test_the_name_says_which_reader_looks(path: str) -> None:
    content = safetensors_file(_entry(), bytes(8))
    layout = read_layout(path, len(content), reader(content))
    assert isinstance(layout, Layout)
    assert layout.format == "safetensors"
    assert len(layout.tensors) == 1


@pytest.mark.parametrize("path", ["model.bin", "safetensors", "model.safetensors.json", "model.safetensors/x"])
def test_another_name_is_not_looked_at_beyond_its_first_bytes(path: str) -> None:
    asked: list[int] = []

    def read_at(offset: int, length: int) -> bytes:
        asked.append(offset)
        return safetensors_file(_entry(), bytes(8))[offset : offset + length]

    assert read_layout(path, 100, read_at) is None
    assert asked == [0]


def test_a_file_that_is_not_what_its_name_says_has_no_layout() -> None:
    assert read_layout("model.safetensors", 5, reader(b"hello")) is None
    empty = safetensors_file(b"{}")
    assert read_layout("model.safetensors", len(empty), reader(empty)) is None

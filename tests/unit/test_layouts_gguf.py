"""GGUF files: tensors are found where the format's own package puts them, whatever stands before them."""

from __future__ import annotations

import struct
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

from modelsyncd.formats.gguf import _BLOCKS
from modelsyncd.limits import LIMITS
from tests.fakes.layouts import bytes_of, layout_of, reading, tensors_of

NEVER_IN_A_FILE = {GGMLQuantizationType.Q8_1}
WEIGHTS = np.arange(64 * 256, dtype=np.float32).reshape(64, 256)


def written(path: Path, alignment: int | None = None) -> bytes:
    """A file by the format's own writer, with keys and values of every type."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint8("k.u8", 1)
    writer.add_int16("k.i16", -1)
    writer.add_float64("k.f64", 0.5)
    writer.add_bool("k.bool", True)
    writer.add_string("k.text", "ünï" * 100)
    writer.add_array("k.texts", ["a", "bb", ""] * 3_000)
    writer.add_array("k.numbers", [1, 2, 3])
    writer.add_array("k.nested", [[1, 2], [3]])
    if alignment is not None:
        writer.add_custom_alignment(alignment)
    writer.add_tensor("blk.0.weight", WEIGHTS)
    writer.add_tensor("half", WEIGHTS[:3].astype(np.float16))
    writer.add_tensor("odd", np.arange(5, dtype=np.int8))
    for kind in (GGMLQuantizationType.Q4_0, GGMLQuantizationType.Q8_0):
        writer.add_tensor(kind.name, gguf.quants.quantize(WEIGHTS, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


@pytest.mark.parametrize("alignment", [None, 64, 4096])
def test_the_formats_own_reader_and_ours_agree(tmp_path: Path, alignment: int | None) -> None:
    content = written(tmp_path / "x.gguf", alignment)
    layout = layout_of(content, "any.name")
    assert layout is not None
    assert layout.format == "gguf"
    theirs = gguf.GGUFReader(tmp_path / "x.gguf").tensors
    assert [(one.name, one.offset, one.size, one.shape) for one in layout.tensors] == [
        (one.name, one.data_offset, one.n_bytes, tuple(int(extent) for extent in reversed(one.shape))) for one in theirs
    ]
    found = tensors_of(content)
    assert bytes_of(content, found["blk.0.weight"]) == WEIGHTS.tobytes()
    assert {name: one.dtype for name, one in found.items()} == {
        "blk.0.weight": "f32", "half": "f16", "odd": "i8", "Q4_0": "q4_0", "Q8_0": "q8_0"
    }  # fmt: skip


def test_every_type_has_the_block_that_the_formats_own_package_gives_it() -> None:
    theirs = {kind: sizes for kind, sizes in GGML_QUANT_SIZES.items() if kind not in NEVER_IN_A_FILE}
    assert {kind.value: (kind.name.lower(), *sizes) for kind, sizes in theirs.items()} == {
        number: (block.dtype, block.elements, block.size) for number, block in _BLOCKS.items()
    }


def text(word: bytes) -> bytes:
    """A text with its length."""
    return struct.pack("<Q", len(word)) + word


def info(name: bytes = b"t", shape: tuple[int, ...] = (4,), kind: int = 0, offset: int = 0) -> bytes:
    """What stands in the header for one tensor."""
    extents = struct.pack(f"<{len(shape)}Q", *shape)
    return text(name) + struct.pack("<I", len(shape)) + extents + struct.pack("<IQ", kind, offset)


def pair(key: bytes, kind: int, value: bytes) -> bytes:
    """A key with its value."""
    return text(key) + struct.pack("<I", kind) + value


def made(
    infos: list[bytes], pairs: list[bytes] | None = None, *, data: int = 64, version: int = 3,
    tensors: int | None = None, keys: int | None = None,
) -> bytes:  # fmt: skip
    """A file of these parts, with zeros as data; `tensors` and `keys` are how many it claims to have."""
    known = pairs or []
    head = b"GGUF" + struct.pack(
        "<IQQ", version, len(infos) if tensors is None else tensors, len(known) if keys is None else keys
    )
    head += b"".join(known) + b"".join(infos)
    return head + bytes(-len(head) % 32) + bytes(data)


def test_the_first_version_has_shorter_lengths() -> None:
    head = b"GGUF" + struct.pack("<III", 1, 1, 1)
    head += struct.pack("<I", 1) + b"k" + struct.pack("<II", 8, 2) + b"ab"
    head += struct.pack("<I", 1) + b"t" + struct.pack("<IIIIQ", 2, 4, 2, 0, 0)
    layout = layout_of(head + bytes(-len(head) % 32) + bytes(32))
    assert layout is not None
    assert [(one.name, one.shape, one.offset, one.size) for one in layout.tensors] == [("t", (2, 4), 64, 32)]


UINT32_MAX = struct.pack("<I", 0xFFFFFFFF)
ODD = {
    "cut short": made([info()])[:30],
    "version 0": made([info()], version=0),
    "version 4": made([info()], version=4),
    "turned round": b"GGUF" + struct.pack(">IQQ", 3, 1, 0) + bytes(100),
    "past the end": made([info(shape=(17,))]),
    "far past the end": made([info(offset=1 << 62)]),
    "overflow": made([info(shape=(1 << 63, 1 << 63))]),
    "extents that overflow to nothing": made([info(shape=(1 << 62, 1 << 62, 0))]),
    "the same name twice": made([info(), info(offset=32)]),
    "over one another": made([info(b"a"), info(b"b", (9,))]),
    "not aligned": made([info(offset=8)]),
    "unknown type": made([info(kind=4)]),
    "type of the future": made([info(kind=1_000)]),
    "half a block": made([info(shape=(33,), kind=2)]),
    "65 extents": made([info(shape=(1,) * 65)]),
    "2^32 extents": made([text(b"t") + UINT32_MAX + bytes(100)]),
    "a long name": made([info(b"n" * 5_000)]),
    "a name that is no text": made([info(b"\xff\xfe")]),
    "2^62 tensors": made([info()], tensors=1 << 62),
    "2^62 keys": made([info()], keys=1 << 62),
    "a key too many": made([info()], keys=1),
    "a text of 2^63 bytes": made([info()], [text(b"k") + struct.pack("<IQ", 8, 1 << 63)]),
    "2^63 numbers": made([info()], [pair(b"k", 9, struct.pack("<IQ", 6, 1 << 63))]),
    "numbers that overflow": made([info()], [pair(b"k", 9, struct.pack("<IQ", 10, 1 << 61))]),
    "2^63 texts": made([info()], [pair(b"k", 9, struct.pack("<IQ", 8, 1 << 63))]),
    "unknown type of value": made([info()], [pair(b"k", 13, bytes(8))]),
    "arrays in arrays": made([info()], [pair(b"k", 9, struct.pack("<IQ", 9, 1) * 5_000)]),
    "aligned to nothing": made([info()], [pair(b"general.alignment", 4, bytes(4))]),
    "aligned to three": made([info()], [pair(b"general.alignment", 4, struct.pack("<I", 3))]),
    "aligned to 4 GiB": made([info()], [pair(b"general.alignment", 4, UINT32_MAX)]),
    "aligned to a text": made([info()], [pair(b"general.alignment", 8, text(b"32"))]),
}


@pytest.mark.parametrize("content", ODD.values(), ids=ODD.keys())
def test_an_odd_header_is_no_layout(content: bytes) -> None:
    assert layout_of(made([info(b"a"), info(b"b", (8,), offset=32)])) is not None
    assert layout_of(content) is None


def test_an_array_of_2_to_the_63_empty_things_takes_no_more_than_the_budget() -> None:
    content = made([info()], [pair(b"k", 9, struct.pack("<IQ", 8, 1 << 63))], data=1 << 20)
    limits = type(LIMITS)(layout_steps=10_000, layout_bytes=100_000)
    found = reading(content, limits=limits)
    assert found.layout is None
    assert found.read <= 100_000


def test_tensors_without_bytes_are_left_out() -> None:
    assert set(tensors_of(made([info(b"none", (0,)), info(b"some")]))) == {"some"}

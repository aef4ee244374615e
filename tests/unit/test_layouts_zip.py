"""Zip files: stored entries are found where they lie, and a file that could be read in two ways is opaque."""

from __future__ import annotations

import io
import struct
import zipfile
from typing import Any

import numpy as np
import pytest

from modelsyncd.formats.header import Header, OddError
from modelsyncd.formats.zip_directory import Entry, stored_entries
from modelsyncd.limits import LIMITS
from tests.fakes.layouts import bytes_of, layout_of, reading, tensors_of
from tests.fakes.zip_files import Member, zip_file

A, B = Member("x/a", b"first"), Member("b", b"second one")


def entries(content: bytes) -> list[Entry]:
    """The stored entries of a zip file."""
    return stored_entries(Header(len(content), lambda offset, length: content[offset : offset + length]))


def said(content: bytes) -> list[tuple[str, bytes]]:
    """Names and bytes of the stored entries."""
    return [(one.name, content[one.offset : one.offset + one.size]) for one in entries(content)]


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("comment", [b"", b"a comment", b"PK\x05\x06" + bytes(40), b"x" * 65_535])
def test_pythons_own_zip_files_are_read(compression: int, comment: bytes) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("plain", b"0123", compress_type=zipfile.ZIP_STORED)
        archive.writestr("other", b"4" * 100, compress_type=compression)
        with archive.open(zipfile.ZipInfo("forced"), "w", force_zip64=True) as forced:
            forced.write(b"large?")
        archive.comment = comment
    stored = [] if compression == zipfile.ZIP_DEFLATED else [("other", b"4" * 100)]
    if comment.startswith(b"PK"):
        with pytest.raises(OddError):  # two ends: which one is it?
            said(out.getvalue())
        return
    assert said(out.getvalue()) == [("plain", b"0123"), *stored, ("forced", b"large?")]


def test_a_zip_file_that_is_written_to_a_pipe_has_its_sizes_in_the_directory() -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    out = Pipe()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("plain", b"0123")
    assert said(out.getvalue()) == [("plain", b"0123")]


def test_numbers_above_4_gib_are_found_in_their_extra_fields() -> None:
    assert said(zip_file([A, Member("b", b"second one", in_64=True)], end_64=True)) == [
        ("x/a", b"first"),
        ("b", b"second one"),
    ]


ODD = {
    "not at all": b"PK\x03\x04" + bytes(100),
    "empty": b"",
    "an end alone": b"PK\x05\x06",
    "the same name twice": zip_file([A, Member("x/a", b"other")]),
    "another name in the local header": zip_file([Member("x/a", b"first", local_name="x/b"), B]),
    "a longer name in the local header": zip_file([Member("x/a", b"first", local_name="x/aaa"), B]),
    "another size in the local header": zip_file([Member("x/a", b"first", local_size=4), B]),
    "packed and plain differ": zip_file([A])[: -22 - 49 + 24] + struct.pack("<I", 9) + zip_file([A])[-22 - 49 + 28 :],
    "past the end": zip_file([Member("x/a", b"first", size=1 << 20, local_size=1 << 20)]),
    "into the directory": zip_file([A, Member("b", b"second one", size=12, local_size=12)]),
    "two over one another": zip_file([A, Member("b", b"second one"), Member("b", b"second one", offset=40)]),
    "no local header": zip_file([Member("x/a", b"first", offset=3)]),
    "far outside": zip_file([Member("x/a", b"first", offset=1 << 31)]),
    "claims more entries": zip_file([A, B], count=3),
    "claims fewer entries": zip_file([A, B], count=1),
    "claims a million entries": zip_file([A, B], count=1_000_000, end_64=True),
    "claims 2^62 entries": zip_file([A, B], count=1 << 62, end_64=True),
    "bytes after the end": zip_file([A, B]) + b"more",
    "bytes before the start": b"PK\x03\x04" + zip_file([A, B]),
    "cut short": zip_file([A, B])[:-1],
    "end without its directory": zip_file([A, B])[-22:],
    "no such extra field": zip_file([A, B]).replace(b"PK\x01\x02", b"PK\x01\x02", 1)[:-22]
    + struct.pack("<4s4H2IH", b"PK\x05\x06", 1, 0, 2, 2, 0, 0, 0),
    "locator that leads nowhere": zip_file([A], end_64=True).replace(b"PK\x06\x06", b"PK\x06\x00"),
}


@pytest.mark.parametrize("content", ODD.values(), ids=ODD.keys())
def test_an_odd_zip_file_is_odd(content: bytes) -> None:
    assert len(entries(zip_file([A, B]))) == 2
    with pytest.raises(OddError):
        entries(content)
    assert layout_of(content, "model.pt") is None


def test_entries_that_are_packed_or_locked_are_left_out() -> None:
    packed, locked = Member("p", b"xxxx", method=8), Member("l", b"yyyy", flags=1)
    assert [one.name for one in entries(zip_file([A, packed, locked, B]))] == ["x/a", "b"]


def test_a_directory_that_claims_to_be_huge_is_not_read() -> None:
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFF00, 0x1000, 0)
    content = b"PK\x03\x04" + bytes(100_000) + end
    found = reading(content, size=len(content))
    assert found.layout is None
    assert found.read <= 200_000


def saved(save: str, **arrays: object) -> bytes:
    """What NumPy writes."""
    out = io.BytesIO()
    getattr(np, save)(out, **arrays)
    return out.getvalue()


ARRAYS: dict[str, np.ndarray[Any, Any]] = {
    "a": np.arange(12, dtype=np.float32).reshape(3, 4),
    "h": np.arange(5, dtype=np.float16),
    "turned": np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3)),
    "truth": np.array([True, False]),
    "scalar": np.array(3.5),
    "c": np.array([1 + 2j]),
    "i": np.arange(7, dtype=np.uint16),
}


def test_arrays_of_an_npz_are_found_where_they_lie() -> None:
    content = saved("savez", **ARRAYS)
    found = tensors_of(content, "weights.npz")
    assert set(found) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert bytes_of(content, found[name]) == array.tobytes(order="A")
    assert {name: one.dtype for name, one in found.items()} == {
        "a": "f32", "h": "f16", "turned": "i64", "truth": "bool", "scalar": "f64", "c": "c128", "i": "u16"
    }  # fmt: skip
    assert found["a"].shape == (3, 4)
    assert found["turned"].shape == (3, 2)  # as the bytes lie
    assert found["scalar"].shape == ()


def test_a_packed_npz_is_opaque() -> None:
    assert layout_of(saved("savez_compressed", **ARRAYS)) is None


def test_an_entry_that_is_no_array_costs_the_others_nothing() -> None:
    content = saved("savez", a=ARRAYS["a"], o=np.array([{}], dtype=object), s=np.array(["text"]))
    assert set(tensors_of(content)) == {"a"}


@pytest.mark.parametrize("name", ARRAYS)
def test_an_npy_is_one_tensor_without_a_name(name: str) -> None:
    content = saved("save", arr=ARRAYS[name])
    layout = layout_of(content, "any.name")
    assert layout is not None
    (tensor,) = layout.tensors
    assert (layout.format, tensor.name) == ("npy", "")
    assert bytes_of(content, tensor) == ARRAYS[name].tobytes(order="A")


def npy(words: bytes, data: bytes = bytes(8), version: int = 1) -> bytes:
    """A `.npy` file with this header."""
    length = len(words).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + words + data


WORDS = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n"


@pytest.mark.parametrize("version", [1, 2, 3])
def test_each_version_of_npy_is_read(version: int) -> None:
    layout = layout_of(npy(WORDS, version=version))
    assert layout is not None
    assert layout.tensors[0].size == 8


@pytest.mark.parametrize(
    "content",
    [
        npy(WORDS.replace(b"<f4", b">f4")),
        npy(WORDS.replace(b"<f4", b"|O")),
        npy(WORDS.replace(b"<f4", b"<U2")),
        npy(WORDS.replace(b"'<f4'", b"[('a', '<f4')]")),
        npy(WORDS.replace(b"(2,)", b"(3,)")),
        npy(WORDS.replace(b"(2,)", b"(-2,)")),
        npy(WORDS.replace(b"(2,)", b"(" + b"9" * 400 + b",)")),
        npy(WORDS.replace(b"(2,)", b"(" + b"(" * 5_000 + b")" * 5_000)),
        npy(WORDS.replace(b"(2,)", b"(" + b"1, " * 1_000 + b"2)")),
        npy(WORDS.replace(b"False", b"__import__('os')")),
        npy(WORDS, version=4),
        npy(WORDS, bytes(9)),
        npy(WORDS[:-1]),
        npy(WORDS)[:12],
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + WORDS,
    ],
    ids=lambda content: ascii(content[:60]),
)
def test_an_odd_npy_is_opaque(content: bytes) -> None:
    assert layout_of(content) is None


def test_more_entries_than_the_limit_are_not_looked_at() -> None:
    content = zip_file([Member(f"{index}.npy", npy(WORDS)) for index in range(20)])
    assert layout_of(content) is not None
    limits = type(LIMITS)(layout_tensors=19)
    assert layout_of(content, limits=limits) is None

"""The readers of layouts, on any bytes: never an error, never a layout that the format's own reader would not give."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from modelsyncd.formats import read_layout
from modelsyncd.formats.header import Header, OddError
from modelsyncd.formats.safetensors import read_tensors
from modelsyncd.manifest import Tensor
from tests.fakes.model_files import safetensors_file, safetensors_header, their_tensors

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["F32", "U8", "F4"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
NEARLY_AN_ENTRY = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "U8", "F16", "BF16", "F4", "X"]) | JSON,
        "shape": st.lists(st.integers(-1, 4), max_size=3) | JSON,
        "data_offsets": st.lists(st.integers(-1, 16), min_size=2, max_size=2) | JSON,
    }
)
NAMES = st.text(min_size=1, max_size=12).filter(lambda name: name != "__metadata__")
SOUND = st.dictionaries(
    NAMES, st.tuples(st.sampled_from(["U8", "F16", "F32", "F64"]), st.lists(st.integers(0, 5), max_size=4)), max_size=12
)


def _tensors(content: bytes) -> tuple[Tensor, ...] | None:
    try:
        return read_tensors(Header(len(content), lambda offset, length: content[offset : offset + length]))
    except OddError:
        return None


def _check_against_their_reader(content: bytes, found: tuple[Tensor, ...]) -> None:
    theirs = their_tensors(content)
    assert {tensor.name for tensor in found} == set(theirs)
    for tensor in found:
        their = theirs[tensor.name]
        assert tensor.dtype == their.dtype.lower()
        assert tensor.shape == their.shape
        assert content[tensor.offset : tensor.offset + tensor.size] == their.data


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_an_error(content: bytes) -> None:
    read_layout("x.safetensors", len(content), lambda offset, length: content[offset : offset + length])


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.binary(max_size=300), st.binary(max_size=50))
def test_any_header_is_read_without_an_error(header: bytes, data: bytes) -> None:
    _tensors(safetensors_file(header, data))
    _tensors(safetensors_file(b"{" + header, data))


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.dictionaries(NAMES, NEARLY_AN_ENTRY | JSON, max_size=4), st.integers(0, 20))
def test_a_header_that_is_nearly_right_gives_a_layout_only_if_their_reader_gives_the_same(
    entries: dict[str, object], length: int
) -> None:
    content = safetensors_file(json.dumps(entries).encode(), bytes(range(length)))
    found = _tensors(content)
    if found is not None:
        _check_against_their_reader(content, found)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(SOUND, st.none() | st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3))
def test_each_sound_file_is_read_as_their_reader_reads_it(
    tensors: dict[str, tuple[str, list[int]]], metadata: dict[str, str] | None
) -> None:
    header = safetensors_header(tensors, metadata)
    length = max((entry["data_offsets"][1] for name, entry in json.loads(header).items() if name in tensors), default=0)
    content = safetensors_file(header, bytes(number % 256 for number in range(length)))
    found = _tensors(content)
    assert found is not None
    _check_against_their_reader(content, found)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(SOUND.filter(bool), st.data())
def test_a_sound_file_with_a_wrong_byte_gives_a_layout_only_if_their_reader_gives_the_same(
    tensors: dict[str, tuple[str, list[int]]], data: st.DataObject
) -> None:
    header = bytearray(safetensors_header(tensors))
    length = max(entry["data_offsets"][1] for entry in json.loads(bytes(header)).values())
    at = data.draw(st.integers(0, len(header) - 1))
    header[at] = data.draw(st.integers(32, 126))
    content = safetensors_file(bytes(header), bytes(number % 256 for number in range(length)))
    found = _tensors(content)
    if found is not None:
        _check_against_their_reader(content, found)

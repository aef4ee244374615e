"""Layouts of any bytes: never an error, never a tensor outside the file or over another, never more than the budget."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelsyncd.chunker import grid
from modelsyncd.formats import read_elsewhere, read_layout
from modelsyncd.limits import Limits
from modelsyncd.manifest import Chunking
from tests.fakes.layouts import check_sound, reading
from tests.fakes.model_samples import SAMPLES

TIGHT = Limits(layout_steps=20_000, layout_bytes=1 << 20, layout_tensors=500)
NUMBERS = st.sampled_from([0, 1, 7, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 62, (1 << 64) - 1])
SAMPLE = st.sampled_from(sorted(SAMPLES))


def _any_path(content: bytes) -> None:
    for path in ("m.bin", "m.onnx", "m.safetensors"):
        layout = reading(content, path, limits=TIGHT).layout
        check_sound(layout, len(content))
        if layout is not None:
            assert sum(stretch.size for stretch in grid(len(content), layout.tensors, Chunking())) == len(content)
    read_elsewhere("m.onnx", {"m.onnx": len(content), "d": 99}, partial(_part, content), TIGHT)


def _part(content: bytes, offset: int, length: int) -> bytes:
    return content[offset : offset + length]


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_every_sample_has_a_layout(name: str) -> None:
    sample = SAMPLES[name]
    layout = read_layout(sample.path, len(sample.content), partial(_part, sample.content))
    assert layout is not None
    assert layout.format == sample.format
    check_sound(layout, len(sample.content))


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.sampled_from([b"GGUF\3\0\0\0", b"PK\3\4", b"\x93NUMPY\1\0", b"\x08\0\0\0TFL3", b"\x3a", b""]), st.binary())
def test_any_bytes_after_a_magic_are_read_without_an_error(magic: bytes, rest: bytes) -> None:
    _any_path(magic + rest)


@settings(deadline=None, derandomize=True, max_examples=400)
@given(SAMPLE, st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=9)), min_size=1, max_size=4))
def test_a_sample_with_bytes_that_are_others_is_read_without_an_error(
    name: str, changes: list[tuple[float, bytes]]
) -> None:
    content = bytearray(SAMPLES[name].content)
    for where, given_bytes in changes:
        at = int(where * len(content))
        content[at : at + len(given_bytes)] = given_bytes
    _any_path(bytes(content))


@settings(deadline=None, derandomize=True, max_examples=400)
@given(SAMPLE, st.floats(0, 1), NUMBERS, st.sampled_from([1, 2, 4, 8]))
def test_a_sample_with_a_number_that_lies_is_read_without_an_error(
    name: str, where: float, number: int, width: int
) -> None:
    content = bytearray(SAMPLES[name].content)
    at = int(where * len(content))
    content[at : at + width] = (number & ((1 << 8 * width) - 1)).to_bytes(width, "little")
    _any_path(bytes(content))


@settings(deadline=None, derandomize=True, max_examples=200)
@given(SAMPLE, st.floats(0, 1), st.floats(0, 1))
def test_a_sample_with_a_part_cut_out_is_read_without_an_error(name: str, start: float, end: float) -> None:
    content = SAMPLES[name].content
    left, right = sorted((int(start * len(content)), int(end * len(content))))
    _any_path(content[:left] + content[right:])


def _dies_later(content: bytes) -> Callable[[int, int], bytes]:
    return lambda offset, length: content[offset : offset + length // 2]


@settings(deadline=None, derandomize=True, max_examples=100)
@given(SAMPLE)
def test_a_sample_that_shrinks_while_it_is_read_gives_no_error(name: str) -> None:
    sample = SAMPLES[name]
    check_sound(read_layout(sample.path, len(sample.content), _dies_later(sample.content)), len(sample.content))


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_a_file_that_claims_to_be_huge_costs_no_memory(name: str) -> None:
    """The sample's header at the start of 8 TiB that are all its own bytes again, numbers made as large as they go."""
    content = SAMPLES[name].content
    limits = Limits(layout_steps=10_000, layout_bytes=4 << 20, layout_tensors=2_000)
    tracemalloc.start()
    try:
        for at in range(0, min(len(content), 400), 3):
            lying = content[:at] + b"\xff\xff\xff\x7f" + content[at + 4 :]
            read_layout(SAMPLES[name].path, 1 << 43, partial(_endless, lying), limits)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 32 << 20


def _endless(content: bytes, offset: int, length: int) -> bytes:
    at = offset % len(content)
    return (content[at:] + content * (length // len(content) + 1))[:length]

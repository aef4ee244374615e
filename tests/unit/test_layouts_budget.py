"""The budget of a header: what may be read of one file, and looked at, is counted and ends."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable

import pytest

from modelsyncd.formats.header import Cursor, Header, OddError
from modelsyncd.limits import LIMITS, Limits
from tests.fakes.layouts import layout_of, reading
from tests.fakes.model_samples import SAMPLES
from tests.fakes.zip_files import Member, zip_file


def header(content: bytes, limits: Limits = LIMITS) -> tuple[Header, list[tuple[int, int]]]:
    """A header of a file with these bytes, and what is read of it."""
    asked: list[tuple[int, int]] = []

    def read_at(offset: int, length: int) -> bytes:
        asked.append((offset, length))
        return content[offset : offset + length]

    return Header(len(content), read_at, limits), asked


CONTENT = bytes(index * 7 % 256 for index in range(100_000))


def test_neighbours_are_read_at_once_and_bytes_after_a_jump_sparingly() -> None:
    head, asked = header(CONTENT)
    for at in range(0, 40_000, 8):
        assert head.read(at, 8) == CONTENT[at : at + 8]
    assert len(asked) <= 5
    asked.clear()
    assert head.read(99_000, 8) == CONTENT[99_000:99_008]
    assert head.read(50_000, 8) == CONTENT[50_000:50_008]
    assert sum(length for _, length in asked) <= 2 * 4096


def test_nothing_is_read_beyond_the_end() -> None:
    head, asked = header(CONTENT[:100])
    assert head.upto(96, 10) == CONTENT[96:100]
    assert head.upto(100, 10) == b""
    assert head.upto(1 << 70, 10) == b""
    assert all(offset + length <= 100 for offset, length in asked)
    for offset, length in ((96, 5), (100, 1), (1 << 63, 8), (-1, 1), (0, -1), (0, 1 << 62)):
        with pytest.raises(OddError):
            head.read(offset, length)


def test_bytes_beyond_the_budget_are_not_read() -> None:
    head, asked = header(CONTENT, Limits(layout_bytes=13_000))
    head.read(0, 8)
    head.read(50_000, 8)
    with pytest.raises(OddError):
        head.read(90_000, 8)
    assert sum(length for _, length in asked) <= 13_000
    with pytest.raises(OddError):
        header(CONTENT, Limits(layout_bytes=13_000))[0].read(0, 13_001)


def test_looks_beyond_the_budget_are_not_made() -> None:
    head, _ = header(CONTENT, Limits(layout_steps=100))
    for _ in range(100):
        head.u8(5)
    with pytest.raises(OddError):
        head.u8(5)


@pytest.mark.parametrize("name", sorted(set(SAMPLES) - {"npy", "safetensors"}))
def test_every_reader_ends_with_its_budget(name: str) -> None:
    sample = SAMPLES[name]
    assert layout_of(sample.content, sample.path) is not None
    assert layout_of(sample.content, sample.path, Limits(layout_steps=3)) is None
    assert layout_of(sample.content, sample.path, Limits(layout_bytes=10)) is None


def cursor(content: bytes, end: int | None = None) -> Cursor:
    """A cursor over these bytes."""
    return Cursor(header(content)[0], 0, len(content) if end is None else end)


@pytest.mark.parametrize(
    "step",
    [lambda at: at.take(4), lambda at: at.skip(4), lambda at: at.skip(-1), lambda at: at.u32(), lambda at: at.u64()],
)
def test_a_cursor_goes_no_further_than_its_end(step: Callable[[Cursor], object]) -> None:
    with pytest.raises(OddError):
        step(cursor(CONTENT, end=3))


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"\0", 0),
        (b"\x7f", 127),
        (b"\x80\x01", 128),
        (b"\xff" * 9 + b"\x01", (1 << 64) - 1),
        (b"\x80\x80\0", 0),
        (b"\xff" * 9 + b"\x7f", (1 << 64) - 1),
    ],
)
def test_a_number_of_up_to_10_bytes_is_read(raw: bytes, value: int) -> None:
    at = cursor(raw + b"rest")
    assert at.varint() == value
    assert at.position == len(raw)


@pytest.mark.parametrize("raw", [b"", b"\x80", b"\xff" * 10, b"\xff" * 11 + b"\0"])
def test_a_number_without_an_end_is_odd(raw: bytes) -> None:
    with pytest.raises(OddError):
        cursor(raw).varint()


def _gguf_of_a_million() -> bytes:
    info = struct.pack("<Q", 1) + b"t" + struct.pack("<IQIQ", 1, 4, 0, 0)
    return b"GGUF" + struct.pack("<IQQ", 3, 1_000_000, 0) + info * 100_000


def _zip_of_many() -> bytes:
    return zip_file([Member(f"{index}.npy", b"") for index in range(30_000)], count=1 << 40, end_64=True)


@pytest.mark.parametrize(
    ("path", "made"),
    [("m.gguf", _gguf_of_a_million), ("m.zip", _zip_of_many)],
)
def test_a_million_tensors_claimed_are_refused_before_memory_is_taken(path: str, made: Callable[[], bytes]) -> None:
    content = made()
    tracemalloc.start()
    try:
        assert reading(content, path).layout is None
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20

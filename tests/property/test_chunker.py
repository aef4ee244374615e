"""Cuts, of any file with any layout: they cover it once, keep to the limits, and do not depend on how it was read."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from modelsyncd.chunker import ContentCutter, Cutter, GridCutter, grid
from modelsyncd.manifest import Chunking, Tensor

SMALL = Chunking(step=100, smallest=64, average=256, largest=1024)


def _tensor(offset: int, size: int) -> Tensor:
    return Tensor("t", "u8", (size,), offset, size)


ANY_LAYOUT = st.lists(st.builds(_tensor, st.integers(0, 5_000), st.integers(0, 1_500)), max_size=30)
CONTENT = st.builds(
    lambda seed, times, tail: (seed * times)[:40_000] + tail,
    st.binary(min_size=1, max_size=600),
    st.integers(0, 500),
    st.binary(max_size=3_000),
)


def _cut(cutter: Cutter, content: bytes, pieces: Sequence[int]) -> list[bytes]:
    chunks: list[bytes] = []
    start = turn = 0
    while start < len(content):
        length = pieces[turn % len(pieces)]
        chunks.extend(map(bytes, cutter.feed(content[start : start + length])))
        start += length
        turn += 1
    chunks.extend(map(bytes, cutter.finish()))
    return chunks


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.integers(0, 5_000), ANY_LAYOUT)
def test_a_grid_covers_the_file_once_in_chunks_of_a_step_at_most(size: int, layout: list[Tensor]) -> None:
    sizes = grid(size, layout, SMALL)
    assert sum(sizes) == size
    assert all(0 < chunk <= SMALL.step for chunk in sizes)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.lists(st.integers(1, 1_500), min_size=1, max_size=20), st.integers(0, 300), st.data())
def test_a_grid_does_not_depend_on_the_order_in_which_tensors_are_listed(
    lengths: list[int], start: int, data: st.DataObject
) -> None:
    layout: list[Tensor] = []
    end = start
    for length in lengths:
        layout.append(_tensor(end, length))
        end += length
    listed = data.draw(st.permutations(layout))
    assert grid(end, listed, SMALL) == grid(end, layout, SMALL)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(
    st.lists(st.integers(1, 1_500), max_size=10),
    st.lists(st.integers(1, 1_500), max_size=10),
    st.integers(100, 1_500),
    st.lists(st.integers(1, 1_500), max_size=10),
)
def test_what_follows_a_large_tensor_is_cut_alike_whatever_came_before(
    before: list[int], other: list[int], large: int, after: list[int]
) -> None:
    def tail(head: list[int]) -> list[int]:
        lengths = [*head, large, *after]
        layout = [_tensor(sum(lengths[:index]), length) for index, length in enumerate(lengths)]
        return grid(sum(lengths), layout, SMALL)[len(grid(sum(head), layout[: len(head)], SMALL)) :]

    assert tail(before) == tail(other)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(CONTENT, st.lists(st.integers(1, 5_000), min_size=1, max_size=8))
def test_content_cuts_do_not_depend_on_the_pieces_that_were_read(content: bytes, pieces: list[int]) -> None:
    chunks = _cut(ContentCutter(SMALL), content, pieces)
    assert chunks == _cut(ContentCutter(SMALL), content, [1 << 20])
    assert b"".join(chunks) == content
    assert all(len(chunk) <= SMALL.largest for chunk in chunks)
    assert all(len(chunk) >= SMALL.smallest for chunk in chunks[:-1])


@settings(deadline=None, derandomize=True, max_examples=200)
@given(
    st.lists(st.binary(min_size=1, max_size=300), max_size=20), st.lists(st.integers(1, 700), min_size=1, max_size=8)
)
def test_a_grid_cutter_gives_back_the_chunks_that_it_was_told(chunks: list[bytes], pieces: list[int]) -> None:
    assert _cut(GridCutter(map(len, chunks)), b"".join(chunks), pieces) == chunks

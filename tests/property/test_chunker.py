"""Cuts, of any file with any layout: they cover it once, keep to the limits, and do not depend on how it was read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

from hypothesis import given, settings
from hypothesis import strategies as st

from modelsyncd.chunker import TENSORS_1, ContentCutter, Cutter, GridCutter, Stretch, cutter, grid
from modelsyncd.manifest import Chunking, Tensor

SMALL = Chunking(step=100, smallest=64, average=256, largest=1024)
FIRST = replace(SMALL, algorithm=TENSORS_1)


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
    for chunking in (SMALL, FIRST):
        stretches = grid(size, layout, chunking)
        assert sum(stretch.size for stretch in stretches) == size
        assert all(0 < stretch.size <= chunking.step or stretch.by_content for stretch in stretches)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(
    st.lists(st.tuples(st.integers(0, 9) | st.integers(0, 900), st.integers(1, 900)), max_size=20),
    st.lists(st.integers(1, 2_000), min_size=1, max_size=8),
)
def test_any_layout_is_cut_alike_however_it_is_read_and_steps_begin_where_tensors_do(
    runs: list[tuple[int, int]], pieces: list[int]
) -> None:
    layout: list[Tensor] = []
    end = 0
    for gap, length in runs:
        layout.append(_tensor(end + gap, length))
        end += gap + length
    content = bytes(index * index % 251 for index in range(end + 150))
    chunks = _cut(cutter(len(content), layout, SMALL), content, pieces)
    assert b"".join(chunks) == content
    assert chunks == _cut(cutter(len(content), layout, SMALL), content, [1 << 20])
    starts = set(accumulate(map(len, chunks), initial=0))
    for tensor in layout:
        if tensor.size >= SMALL.step:
            assert starts >= {*range(tensor.offset, tensor.offset + tensor.size, SMALL.step)}
            assert tensor.offset + tensor.size in starts


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 400)), min_size=1, max_size=20), st.data())
def test_a_gap_that_changes_touches_no_chunk_of_a_large_tensor(
    runs: list[tuple[int, int]], data: st.DataObject
) -> None:
    def large_chunks(gaps: list[int]) -> list[int]:
        layout: list[Tensor] = []
        end = 0
        for gap, (_, length) in zip(gaps, runs, strict=True):
            layout.append(_tensor(end + gap, length))
            end += gap + length
        borders = list(accumulate((stretch.size for stretch in grid(end, layout, SMALL)), initial=0))
        return [
            border - tensor.offset
            for tensor in layout
            if tensor.size >= SMALL.step
            for border in borders
            if tensor.offset <= border <= tensor.offset + tensor.size
        ]

    other = data.draw(st.lists(st.integers(0, 9), min_size=len(runs), max_size=len(runs)))
    assert large_chunks([gap for gap, _ in runs]) == large_chunks(other)


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
    def tail(head: list[int]) -> list[Stretch]:
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

"""Cuts: where they fall in the cases that matter for what must travel."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import accumulate

import pytest

from modelsyncd.chunker import TENSORS_1, ContentCutter, Cutter, GridCutter, Stretch, check, cutter, grid
from modelsyncd.errors import BadInputError
from modelsyncd.manifest import Chunking, Tensor

STEP = 1000
SMALL = Chunking(step=STEP, smallest=64, average=256, largest=1024)
FIRST = replace(SMALL, algorithm=TENSORS_1)
JOINT = STEP // 64  # bytes of the longest gap that shares a chunk


def tensors(start: int, *sizes: int) -> list[Tensor]:
    """Tensors of these sizes, one after the other from `start` on."""
    offsets = accumulate(sizes[:-1], initial=start)
    return [Tensor(str(offset), "u8", (size,), offset, size) for offset, size in zip(offsets, sizes, strict=True)]


def sizes_of(size: int, layout: list[Tensor], chunking: Chunking = SMALL) -> list[int]:
    """The sizes of stretches none of which is cut by content."""
    stretches = grid(size, layout, chunking)
    assert not any(stretch.by_content for stretch in stretches)
    return [stretch.size for stretch in stretches]


def cut(cutter: Cutter, content: bytes, piece: int = 1 << 20) -> list[bytes]:
    """The chunks of content that is fed in pieces of this size, through one buffer as a reader does."""
    chunks: list[bytes] = []
    buffer = bytearray(piece)
    for start in range(0, len(content), piece):
        part = content[start : start + piece]
        buffer[: len(part)] = part
        chunks.extend(map(bytes, cutter.feed(memoryview(buffer)[: len(part)])))
    chunks.extend(map(bytes, cutter.finish()))
    return chunks


def test_a_large_tensor_is_cut_in_steps_from_its_own_start() -> None:
    assert sizes_of(100 + 2500, tensors(100, 2500)) == [100, 1000, 1000, 500]


def test_a_tensor_of_exactly_one_step_is_one_chunk() -> None:
    assert sizes_of(3000, tensors(0, 1000, 1000, 1000)) == [1000, 1000, 1000]


def test_small_neighbours_share_a_chunk_of_one_step_at_most() -> None:
    assert sizes_of(1400, tensors(0, 400, 400, 200, 400)) == [1000, 400]
    assert sizes_of(1500, tensors(0, 500, 600, 400)) == [500, 1000]


def test_a_small_tensor_does_not_share_with_a_large_one() -> None:
    assert sizes_of(10 + 1200 + 10, tensors(0, 10, 1200, 10)) == [10, 1000, 200, 10]


def test_bytes_before_the_first_tensor_and_after_the_last_share_with_none() -> None:
    assert sizes_of(70, tensors(5, 10, 50)) == [5, 60, 5]
    assert sizes_of(1070, tensors(5, 10, 1050)) == [5, 10, 1000, 50, 5]


def spaced(*runs: tuple[int, int]) -> tuple[int, list[Tensor]]:
    """A file of tensors, each (bytes of gap before it, bytes); returns its size and layout."""
    layout: list[Tensor] = []
    end = 0
    for gap, size in runs:
        layout.append(Tensor(str(len(layout)), "u8", (size,), end + gap, size))
        end += gap + size
    return end, layout


def test_a_small_gap_shares_a_chunk_with_the_small_tensors_around_it() -> None:
    assert sizes_of(*spaced((50, 10), (JOINT, 10), (3, 20))) == [50, 10 + JOINT + 10 + 3 + 20]


def test_a_larger_gap_shares_a_chunk_with_nothing() -> None:
    assert sizes_of(*spaced((50, 10), (JOINT + 1, 10))) == [50, 10, JOINT + 1, 10]


def test_a_small_gap_stays_with_the_tensor_after_it() -> None:
    assert sizes_of(*spaced((1, 600), (9, 300), (9, 300))) == [1, 600 + 9 + 300, 9 + 300]


def test_a_small_gap_before_a_large_tensor_joins_the_small_one_before() -> None:
    assert sizes_of(*spaced((1, 20), (9, 1500), (9, 20))) == [1, 29, 1000, 500, 29]


def test_a_small_gap_between_large_tensors_is_a_chunk_and_leaves_theirs_alone() -> None:
    assert sizes_of(*spaced((0, 1500), (9, 1500))) == [1000, 500, 9, 1000, 500]


def test_a_gap_that_would_make_a_chunk_too_long_begins_the_next_one_or_is_its_own() -> None:
    assert sizes_of(*spaced((1, 995), (9, 990))) == [1, 995, 999]
    assert sizes_of(*spaced((1, 995), (9, 995))) == [1, 995, 9, 995]


def test_a_gap_that_grows_moves_no_cut_in_a_large_tensor() -> None:
    before = sizes_of(*spaced((30, 2500), (3, 40), (3, 1700)))
    after = sizes_of(*spaced((30, 2500), (12, 40), (7, 1700)))
    assert before == [30, 1000, 1000, 500, 46, 1000, 700]
    assert after == [30, 1000, 1000, 500, 59, 1000, 700]


def test_a_gap_of_more_than_a_step_is_cut_by_content() -> None:
    size, layout = spaced((5000, 2000), (1001, 10), (1000, 10))
    assert grid(size + 3000, layout, SMALL) == [
        Stretch(5000, by_content=True),
        Stretch(1000),
        Stretch(1000),
        Stretch(1001, by_content=True),
        Stretch(10),
        Stretch(1000),
        Stretch(10),
        Stretch(3000, by_content=True),
    ]


def test_what_was_cut_by_the_first_law_still_is() -> None:
    layout = [Tensor("a", "u8", (10,), 50, 10), Tensor("b", "u8", (10,), 70, 10)]
    assert sizes_of(2600, layout, FIRST) == [50, 10, 10, 10, 1000, 1000, 520]


def test_a_large_header_that_changes_in_one_place_changes_few_chunks_and_no_tensor() -> None:
    header, weights = random.Random(6).randbytes(60_000), random.Random(7).randbytes(5_300)
    other = header[:20_000] + b"a new word" + header[20_000:]
    before, after = (
        cut(cutter(len(text + weights), tensors(len(text), 5_300), SMALL), text + weights) for text in (header, other)
    )
    assert b"".join(after) == other + weights
    assert after[-6:] == before[-6:]
    assert [len(chunk) for chunk in after[-6:]] == [1000] * 5 + [300]
    assert 1 <= len(set(after) - set(before)) <= 4


def test_sections_are_cut_alike_however_they_are_fed() -> None:
    content = random.Random(8).randbytes(20_000)
    layout = [Tensor("a", "u8", (3_100,), 7_000, 3_100), Tensor("b", "u8", (10,), 13_000, 10)]
    usual = cut(cutter(len(content), layout, SMALL), content)
    assert b"".join(usual) == content
    for piece in (1, 63, 999, 7_000, 7_001, 19_999):
        assert cut(cutter(len(content), layout, SMALL), content, piece) == usual


def test_a_file_without_tensors_is_one_chunk_or_cut_by_content() -> None:
    content = random.Random(9).randbytes(STEP + 1)
    assert cut(cutter(STEP, [], SMALL), content[:STEP]) == [content[:STEP]]
    assert cut(cutter(STEP + 1, [], SMALL), content) == cut(ContentCutter(SMALL), content)
    assert cut(cutter(0, [], SMALL), b"") == []


def test_a_longer_header_moves_no_cut_inside_the_tensors() -> None:
    sizes = (400, 500, 2700, 30, 30, 1000)
    assert sizes_of(57 + sum(sizes), tensors(57, *sizes))[1:] == sizes_of(99 + sum(sizes), tensors(99, *sizes))[1:]


def test_a_tensor_that_grows_moves_no_cut_in_the_others() -> None:
    before = sizes_of(3000 + 2500, tensors(0, 3000, 2500))
    after = sizes_of(3700 + 2500, tensors(0, 3700, 2500))
    assert before[-3:] == after[-3:] == [1000, 1000, 500]


def test_without_tensors_a_file_is_cut_in_steps() -> None:
    assert sizes_of(2500, []) == [1000, 1000, 500]
    assert sizes_of(0, []) == []


def test_tensors_without_bytes_cut_nothing() -> None:
    assert sizes_of(20, tensors(0, 0, 10, 0, 10, 0)) == [20]


@pytest.mark.parametrize(
    "layout",
    [
        [Tensor("a", "u8", (60,), 0, 60), Tensor("b", "u8", (60,), 30, 60)],
        [Tensor("a", "u8", (60,), 10, 60), Tensor("tied", "u8", (60,), 10, 60)],
        [Tensor("a", "u8", (999,), 50, 999)],
        [Tensor("a", "u8", (9,), 200, 9)],
    ],
    ids=["overlap", "tied", "past-the-end", "outside"],
)
def test_a_layout_that_lies_still_covers_the_file_once(layout: list[Tensor]) -> None:
    assert sum(sizes_of(100, layout)) == 100


def test_the_grid_cutter_cuts_at_the_given_sizes_however_it_is_fed() -> None:
    content = random.Random(1).randbytes(777)
    sizes = [1, 300, 2, 400, 74]
    for piece in (1, 2, 3, 299, 300, 301, 776, 777, 10_000):
        chunks = cut(GridCutter(sizes), content, piece)
        assert [len(chunk) for chunk in chunks] == sizes
        assert b"".join(chunks) == content


def test_content_cuts_come_back_after_an_insertion_in_the_middle() -> None:
    content = random.Random(2).randbytes(200_000)
    inserted = content[:90_000] + b"something new" + content[90_000:]
    before, after = cut(ContentCutter(SMALL), content), cut(ContentCutter(SMALL), inserted)
    assert len(before) > 300
    new = set(after) - set(before)
    assert 1 <= len(new) <= 4
    assert after[-300:] == before[-300:]


def test_content_cuts_come_back_after_a_byte_is_lost_at_the_start() -> None:
    content = random.Random(3).randbytes(200_000)
    before, after = cut(ContentCutter(SMALL), content), cut(ContentCutter(SMALL), content[1:])
    assert len(set(after) - set(before)) <= 4


def test_content_cuts_are_where_they_were_when_this_was_written() -> None:
    """A version that cuts elsewhere sends every model anew: change this only with a new name for the algorithm."""
    content = random.Random(4).randbytes(3 << 20)
    assert [len(chunk) for chunk in cut(ContentCutter(Chunking()), content)] == [
        186129,
        130637,
        272347,
        268368,
        315015,
        545996,
        392382,
        503055,
        324171,
        207628,
    ]


def test_the_buffer_that_was_fed_from_may_be_used_again() -> None:
    content = random.Random(5).randbytes(20_000)
    assert cut(ContentCutter(SMALL), content, 100) == cut(ContentCutter(SMALL), content)


def test_content_without_a_place_to_cut_is_cut_at_the_largest_size() -> None:
    assert [len(chunk) for chunk in cut(ContentCutter(SMALL), bytes(2500))] == [1024, 1024, 452]


def test_nothing_fed_is_nothing_cut() -> None:
    assert cut(ContentCutter(SMALL), b"") == []
    assert cut(GridCutter([]), b"") == []


@pytest.mark.parametrize(
    "chunking",
    [
        replace(SMALL, step=0),
        replace(SMALL, step=-1),
        replace(SMALL, algorithm="rabin"),
        replace(SMALL, algorithm=""),
        replace(SMALL, smallest=63),
        replace(SMALL, smallest=0),
        replace(SMALL, smallest=257),
        replace(SMALL, average=1025),
        replace(SMALL, average=255, smallest=64),
        replace(SMALL, largest=255),
        replace(SMALL, largest=1023),
        replace(SMALL, largest=(16 << 20) + 1),
        replace(SMALL, average=(4 << 20) + 1, largest=16 << 20),
        replace(SMALL, smallest=(1 << 20) + 1, average=2 << 20, largest=4 << 20),
    ],
    ids=str,
)
def test_parameters_that_cannot_be_are_refused_in_words(chunking: Chunking) -> None:
    check(SMALL)
    for refused in (check, ContentCutter, lambda chunking: grid(1, [], chunking)):
        with pytest.raises(BadInputError) as refusal:
            refused(chunking)
        assert refusal.value.message


@pytest.mark.parametrize(
    "chunking",
    [
        Chunking(),
        Chunking(smallest=64, average=256, largest=1024),
        Chunking(smallest=1 << 20, average=4 << 20, largest=16 << 20),
        Chunking(step=1),
    ],
)
def test_parameters_at_their_bounds_cut(chunking: Chunking) -> None:
    assert b"".join(cut(ContentCutter(chunking), bytes(5000))) == bytes(5000)

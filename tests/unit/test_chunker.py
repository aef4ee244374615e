"""Cuts: where they fall in the cases that matter for what must travel."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import accumulate

import pytest

from modelsyncd.chunker import ContentCutter, Cutter, GridCutter, check, grid
from modelsyncd.errors import BadInputError
from modelsyncd.manifest import Chunking, Tensor

STEP = 1000
SMALL = Chunking(step=STEP, smallest=64, average=256, largest=1024)


def tensors(start: int, *sizes: int) -> list[Tensor]:
    """Tensors of these sizes, one after the other from `start` on."""
    offsets = accumulate(sizes[:-1], initial=start)
    return [Tensor(str(offset), "u8", (size,), offset, size) for offset, size in zip(offsets, sizes, strict=True)]


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
    assert grid(100 + 2500, tensors(100, 2500), SMALL) == [100, 1000, 1000, 500]


def test_a_tensor_of_exactly_one_step_is_one_chunk() -> None:
    assert grid(3000, tensors(0, 1000, 1000, 1000), SMALL) == [1000, 1000, 1000]


def test_small_neighbours_share_a_chunk_of_one_step_at_most() -> None:
    assert grid(1400, tensors(0, 400, 400, 200, 400), SMALL) == [1000, 400]
    assert grid(1500, tensors(0, 500, 600, 400), SMALL) == [500, 1000]


def test_a_small_tensor_does_not_share_with_a_large_one() -> None:
    assert grid(10 + 1200 + 10, tensors(0, 10, 1200, 10), SMALL) == [10, 1000, 200, 10]


def test_bytes_that_belong_to_no_tensor_share_with_none() -> None:
    layout = [Tensor("a", "u8", (10,), 50, 10), Tensor("b", "u8", (10,), 70, 10)]
    assert grid(100, layout, SMALL) == [50, 10, 10, 10, 20]


def test_a_longer_header_moves_no_cut_inside_the_tensors() -> None:
    sizes = (400, 500, 2700, 30, 30, 1000)
    assert (
        grid(57 + sum(sizes), tensors(57, *sizes), SMALL)[1:] == grid(99 + sum(sizes), tensors(99, *sizes), SMALL)[1:]
    )


def test_a_tensor_that_grows_moves_no_cut_in_the_others() -> None:
    before = grid(3000 + 2500, tensors(0, 3000, 2500), SMALL)
    after = grid(3700 + 2500, tensors(0, 3700, 2500), SMALL)
    assert before[-3:] == after[-3:] == [1000, 1000, 500]


def test_without_tensors_a_file_is_cut_in_steps() -> None:
    assert grid(2500, [], SMALL) == [1000, 1000, 500]
    assert grid(0, [], SMALL) == []


def test_tensors_without_bytes_cut_nothing() -> None:
    assert grid(20, tensors(0, 0, 10, 0, 10, 0), SMALL) == [20]


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
    assert sum(grid(100, layout, SMALL)) == 100


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

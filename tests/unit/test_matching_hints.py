"""What a codec is told about a chunk."""

from __future__ import annotations

import pytest

from modelsyncd.codec.hint import Hint
from modelsyncd.manifest import Tensor
from modelsyncd.matching import Hints
from tests.fakes.weights import Holding, Trainable, Weights, holding, laid_out


def hints(held: Holding) -> list[Hint]:
    found = Hints(held.manifest)
    return [found.of(ordinal) for ordinal in range(held.manifest.chunk_count)]


def test_a_chunk_of_a_tensor_is_described_by_it() -> None:
    held = holding({"m": [Trainable("w", "f16", (100, 60), 1)]}, step=8_000)
    assert hints(held) == [Hint("f16", 0, 60), Hint("f16", 0, 60, skip=40)], "the 4,001st number is the 41st of its row"


def test_a_chunk_that_begins_within_an_element_says_how_much_of_it_lies_before() -> None:
    assert [hint.phase for hint in hints(holding({"m": [Trainable("w", "f64", (10, 10), 1)]}, step=99))] == [
        99 * number % 8 for number in range(9)
    ]


def test_a_chunk_that_begins_before_its_tensor_counts_elements_backwards() -> None:
    assert hints(holding({"m": [b"abc", Trainable("w", "f32", (10, 10), 1)]})) == [Hint("f32", 1, 10)]


def test_of_several_tensors_the_one_that_fills_most_is_described() -> None:
    small, large = Trainable("s", "f16", (30,), 1), Trainable("l", "bf16", (5, 20), 2)
    assert hints(holding({"m": [small, large, small.named("t")]})) == [Hint("bf16", 0, 20)]


def test_a_file_without_tensors_is_opaque() -> None:
    assert hints(holding({"a": [b"x" * 9_000], "b": []})) == [Hint()] * 3


def test_a_header_that_fills_most_of_a_chunk_makes_it_opaque() -> None:
    assert hints(holding({"m": [b"h" * 900, Trainable("w", "f32", (10, 10), 1)]})) == [Hint()]


def test_a_scalar_has_no_rows() -> None:
    assert hints(holding({"m": [Weights("s", "f32", (), b"1234")]})) == [Hint("f32", 0, 0)]


def test_a_shape_that_can_t_be_says_nothing_about_rows() -> None:
    held = laid_out({"m": bytes(400)}, {"m": [Tensor("w", "f32", (2, 1 << 60), 0, 400)]})
    assert hints(held) == [Hint("f32", 0, 0)]


@pytest.mark.parametrize("ordinal", [-1, 1])
def test_an_ordinal_that_is_not_there_is_refused(ordinal: int) -> None:
    found = Hints(holding({"m": [b"x" * 100]}).manifest)
    with pytest.raises(IndexError):
        found.of(ordinal)

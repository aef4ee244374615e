"""What bytes that lie in no tensor are coded against."""

from __future__ import annotations

import random

import pytest

from modelsyncd.bases import HOLE, Run
from modelsyncd.matching import match
from tests.fakes.weights import Holding, Trainable, holding

STEP = 1_000


def bytes_of(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def runs(new: Holding, base: Holding) -> list[tuple[Run, ...] | None]:
    found = match(new.manifest, base.manifest, new.read, base.read)
    return [found.runs(ordinal) for ordinal in range(new.manifest.chunk_count)]


def files(**contents: bytes) -> Holding:
    """A file for each keyword, its layout unknown."""
    return holding({name.replace("_", "."): [content] for name, content in contents.items()}, STEP)


def test_a_file_whose_layout_nobody_knows_is_coded_against_its_own_place() -> None:
    old = bytes_of(1, 2_500)
    assert runs(files(a_bin=old), files(a_bin=old)) == [
        (Run(0, 0, 1_000),),
        (Run(0, 1_000, 1_000),),
        (Run(0, 2_000, 500),),
    ]


def test_a_file_that_grew_at_its_start_is_followed_from_its_end() -> None:
    old = bytes_of(1, 3_000)
    found = runs(files(a_bin=bytes_of(2, 1_000) + old), files(a_bin=old))
    assert found == [None, (Run(0, 0, 1_000),), (Run(0, 1_000, 1_000),), (Run(0, 2_000, 1_000),)]


def test_a_file_that_grew_at_its_end_is_followed_from_its_start() -> None:
    old = bytes_of(1, 2_000)
    assert runs(files(a_bin=old + bytes_of(2, 1_000)), files(a_bin=old)) == [
        (Run(0, 0, 1_000),),
        (Run(0, 1_000, 1_000),),
        None,
    ]


def test_what_lies_beyond_the_end_of_the_base_is_a_hole() -> None:
    old = bytes_of(1, 1_700)
    found = runs(files(a_bin=old + bytes_of(2, 1_300)), files(a_bin=old))
    assert found[1] == (Run(0, 1_000, 700), Run(HOLE, 0, 300))


def test_a_file_under_a_new_name_is_found_if_it_is_the_only_one_of_its_kind() -> None:
    old = bytes_of(1, 900)
    assert runs(files(v2_bin=old, c_txt=b""), files(v1_bin=old)) == [(Run(0, 0, 900),)]
    assert runs(files(v2_bin=old), files(v1_bin=old, v0_bin=old)) == [None]


def test_an_unrelated_file_under_the_same_name_is_no_base() -> None:
    assert runs(files(a_bin=bytes_of(1, 3_000)), files(a_bin=bytes_of(2, 3_000))) == [None] * 3


def test_an_unrelated_text_under_the_same_name_is_no_base() -> None:
    letters = "etaoin shrdlu    "
    texts = ["".join(random.Random(seed).choices(letters, k=3_000)).encode() for seed in (1, 2)]
    assert runs(files(a_txt=texts[0]), files(a_txt=texts[1])) == [None] * 3


def test_weights_whose_layout_was_not_known_before_are_found_by_their_place() -> None:
    old = Trainable("weight", "f32", (50, 40), 1)
    base = files(m_onnx=old.weights.data)
    assert runs(holding({"m.onnx": [old.trained]}, 4_000), base) == [(Run(0, 0, 4_000),), (Run(0, 4_000, 4_000),)]


def test_weights_whose_layout_is_not_known_any_more_are_found_by_their_place() -> None:
    old = Trainable("weight", "f32", (50, 5), 1)
    assert runs(files(m_onnx=old.trained.weights.data), holding({"m.onnx": [old]})) == [(Run(0, 0, 1_000),)]


def test_what_stands_between_tensors_goes_with_them() -> None:
    """PyTorch puts a header before each storage, ONNX a name."""
    old = [Trainable(f"bias.{number}", "f32", (70,), number) for number in range(4)]
    gaps = [bytes_of(100 + number, 40) for number in range(4)]
    kept = [part for pair in zip(gaps[1:], old[1:], strict=True) for part in pair]
    new = [part for pair in zip(gaps[1:], [one.trained for one in old[1:]], strict=True) for part in pair]
    base = holding({"m": [bytes_of(7, 33), gaps[0], old[0], *kept, bytes_of(8, 57)]})
    found = runs(holding({"m": new}), base)
    assert found == [(Run(0, 33 + 40 + 280, 3 * 320),)]


@pytest.mark.parametrize("size", [300, 2_000, 100_000])
def test_a_header_costs_six_reads_a_side_at_most(size: int) -> None:
    header = bytes_of(1, size)
    new, base = holding({"m": [header + b"longer"]}, 1 << 18), holding({"m": [header]}, 1 << 18)
    assert runs(new, base)[0] is not None
    assert new.reads <= 4
    assert base.reads <= 4

"""Which tensors of two manifests belong together, and what their chunks tell of them."""

from __future__ import annotations

import pytest

from modelsyncd.changes import Kind, Pair, Side, pairs, spans
from tests.fakes.weights import Holding, Weights, holding

STEP = 4_096


def _tensor(name: str, fill: int, size: int = 2 * STEP, dtype: str = "u8") -> Weights:
    """Bytes that differ from one `fill` to the next, and from one chunk to the next."""
    data = bytes((fill * 31 + at // STEP * 7 + at) % 256 for at in range(size))
    return Weights(name, dtype, (size,), data)


def _told(before: Holding, after: Holding) -> list[tuple[str, str, Kind | None]]:
    """(name before, name after, kind) of every pair."""
    return [
        (pair.before.tensor.name if pair.before else "", pair.after.tensor.name if pair.after else "", pair.kind)
        for pair in pairs(Side(before.manifest), Side(after.manifest))
    ]


def test_tensors_of_one_name_belong_together_and_the_others_came_or_went() -> None:
    before = holding({"m": [_tensor("a", 1), _tensor("gone", 2)]})
    after = holding({"m": [_tensor("new", 3), _tensor("a", 4)]})
    assert _told(before, after) == [("", "new", Kind.ADDED), ("a", "a", None), ("gone", "", Kind.REMOVED)]


def test_another_shape_and_another_dtype_are_told_without_reading() -> None:
    before = holding({"m": [_tensor("a", 1), _tensor("b", 2)]})
    after = holding({"m": [_tensor("a", 1, 3 * STEP), _tensor("b", 2, dtype="i8")]})
    assert [kind for *_, kind in _told(before, after)] == [Kind.RESIZED, Kind.RETYPED]


def test_a_reshaped_tensor_is_resized_though_its_bytes_are_the_same() -> None:
    one = _tensor("a", 1)
    other = Weights("a", "u8", (2, STEP), one.data)
    assert _told(holding({"m": [one]}), holding({"m": [other]})) == [("a", "a", Kind.RESIZED)]


def test_a_tensor_that_moved_to_another_file_keeps_its_name() -> None:
    before = holding({"m": [_tensor("a", 1), _tensor("b", 2)]})
    after = holding({"m-1": [_tensor("a", 1)], "m-2": [_tensor("b", 5)]})
    assert _told(before, after) == [("a", "a", None), ("b", "b", None)]


def test_tensors_of_one_name_in_two_files_are_told_apart_by_their_files() -> None:
    before = holding({"left": [_tensor("w", 1)], "right": [_tensor("w", 2)]})
    after = holding({"left": [_tensor("w", 2)], "right": [_tensor("w", 1)]})
    found = pairs(Side(before.manifest), Side(after.manifest))
    assert [(pair.before and pair.before.file, pair.after and pair.after.file) for pair in found] == [(0, 0), (1, 1)]


def test_equal_bytes_under_another_name_are_a_renamed_tensor() -> None:
    before = holding({"m": [_tensor("old", 1), _tensor("x", 2)]})
    after = holding({"m": [_tensor("x", 2), _tensor("new", 1)]})
    assert _told(before, after) == [("x", "x", None), ("old", "new", Kind.RENAMED)]


def test_equal_bytes_of_another_dtype_are_no_renamed_tensor_and_neither_are_empty_ones() -> None:
    before = holding({"m": [_tensor("old", 1), Weights("empty", "u8", (0,), b"")]})
    after = holding({"m": [_tensor("new", 1, dtype="i8"), Weights("void", "u8", (0,), b"")]})
    kinds = [kind for *_, kind in _told(before, after)]
    assert kinds == [Kind.ADDED, Kind.ADDED, Kind.REMOVED, Kind.REMOVED]


def test_every_tensor_is_told_once_whatever_names_occur_twice() -> None:
    before = holding({"a": [_tensor("w", 1), _tensor("w", 2)], "b": [_tensor("w", 3)]})
    after = holding({"a": [_tensor("w", 4)], "c": [_tensor("w", 5), _tensor("w", 6), _tensor("w", 7)]})
    found = pairs(Side(before.manifest), Side(after.manifest))
    olds = [pair.before for pair in found if pair.before is not None]
    news = [pair.after for pair in found if pair.after is not None]
    assert sorted(olds, key=repr) == sorted(Side(before.manifest).tensors(), key=repr)
    assert sorted(news, key=repr) == sorted(Side(after.manifest).tensors(), key=repr)


def _spans(before: Holding, after: Holding, name: str) -> list[tuple[int, int, bool | None]]:
    sides = Side(before.manifest), Side(after.manifest)
    old, new = (next(one for one in side.tensors() if one.tensor.name == name) for side in sides)
    return [(span.offset, span.size, span.equal) for span in spans(sides[0], old, sides[1], new)]


def test_whole_chunks_tell_where_a_tensor_is_the_same_and_where_it_is_not() -> None:
    one = _tensor("a", 1, 3 * STEP)
    other = Weights("a", "u8", one.shape, one.data[:STEP] + bytes(STEP) + one.data[2 * STEP :])
    found = _spans(holding({"m": [one]}, STEP), holding({"m": [other]}, STEP), "a")
    assert found == [(0, STEP, True), (STEP, STEP, False), (2 * STEP, STEP, True)]


def test_small_neighbours_in_one_chunk_are_unsure_only_when_that_chunk_changed() -> None:
    small, other = _tensor("small", 1, 100), _tensor("other", 2, 100)
    same = holding({"m": [small, other]})
    assert _spans(same, holding({"m": [small, other]}), "small") == [(0, 100, True)]
    assert _spans(same, holding({"m": [small, _tensor("other", 3, 100)]}), "small") == [(0, 100, None)]


def test_the_same_chunk_at_another_place_of_a_tensor_tells_nothing() -> None:
    left, right = _tensor("a", 1, 100), _tensor("b", 2, 100)
    swapped = Weights("b", "u8", (100,), left.data), Weights("a", "u8", (100,), right.data)
    before, after = holding({"m": [left, right]}), holding({"m": swapped})
    assert before.manifest.files[0].chunk_digests == after.manifest.files[0].chunk_digests
    assert _spans(before, after, "a") == [(0, 100, None)]


@pytest.mark.parametrize("steps", [(1_024, 4_096), (4_096, 1_024), (1_000, 3_000)])
def test_what_was_cut_otherwise_is_never_taken_for_equal_or_different(steps: tuple[int, int]) -> None:
    one = _tensor("a", 1, 3 * STEP + 17)
    found = _spans(holding({"m": [one]}, steps[0]), holding({"m": [one]}, steps[1]), "a")
    assert False not in {equal for *_, equal in found}
    position = 0
    for offset, size, _ in found:
        assert (offset, size > 0) == (position, True)
        position += size
    assert position == len(one.data)


def test_the_size_of_a_pair_is_what_there_is_of_it() -> None:
    before, after = Side(holding({"m": [_tensor("a", 1, 10)]}).manifest), Side(holding({"m": []}).manifest)
    (gone,) = pairs(before, after)
    (came,) = pairs(after, before)
    assert (gone.size, came.size, Pair(None, None).size) == (10, 10, 0)

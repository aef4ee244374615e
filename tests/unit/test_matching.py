"""Which bytes of a base a chunk is coded against."""

from __future__ import annotations

import random

import pytest

from modelsyncd import bases
from modelsyncd.bases import HOLE
from modelsyncd.matching import Match, match
from tests.fakes.weights import Holding, Trainable, Weights, holding, packed, turned, values_of

HEADER = b"h" * 300


def matched(new: Holding, base: Holding) -> Match:
    return match(new.manifest, base.manifest, new.read, base.read)


def based_on(new: Holding, base: Holding) -> list[bytes | None]:
    """For each chunk the bytes that it would be coded against; checked."""
    found = matched(new, base)
    table = [new.plain(ordinal) for ordinal in range(new.manifest.chunk_count)]
    gathered: list[bytes | None] = []
    for ordinal, plain in enumerate(table):
        runs = found.runs(ordinal)
        if runs is not None:
            bases.check(runs, base.sizes, len(plain))
        gathered.append(None if runs is None else bases.gather(runs, base.read))
    return gathered


def files_of(new: Holding, base: Holding) -> list[bytes]:
    """What the files' chunks are coded against, end to end; zeros where nothing is."""
    found = iter(based_on(new, base))
    return [b"".join(_or_zeros(next(found), size) for size in file.chunk_sizes) for file in new.manifest.files]


def _or_zeros(found: bytes | None, size: int) -> bytes:
    return bytes(size) if found is None else found


def model(dtype: str = "f32", count: int = 6) -> list[Trainable]:
    """Matrices of one size, as the layers of a model are, a table and some vectors."""
    layers = [Trainable(f"layer.{number}.weight", dtype, (48, 48), 10 * number) for number in range(count)]
    vectors = [Trainable(f"layer.{number}.bias", dtype, (300,), 10 * number + 5) for number in range(count)]
    return [Trainable("embeddings.weight", dtype, (100, 48), 7_000), *layers, *vectors]


def trained(tensors: list[Trainable]) -> list[Trainable]:
    return [tensor.trained for tensor in tensors]


def data(tensors: list[Trainable]) -> bytes:
    return b"".join(tensor.weights.data for tensor in tensors)


@pytest.mark.parametrize("dtype", ["f64", "f32", "f16", "bf16", "i8", "u8"])
def test_a_trained_tensor_is_coded_against_itself(dtype: str) -> None:
    old = model(dtype)
    new, base = holding({"m": [HEADER, *trained(old)]}), holding({"m": [HEADER, *old]})
    assert files_of(new, base) == [HEADER + data(old)]


@pytest.mark.parametrize("dtype", ["f64", "f32", "f16", "bf16", "i8", "u8"])
def test_tensors_whose_names_were_made_anew_are_found(dtype: str) -> None:
    old = model(dtype)
    new = [tensor.trained.named(f"onnx::{number}") for number, tensor in enumerate(old)]
    assert files_of(holding({"m": new}), holding({"m": old})) == [data(old)]


def test_tensors_whose_names_are_numbers_that_moved_on_are_found() -> None:
    """PyTorch numbers storages in the order in which it meets them."""
    old = [tensor.named(str(number)) for number, tensor in enumerate(model())]
    shuffled = random.Random(5).sample(old, len(old))
    new = [tensor.trained.named(str(number)) for number, tensor in enumerate(shuffled)]
    assert files_of(holding({"m": new}), holding({"m": old})) == [data(shuffled)]


def test_quantised_tensors_whose_names_moved_on_are_found() -> None:
    """Small integers differ little from one another whatever they are."""
    rng = random.Random(3)
    old = [
        Weights(str(number), "i8", (40, 40), bytes(rng.choice((0, 0, 0, 1, 2, 255, 254)) for _ in range(1_600)))
        for number in range(8)
    ]
    new = [Weights(str((number + 1) % 8), "i8", (40, 40), one.data) for number, one in enumerate(old)]
    assert files_of(holding({"m": new}), holding({"m": old})) == [b"".join(one.data for one in old)]


def test_tensors_that_moved_within_a_file_are_found() -> None:
    old = model()
    moved = [*reversed(old)]
    new = holding({"m": [HEADER * 3, *trained(moved)]})
    assert files_of(new, holding({"m": [HEADER, *old]}))[0].endswith(data(moved))


def test_tensors_that_moved_to_other_files_are_found() -> None:
    old = model()
    new = holding({"a": [HEADER, *trained(old[:5])], "b": [HEADER, *trained(old[5:])]})
    base = holding({"whole": [HEADER, *old]})
    assert b"".join(files_of(new, base)).replace(bytes(len(HEADER)), b"") == data(old)


@pytest.mark.parametrize(
    ("name", "before"),
    [
        ("0.auto_model.encoder.weight", "encoder.weight"),
        ("encoder.weight", "module.model.encoder.weight"),
        ("model.encoder.weight", "bert.encoder.weight"),
    ],
)
def test_a_wrapper_s_prefix_does_not_hide_a_tensor(name: str, before: str) -> None:
    """Proven on one that can't be found by its size."""
    old = Trainable(before, "f32", (60, 40), 1)
    rows = packed(values_of(9, 80), "f32")
    new = Weights(name, "f32", (62, 40), old.trained.weights.data + rows)
    assert files_of(holding({"m": [new]}), holding({"m": [old]})) == [old.weights.data + bytes(len(rows))]


@pytest.mark.parametrize("shape", [(48, 48), (48, 30), (30, 96)])
@pytest.mark.parametrize("dtype", ["f64", "f32", "f16", "bf16", "i8"])
def test_a_matrix_that_another_format_turned_is_found(dtype: str, shape: tuple[int, int]) -> None:
    old = [Trainable(f"layer.{number}", dtype, shape, number) for number in range(6)]
    new = [turned(tensor.trained.named(f"MatMul_{number}").weights) for number, tensor in enumerate(old)]
    expected = b"".join(turned(tensor.weights).data for tensor in old)
    assert files_of(holding({"m": new}), holding({"m": old})) == [expected]


@pytest.mark.parametrize(("shape", "found"), [((8, 70_000), True), ((70_000, 8), False)])
def test_a_matrix_of_too_many_rows_is_not_read_down_its_columns(shape: tuple[int, int], found: bool) -> None:
    """Each of them would be a read; columns cost nothing."""
    rows, columns = shape
    plain = random.Random(1).randbytes(rows * columns)
    old, new = Weights("a", "i8", shape, plain), turned(Weights("b", "i8", shape, plain))
    runs = matched(holding({"m": [new]}, 1 << 18), holding({"m": [old]})).runs(0)
    assert (runs is not None) == found


def test_a_turned_matrix_is_no_base_for_a_part_of_an_element() -> None:
    old = Trainable("layer.weight", "f32", (40, 40), 1)
    found = based_on(holding({"m": [turned(old.trained.weights)]}, step=1_600 - 2), holding({"m": [old]}))
    assert found == [None, None, None, None, None]


def test_a_matrix_that_was_turned_under_its_name_is_found() -> None:
    old = Trainable("layer.weight", "f32", (64, 64), 1)
    new, base = holding({"m": [turned(old.trained.weights)]}), holding({"m": [old]})
    assert files_of(new, base) == [turned(old.weights).data]


def test_a_turned_matrix_with_rows_too_long_to_be_read_together_is_found() -> None:
    old = Trainable("layer.weight", "f32", (8, 2_500), 1)
    new = turned(old.trained.weights)
    base = holding({"m": [old]})
    assert files_of(holding({"m": [new]}), base) == [turned(old.weights).data]


def test_a_table_with_more_rows_is_coded_against_the_rows_that_were_there() -> None:
    old = Trainable("embeddings", "f32", (100, 48), 1)
    rows = packed(values_of(9, 20 * 48), "f32")
    new = Weights("embeddings", "f32", (120, 48), old.trained.weights.data + rows)
    found = based_on(holding({"m": [new]}, step=2_000), holding({"m": [old]}))
    assert b"".join(_or_zeros(one, 2_000) for one in found)[: len(old.weights.data)] == old.weights.data
    assert found[-1] is None


def test_a_table_with_fewer_rows_is_coded_against_those_that_stayed() -> None:
    old = Trainable("embeddings", "f32", (100, 48), 1)
    kept = 60 * 48 * 4
    new = Weights("embeddings", "f32", (60, 48), old.trained.weights.data[:kept])
    assert files_of(holding({"m": [new]}), holding({"m": [old]})) == [old.weights.data[:kept]]


def test_a_table_of_more_than_twice_the_size_is_another_one() -> None:
    old = Trainable("embeddings", "f32", (100, 48), 1)
    rows = packed(values_of(9, 101 * 48), "f32")
    new = Weights("embeddings", "f32", (201, 48), old.trained.weights.data + rows)
    assert set(based_on(holding({"m": [new]}), holding({"m": [old]}))) == {None}


@pytest.mark.parametrize("dtype", ["f64", "f32", "f16", "bf16"])
def test_an_unrelated_model_with_the_same_names_is_no_base(dtype: str) -> None:
    old = model(dtype)
    other = [Trainable(tensor.name, dtype, tensor.shape, tensor.seed + 99_000) for tensor in old]
    assert set(based_on(holding({"m": other}), holding({"m": old}))) == {None}


def test_a_new_tensor_between_old_ones_is_a_hole() -> None:
    old = [Trainable(f"bias.{number}", "f32", (100,), number) for number in range(3)]
    added = Trainable("added", "f32", (90,), 50)
    new = holding({"m": [old[0].trained, added, old[1].trained, old[2].trained]})
    runs = matched(new, holding({"m": old})).runs(0)
    assert runs is not None
    assert [(run.file, run.size) for run in runs] == [(0, 400), (HOLE, 360), (0, 800)]


def test_neighbours_that_lie_together_in_the_base_are_one_run() -> None:
    old = model()
    runs = matched(holding({"m": trained(old)}), holding({"m": [HEADER, *old]})).runs(0)
    assert runs is not None
    assert len(runs) == 1


def test_a_dtype_is_compared_with_no_other() -> None:
    old, new = model("bf16"), model("f16")
    assert set(based_on(holding({"m": new}), holding({"m": old}))) == {None}


def test_of_a_folder_with_one_model_in_two_formats_the_same_path_is_the_base() -> None:
    old = [tensor for tensor in model() if tensor.name.endswith("bias")]
    later = trained(old)
    new = holding({"a.onnx": trained(old), "b.safetensors": trained(later)})
    base = holding({"a.onnx": old, "b.safetensors": later})
    assert files_of(new, base) == [data(old), data(later)]


def test_a_tensor_too_small_to_be_looked_at_is_taken_by_its_name() -> None:
    old = Trainable("long", "f32", (100,), 1)
    scale, other = Weights("scale", "f32", (1,), b"\0\0\0\0"), Weights("scale", "f32", (1,), b"\1\2\3\4")
    new, base = holding({"m": [other, old.trained]}), holding({"m": [HEADER, scale, old]})
    assert files_of(new, base) == [scale.data + old.weights.data]


def test_a_chunk_that_is_smaller_than_the_name_of_its_base_has_none() -> None:
    old = Trainable("bias", "f32", (60,), 1)
    assert based_on(holding({"m": [old.trained]}), holding({"m": [old]})) == [None]


def test_a_chunk_in_more_runs_than_may_be_said_has_no_base() -> None:
    old = [Trainable(f"t{number:04}", "u8", (65,), number) for number in range(1_100)]
    apart = [part for tensor in old for part in (tensor, b"gap" * 30)]
    new, base = holding({"m": old}, step=1 << 18), holding({"m": apart})
    assert based_on(new, base) == [None]


def test_an_ordinal_that_is_not_there_is_refused() -> None:
    new = holding({"m": model()})
    for ordinal in (-1, new.manifest.chunk_count):
        with pytest.raises(IndexError):
            matched(new, new).runs(ordinal)

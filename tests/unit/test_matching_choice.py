"""Which of several bases a chunk is coded against, and what looking for it costs."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from modelsyncd.errors import DamageError
from modelsyncd.manifest import Chunking, File, Manifest, Tensor
from modelsyncd.matching import Bases, match, promising
from modelsyncd.matching.samples import BLOCKS, PLACES, SIDE
from tests.fakes.weights import Holding, Trainable, Weights, holding, turned


def layers(seed: int = 0, count: int = 6) -> list[Trainable]:
    return [Trainable(f"layer.{number}", "f32", (40, 40), seed + number) for number in range(count)]


def trained(tensors: list[Trainable]) -> list[Trainable]:
    return [tensor.trained for tensor in tensors]


def chosen(new: Holding, *bases: Holding) -> list[int | None]:
    """The number of the base for each chunk."""
    found = Bases(new.manifest, new.read, [(base.manifest, base.read) for base in bases])
    answers = [found.of(ordinal) for ordinal in range(new.manifest.chunk_count)]
    return [None if answer is None else answer.base for answer in answers]


def test_the_nearest_of_several_versions_is_the_base() -> None:
    """The old global model is nearer to the new one than what a node made of it."""
    old = layers()
    nearer, further = trained(trained(old)), old
    new = holding({"m": trained(nearer)})
    assert set(chosen(new, holding({"m": further}), holding({"m": nearer}))) == {1}


def test_of_equal_bases_the_first_is_chosen() -> None:
    old = holding({"m": layers()})
    assert set(chosen(holding({"m": trained(layers())}), old, old)) == {0}


def test_each_chunk_has_the_base_that_is_best_for_it() -> None:
    one, other = layers(0, 2), [tensor.named(f"head.{tensor.seed}") for tensor in layers(50, 2)]
    new = holding({"m": [*trained(one), *trained(other)]}, step=6_400)
    assert chosen(new, holding({"m": one}), holding({"m": other})) == [0, 0, 1, 1]


def test_a_chunk_like_nothing_has_no_base() -> None:
    new = holding({"m": layers(900)})
    assert set(chosen(new, holding({"m": layers()}))) == {None}
    assert set(chosen(new)) == {None}


def test_bases_are_sorted_out_by_their_layout_alone() -> None:
    old, unrelated = layers(), [Trainable("other", "f16", (90,), 1)]
    half = [*old[:3], Trainable("layer.9", "f32", (11, 11), 1)]
    manifests = [holding({"m": part}).manifest for part in (unrelated, half, old, old, old, old)]
    assert promising(holding({"n": trained(old)}).manifest, manifests) == [2, 3, 4]
    assert promising(manifests[2], manifests[:2]) == [1]


def test_a_base_of_files_without_layouts_counts_by_their_names() -> None:
    new, base, other = (holding({path: [b"x" * 500]}).manifest for path in ("a.bin", "a.bin", "b.txt"))
    assert promising(new, [other, base]) == [1]


def test_nothing_is_read_before_a_chunk_is_asked_for() -> None:
    new, base = holding({"m": trained(layers())}), holding({"m": layers()})
    match(new.manifest, base.manifest, new.read, base.read)
    assert (new.reads, base.reads) == (0, 0)


def test_a_tensor_that_is_found_by_its_name_costs_four_reads_a_side() -> None:
    new, base = holding({"m": trained(layers())}), holding({"m": layers()})
    found = match(new.manifest, base.manifest, new.read, base.read)
    assert found.runs(0) is not None
    assert new.reads == base.reads == PLACES


def test_a_tensor_is_sampled_once_however_many_chunks_it_has() -> None:
    new, base = holding({"m": trained(layers(count=1))}, step=512), holding({"m": layers(count=1)}, step=512)
    found = match(new.manifest, base.manifest, new.read, base.read)
    assert all(found.runs(ordinal) for ordinal in range(new.manifest.chunk_count))
    assert new.manifest.chunk_count > 10
    assert new.reads == base.reads == PLACES


def test_samples_are_short() -> None:
    big = Trainable("table", "f32", (200, 300), 1)
    new, base = holding({"m": [big.trained]}), holding({"m": [big]})
    assert match(new.manifest, base.manifest, new.read, base.read).runs(0)
    assert new.read_bytes == base.read_bytes == 512 * 4


@pytest.mark.parametrize("columns", [40, 2_500])
def test_many_turned_tensors_of_one_size_are_each_sampled_once(columns: int) -> None:
    count = 12
    old = [Trainable(f"a{number}", "f32", (20, columns), number) for number in range(count)]
    mixed = [turned(tensor.trained.named(f"b{tensor.seed}").weights) for tensor in reversed(old)]
    new, base = holding({"m": mixed}), holding({"m": old})
    found = match(new.manifest, base.manifest, new.read, base.read)
    assert all(found.runs(ordinal) for ordinal in range(new.manifest.chunk_count))
    assert max(new.reads, base.reads) <= count * (PLACES + BLOCKS * SIDE)


def many(count: int, prefix: str) -> Manifest:
    """Vectors of 256 bytes, all of one size."""
    size = 256
    tensors = tuple(Tensor(f"{prefix}.{number}", "u8", (size,), number * size, size) for number in range(count))
    full, rest = divmod(count * size, 1 << 18)
    sizes = (*(1 << 18,) * full, *(rest,) * bool(rest))
    return Manifest((File("m", count * size, bytes(32), False, sizes, bytes(32 * len(sizes)), tensors),), Chunking())


@pytest.mark.parametrize(("count", "content"), [(3_000, "noise"), (3_000, "zeros")])
def test_thousands_of_renamed_tensors_of_one_size_are_each_read_a_few_times(count: int, content: str) -> None:
    _expect_few_reads(count, content)


@pytest.mark.slow
@pytest.mark.parametrize("content", ["noise", "zeros"])
def test_a_hundred_thousand_renamed_tensors_are_each_read_a_few_times(content: str) -> None:
    _expect_few_reads(100_000, content)


def _expect_few_reads(count: int, content: str) -> None:
    plain = random.Random(1).randbytes(256 * count) if content == "noise" else bytes(256 * count)
    new, base = Holding(many(count, "new"), [plain]), Holding(many(count, "old"), [plain])
    found = match(new.manifest, base.manifest, new.read, base.read)
    answers = [found.runs(ordinal) for ordinal in range(new.manifest.chunk_count)]
    assert all(answers)
    assert content == "zeros" or all(answer and len(answer) == 1 for answer in answers)
    assert new.reads <= count
    assert base.reads <= 2 * count + 8


def test_a_failure_of_a_reader_comes_through() -> None:
    def broken(_file: int, _offset: int, _size: int) -> bytes:
        raise DamageError("a chunk is gone")

    new, base = holding({"m": trained(layers())}), holding({"m": layers()})
    found = match(new.manifest, base.manifest, new.read, broken)
    with pytest.raises(DamageError):
        found.runs(0)
    with pytest.raises(DamageError):
        found.runs(0)


def test_a_tensor_that_could_be_any_of_a_crowd_of_equals_has_a_base_all_the_same() -> None:
    zeros = [Weights(f"a{number}", "f32", (100,), bytes(400)) for number in range(300)]
    new = holding({"m": [replace(one, name=f"b{one.name}") for one in zeros]})
    base = holding({"m": zeros})
    assert match(new.manifest, base.manifest, new.read, base.read).runs(0)

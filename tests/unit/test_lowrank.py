"""Merged low-rank adapters: two thin factors travel instead of the change, and every bit comes back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelsyncd.codec import delta, lowrank
from modelsyncd.codec.factors import RANK_MAX
from modelsyncd.codec.hint import Hint
from modelsyncd.codec.profile import Profile
from modelsyncd.codec.registry import READABLE, Codec, decode, encode
from modelsyncd.errors import DamageError
from tests.fakes.coding_loops import loops  # noqa: F401 - all of these twice

ROWS, COLUMNS = 170, 384
DTYPES = ["f32", "f16", "bf16"]


def written(values: np.ndarray, dtype: str) -> bytes:
    """As a tensor of this dtype; bf16 by rounding to nearest."""
    if dtype == "f32":
        return values.astype("<f4").tobytes()
    if dtype == "f16":
        return values.astype("<f2").tobytes()
    bits = values.astype("<f4").view("<u4")
    rounded: np.ndarray = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
    return rounded.tobytes()


def merged(
    dtype: str, rank: int = 8, *, skip: int = 0, elements: int = ROWS * COLUMNS, seed: int = 1
) -> tuple[bytes, bytes]:
    """(base, plain) of a chunk that begins `skip` elements into a row of a matrix with an adapter merged into it."""
    random = np.random.default_rng(seed)
    rows = -(-(skip + elements) // COLUMNS)
    old = random.normal(0, 0.05, (rows, COLUMNS)).astype("<f4")
    change = random.normal(0, 0.02, (rows, rank)) @ random.normal(0, 0.05, (rank, COLUMNS))
    chosen = slice(skip, skip + elements)
    return written(old.ravel()[chosen], dtype), written((old + change).ravel()[chosen], dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rank", [1, 4, 8, 16])
def test_a_merged_adapter_costs_little_more_than_its_factors(dtype: str, rank: int) -> None:
    base, plain = merged(dtype, rank)
    payload = lowrank.compress(plain, base, Hint(dtype, 0, COLUMNS))
    assert payload is not None
    assert lowrank.decompress(payload, base, len(plain)) == plain
    difference = delta.compress(plain, base, Hint(dtype, 0, COLUMNS), Profile.SMALLEST)
    assert difference is not None
    assert len(payload) < 0.6 * len(difference)
    factors = rank * (ROWS + COLUMNS)
    assert len(payload) < 3.5 * factors + 0.09 * len(plain), "factors in 28 bits, and what rounding left"


@pytest.mark.parametrize("skip", [0, 1, 200, COLUMNS - 1])
@pytest.mark.parametrize("elements", [65_536, 65_536 - 77])
def test_a_chunk_may_begin_and_end_within_a_row(skip: int, elements: int) -> None:
    base, plain = merged("f32", skip=skip, elements=elements)
    payload = lowrank.compress(plain, base, Hint("f32", 0, COLUMNS, skip))
    assert payload is not None
    assert len(payload) < 0.16 * len(plain)
    assert lowrank.decompress(payload, base, len(plain)) == plain


def test_the_registry_chooses_factors_where_they_are_smaller_and_differences_elsewhere() -> None:
    base, plain = merged("f32")
    hint = Hint("f32", 0, COLUMNS)
    codec, payload = encode(plain, READABLE, hint, base)
    assert codec is Codec.LOWRANK
    assert decode(codec, payload, len(plain), base) == plain
    codec, _ = encode(plain, READABLE - {Codec.LOWRANK}, hint, base)
    assert codec is Codec.DELTA
    random = np.random.default_rng(2)
    tuned = np.frombuffer(base, "<f4") + random.normal(0, 1e-4, len(base) // 4)
    codec, _ = encode(written(tuned, "f32"), READABLE, hint, base)
    assert codec is Codec.DELTA, "every weight moved by itself: there are no factors"


@pytest.mark.parametrize(
    "hint",
    [
        Hint(),
        Hint("i8", 0, COLUMNS),
        Hint("f32", 1, COLUMNS),
        Hint("f32", 0, 0),
        Hint("f32", 0, 8),
        Hint("f64", 0, 384),
    ],
    ids=str,
)
def test_what_is_not_rows_of_floats_has_no_factors(hint: Hint) -> None:
    base, plain = merged("f32")
    assert lowrank.compress(plain, base, hint) is None


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_none_are_left_to_other_codings(odd: float) -> None:
    base, plain = merged("f32")
    values = np.frombuffer(plain, "<f4").copy()
    values[5_000] = odd
    assert lowrank.compress(values.tobytes(), base, Hint("f32", 0, COLUMNS)) is None
    assert lowrank.compress(plain, values.tobytes(), Hint("f32", 0, COLUMNS)) is None


@pytest.mark.parametrize("dtype", DTYPES)
def test_zeros_and_the_smallest_numbers_come_back_with_their_signs(dtype: str) -> None:
    base, plain = merged(dtype)
    width = 4 if dtype == "f32" else 2
    odd = bytearray(plain)
    odd[: 4 * width] = (b"\0" * (width - 1) + b"\x80") + bytes(width) + (b"\1" + bytes(width - 1)) * 2
    payload = lowrank.compress(bytes(odd), base, Hint(dtype, 0, COLUMNS))
    assert payload is not None
    assert lowrank.decompress(payload, base, len(odd)) == bytes(odd)


BASE, PLAIN = merged("f32", elements=16_384)
FOUND = lowrank.compress(PLAIN, BASE, Hint("f32", 0, COLUMNS))
assert FOUND is not None
PAYLOAD = FOUND


@settings(max_examples=300)
@given(st.data())
def test_no_garbled_payload_does_more_than_decode_wrongly(data: st.DataObject) -> None:
    garbled = bytearray(PAYLOAD[: data.draw(st.integers(0, len(PAYLOAD)))])
    places = st.integers(0, min(len(garbled), 64) - 1) | st.integers(0, len(garbled) - 1) if garbled else st.nothing()
    for place in data.draw(st.lists(places, max_size=4)) if garbled else []:
        garbled[place] = data.draw(st.integers(0, 255))
    try:
        plain = lowrank.decompress(bytes(garbled), BASE, len(BASE))
    except DamageError:
        return
    assert len(plain) == len(BASE)


@given(st.binary(max_size=400), st.sampled_from([0, 1, 2, 3, 4, 1_024, 16_384]))
def test_no_bytes_at_all_do_more_than_be_refused(payload: bytes, size: int) -> None:
    try:
        plain = lowrank.decompress(payload, bytes(size), size)
    except DamageError:
        return
    assert len(plain) == size


def test_a_payload_that_asks_for_much_memory_is_refused_before_any_is_taken() -> None:
    head = lowrank._HEAD.pack(0, RANK_MAX, 1 << 31, 0)
    with pytest.raises(DamageError, match="shape"):
        lowrank.decompress(head + bytes(200), BASE, len(BASE))


def test_factors_that_are_larger_than_their_chunk_are_refused() -> None:
    head = lowrank._HEAD.pack(0, RANK_MAX, len(BASE), 0)
    with pytest.raises(DamageError, match="larger than the chunk"):
        lowrank.decompress(head + bytes(200), BASE, len(BASE))


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_a_training_moves_along_few_directions_is_foretold_as_far_as_it_pays(dtype: str) -> None:
    base, _ = merged(dtype)
    random = np.random.default_rng(5)
    old = lowrank._values(base, dtype).reshape(ROWS, COLUMNS)
    step = 4e-3 if dtype == "bf16" else 1e-3
    along = random.normal(0, 1, (ROWS, 3)) @ random.normal(0, 1, (3, COLUMNS))
    plain = written(old + step * (along + random.normal(0, 1, old.shape)), dtype)
    hint = Hint(dtype, 0, COLUMNS)
    payload = lowrank.compress(plain, base, hint)
    assert payload is not None
    assert lowrank.decompress(payload, base, len(plain)) == plain
    difference = delta.compress(plain, base, hint, Profile.SMALLEST)
    assert difference is not None
    assert len(payload) < 0.97 * len(difference)


def test_noise_decay_and_few_moved_rows_have_no_rank() -> None:
    random = np.random.default_rng(6)
    old = random.normal(0, 0.05, (ROWS, COLUMNS)).astype("<f4")
    hint = Hint("f32", 0, COLUMNS)
    noise = old + random.normal(0, 1e-4, old.shape)
    decayed = old * np.float32(1 - 2e-6)
    words = decayed.copy()
    words[7] += random.normal(0, 1e-4, COLUMNS)
    for new in (noise, decayed, words):
        assert lowrank.compress(written(new, "f32"), old.tobytes(), hint) is None


def test_factors_are_no_less_exact_than_the_finest_of_the_weights_that_they_foretell() -> None:
    base, plain = merged("f32")
    payload = lowrank.compress(plain, base, Hint("f32", 0, COLUMNS))
    assert payload is not None
    assert len(payload) < 3.2 * 8 * (ROWS + COLUMNS) + 0.012 * len(plain), "factors in 25 bits, and hardly any rest"


@pytest.mark.parametrize("cut", [26, 255])
def test_a_factor_that_is_cut_beyond_its_bits_is_damage(cut: int) -> None:
    assert FOUND is not None
    rank = FOUND[1]
    at = lowrank._HEAD.size + 2 * (rank + 1) + lowrank._SIZES.size
    with pytest.raises(DamageError):
        lowrank.decompress(FOUND[:at] + bytes([cut]) + FOUND[at + 1 :], BASE, len(BASE))

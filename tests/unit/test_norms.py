"""How much tensors changed, against what ml_dtypes and numpy say of the same bytes."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest

from cloud_hub.norms import BITS, Change, Norm

ORACLES = {
    "f64": np.float64,
    "f32": np.float32,
    "f16": np.float16,
    "bf16": ml_dtypes.bfloat16,
    "f8_e4m3": ml_dtypes.float8_e4m3fn,
    "f8_e4m3fn": ml_dtypes.float8_e4m3fn,
    "f8_e5m2": ml_dtypes.float8_e5m2,
    "f8_e4m3fnuz": ml_dtypes.float8_e4m3fnuz,
    "f8_e5m2fnuz": ml_dtypes.float8_e5m2fnuz,
    "f8_e8m0": ml_dtypes.float8_e8m0fnu,
    "c64": np.complex64,
    "c128": np.complex128,
    **{f"{kind}{bits}": np.dtype(f"{kind}{bits // 8}") for kind in "iu" for bits in (8, 16, 32, 64)},
    "bool": np.uint8,
}


def _norm(before: bytes, after: bytes, dtype: str, other: str = "") -> Norm:
    change = Change(dtype, other or dtype)
    change.add(before, after)
    return change.result()


@pytest.mark.parametrize("dtype", ORACLES)
def test_every_dtype_is_read_as_its_own_library_reads_it(dtype: str) -> None:
    rng = np.random.default_rng(5)
    old, new = (rng.integers(0, 256, 4_096, np.uint8).tobytes() for _ in range(2))
    wide = np.complex128 if dtype[0] == "c" else np.float64
    with np.errstate(all="ignore"):
        left, right = (np.frombuffer(data, ORACLES[dtype]).astype(wide) for data in (old, new))
        difference = right - left
    finite = np.isfinite(difference)
    norm = _norm(old, new, dtype)
    assert norm.elements == len(left) == 4_096 * 8 // BITS[dtype]
    assert norm.left_out == np.count_nonzero(~finite)
    if dtype not in {"f64", "c128"}:  # random bytes are numbers there whose squares overflow
        assert norm.l2 == pytest.approx(float(np.linalg.norm(difference[finite])), rel=1e-12)
        assert norm.l2_before == pytest.approx(float(np.linalg.norm(left[finite])), rel=1e-12)
    assert norm.largest == float(np.abs(difference[finite]).max())
    nothing = np.isnan(left) & np.isnan(right)
    assert norm.changed == np.count_nonzero((left != right) & ~nothing)


HALVES: dict[str, list[float]] = {
    "i4": [0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1],
    "u4": list(range(16)),
    "f4": [0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6],
}


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("code", range(16))
def test_two_elements_of_four_bits_lie_in_a_byte(dtype: str, code: int) -> None:
    norm = _norm(bytes(1), bytes([code | code << 4]), dtype)
    value = abs(HALVES[dtype][code])
    assert (norm.elements, norm.largest) == (2, value)
    assert norm.l2 == pytest.approx(math.sqrt(2) * value)


def test_blocks_add_up_to_the_whole() -> None:
    rng = np.random.default_rng(6)
    old, new = (rng.standard_normal(10_000, np.float32).tobytes() for _ in range(2))
    change = Change("f32", "f32")
    for start in range(0, len(old), 1_204):
        change.add(old[start : start + 1_204], new[start : start + 1_204])
    in_blocks, whole = change.result(), _norm(old, new, "f32")
    assert in_blocks.l2 == pytest.approx(whole.l2, rel=1e-13)
    assert (in_blocks.elements, in_blocks.largest, in_blocks.changed) == (10_000, whole.largest, whole.changed)


def test_a_tensor_of_another_dtype_differs_by_what_rounding_took() -> None:
    wide = np.linspace(-1, 1, 999, dtype=np.float32)
    narrow = wide.astype(ml_dtypes.bfloat16)
    norm = _norm(wide.tobytes(), narrow.tobytes(), "f32", "bf16")
    assert norm.largest == float(np.abs(narrow.astype(np.float64) - wide.astype(np.float64)).max())
    assert 0 < norm.l2 / norm.l2_before < 2**-8


def test_what_is_infinite_or_no_number_is_left_out_and_counted() -> None:
    old = np.array([1.0, math.nan, math.inf, 2.0, math.nan], np.float32).tobytes()
    new = np.array([1.5, math.nan, 3.0, math.nan, 0.0], np.float32).tobytes()
    assert _norm(old, new, "f32") == Norm(0.5, 1.0, 0.5, 5, 4, 4)


@pytest.mark.parametrize("scale", [1e-320, 1e-200, 1.0, 1e200, 1e307])
def test_squares_neither_overflow_nor_vanish(scale: float) -> None:
    old = np.array([3.0, 0.0], np.float64) * scale
    new = np.array([0.0, 4.0], np.float64) * scale
    norm = _norm(old.tobytes(), new.tobytes(), "f64")
    assert norm.l2 == pytest.approx(5 * scale, rel=1e-3)
    assert norm.largest == 4 * scale


def test_blocks_of_very_different_size_are_summed_up_without_losing_the_large_ones() -> None:
    change = Change("f64", "f64")
    for value in (1e-250, 3.0, 1e250, 5e-324, 1e250):
        change.add(np.array([0.0]).tobytes(), np.array([value]).tobytes())
    assert change.result().l2 == pytest.approx(math.sqrt(2) * 1e250)


def test_nothing_is_no_change() -> None:
    assert _norm(b"", b"", "f32") == Norm(0.0, 0.0, 0.0, 0, 0, 0)
    assert _norm(bytes(8), bytes(8), "f32").changed == 0


def test_zeros_of_either_sign_are_the_same_value() -> None:
    assert _norm(np.float32(0.0).tobytes(), np.float32(-0.0).tobytes(), "f32") == Norm(0.0, 0.0, 0.0, 1, 0, 0)


def test_a_dtype_of_blocks_with_a_scale_has_no_norm() -> None:
    with pytest.raises(KeyError):
        Change("q4_0", "q4_0")


def test_sides_of_different_length_are_no_pair() -> None:
    with pytest.raises(ValueError, match="1 elements against 2"):
        _norm(bytes(4), bytes(8), "f32")

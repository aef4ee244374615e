"""Compiled loops and numpy's: the same payloads, the same bytes back, and the same payloads refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from modelsyncd.codec.hint import Hint
from modelsyncd.codec.profile import Profile
from modelsyncd.codec.registry import READABLE, Codec, decode, encode
from modelsyncd.errors import DamageError
from tests.fakes.chunk_samples import samples
from tests.fakes.coding_loops import WITHOUT, using
from tests.property.test_codec_bases import Case, cases

pytestmark = WITHOUT
SAMPLES = samples()
R = TypeVar("R")
FLOATS = {"f64": "<f8", "f32": "<f4", "f16": "<f2"}


def by_both(work: Callable[[], R]) -> tuple[R, R]:
    """What numpy's loops make, and what compiled ones make."""
    with using(compiled=False):
        first = work()
    with using(compiled=True):
        return first, work()


def _back(codec: Codec, payload: bytes, size: int, base: bytes | None) -> bytes | None:
    try:
        return bytes(decode(codec, payload, size, base))
    except DamageError:
        return None


def _same_both_ways(case: Case) -> None:
    one, other = by_both(lambda: encode(case.plain, READABLE, case.hint, case.base, case.profile))
    assert one == other
    found = by_both(lambda: _back(one[0], bytes(one[1]), len(case.plain), case.base))
    assert found == (case.plain, case.plain)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(cases())
def test_any_chunk_is_written_and_read_the_same_by_both(case: Case) -> None:
    _same_both_ways(case)


@st.composite
def updates(draw: st.DrawFn) -> Case:
    """Rows of weights that moved by amounts of their own: a little, far, up to any bits, or not at all."""
    dtype = draw(st.sampled_from(["f64", "f32", "f16", "bf16", "i32", "i16", "i8", "u8", "f8_e4m3"]))
    random = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    columns, rows = draw(st.sampled_from([1, 24, 32, 96, 384])), draw(st.integers(1, 40))
    size = rows * columns
    if dtype in FLOATS or dtype == "bf16":
        old = random.normal(0, 10.0 ** -draw(st.integers(0, 6)), size)
        scale = 10.0 ** -random.integers(1, 9, (rows, 1)) * random.integers(0, 2, (rows, 1))
        new = old + (random.normal(0, 1, (rows, columns)) * scale * abs(old).max()).ravel()
        if dtype == "bf16":
            base, plain = (values.astype("<f4").view("<u2")[1::2].tobytes() for values in (old, new))
        else:
            base, plain = (values.astype(FLOATS[dtype]).tobytes() for values in (old, new))
    else:
        width = Hint(dtype).width
        whole = random.integers(0, 256, size * width, dtype=np.uint8)
        moved = whole.reshape(size, width).copy()
        moved[:, 0] += (random.random(size) < draw(st.sampled_from([0.02, 0.3, 1.0]))).astype(np.uint8)
        base, plain = whole.tobytes(), moved.tobytes()
    if draw(st.booleans()):  # single bits anywhere
        garbled = bytearray(plain)
        for place in random.integers(0, len(garbled), 5):
            garbled[place] ^= 1 << int(random.integers(0, 8))
        plain = bytes(garbled)
    front, behind = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    end = max(len(plain) - behind, front)
    hint = Hint(dtype, front, columns, draw(st.integers(0, columns - 1)))
    based = draw(st.booleans())
    return Case(plain[front:end], base[front:end] if based else None, hint, draw(st.sampled_from(Profile)))


@settings(deadline=None, derandomize=True, max_examples=300)
@given(updates())
def test_updates_of_any_kind_are_written_and_read_the_same_by_both(case: Case) -> None:
    _same_both_ways(case)


@settings(deadline=None, derandomize=True, max_examples=400)
@given(st.data())
def test_a_payload_with_wrong_bytes_is_read_the_same_or_refused_by_both(data: st.DataObject) -> None:
    sample = SAMPLES[data.draw(st.sampled_from(sorted(SAMPLES)))]
    base = data.draw(st.sampled_from([sample.base, None]))
    codec, payload = encode(sample.plain, READABLE, sample.hint, base)
    garbled = bytearray(payload)
    ends = st.one_of(st.integers(0, min(120, len(payload) - 1)), st.integers(0, len(payload) - 1))
    for place in data.draw(st.lists(ends, min_size=1, max_size=4)):
        garbled[place] = data.draw(st.integers(0, 255))
    end = data.draw(st.sampled_from([len(garbled), len(garbled) - 1, len(garbled) // 2]))
    one, other = by_both(lambda: _back(codec, bytes(garbled[:end]), len(sample.plain), base))
    assert one == other

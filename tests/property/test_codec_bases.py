"""Codecs with bases and hints, on any bytes: exact round trips, no growth, and only one kind of refusal."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from modelsyncd.codec.hint import Hint
from modelsyncd.codec.profile import Profile
from modelsyncd.codec.registry import NEEDS_BASE, READABLE, Codec, decode, encode
from modelsyncd.errors import DamageError
from tests.fakes.chunk_samples import samples
from tests.fakes.coding_loops import loops  # noqa: F401 - all of these twice

DTYPES = [
    "f64",
    "f32",
    "f16",
    "bf16",
    "f8_e4m3",
    "f8_e5m2",
    "i64",
    "i32",
    "i16",
    "i8",
    "u64",
    "u8",
    "bool",
    "i4",
    "u4",
    "",
]
SAMPLES = samples()


@dataclass(frozen=True, slots=True)
class Case:
    plain: bytes
    base: bytes | None
    hint: Hint
    profile: Profile


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A chunk that is its base with something done to it, or has nothing to do with it, or has none."""
    hint = Hint(draw(st.sampled_from(DTYPES)), draw(st.integers(0, 9)), draw(st.sampled_from([0, 1, 3, 32, 96, 128])))
    piece = draw(st.binary(min_size=1, max_size=300))
    base = (piece * draw(st.integers(1, 40)))[: draw(st.integers(0, 9_000))]
    how = draw(st.sampled_from(["touched", "same", "other", "stepped"]))
    plain = bytearray(base)
    if how == "touched":
        for place in draw(st.lists(st.integers(0, max(len(base) - 1, 0)), max_size=20)):
            plain[place : place + 1] = plain[place : place + 1].swapcase()
    elif how == "other":
        other = draw(st.binary(min_size=1, max_size=300))
        plain = bytearray((other * (len(base) // len(other) + 1))[: len(base)])
    elif how == "stepped":
        every = hint.width
        plain[::every] = bytes((byte + draw(st.integers(0, 3))) % 256 for byte in plain[: len(plain[::every])])
    return Case(bytes(plain), draw(st.sampled_from([base, None])), hint, draw(st.sampled_from(Profile)))


@settings(deadline=None, derandomize=True, max_examples=400)
@given(cases())
def test_any_chunk_reads_back_exactly_and_never_grows(case: Case) -> None:
    codec, payload = encode(case.plain, READABLE, case.hint, case.base, case.profile)
    assert len(payload) <= len(case.plain)
    assert codec not in NEEDS_BASE or case.base is not None
    assert decode(codec, payload, len(case.plain), case.base) == case.plain


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.sampled_from(sorted(SAMPLES)), st.integers(0, 9), st.integers(0, 9), st.sampled_from(DTYPES), st.booleans())
def test_a_wrong_hint_and_a_cut_in_the_middle_of_an_element_only_cost_bytes(
    name: str, front: int, behind: int, dtype: str, based: bool
) -> None:
    sample = SAMPLES[name]
    end = len(sample.plain) - behind
    plain, base = sample.plain[front:end], sample.base[front:end] if based else None
    codec, payload = encode(plain, READABLE, Hint(dtype, front, 128), base)
    assert len(payload) <= len(plain)
    assert decode(codec, payload, len(plain), base) == plain


@settings(deadline=None, derandomize=True, max_examples=400)
@given(st.sampled_from(Codec), st.binary(max_size=300), st.integers(0, 5_000), st.booleans())
def test_any_payload_decodes_to_its_size_or_is_damage(codec: Codec, payload: bytes, size: int, based: bool) -> None:
    with suppress(DamageError):
        assert len(decode(codec, payload, size, bytes(size) if based else None)) == size


@settings(deadline=None, derandomize=True, max_examples=400)
@given(st.data())
def test_a_payload_with_wrong_bytes_decodes_to_its_size_or_is_damage(data: st.DataObject) -> None:
    sample = SAMPLES[data.draw(st.sampled_from(sorted(SAMPLES)))]
    base = data.draw(st.sampled_from([sample.base, None]))
    codec, payload = encode(sample.plain, READABLE, sample.hint, base)
    garbled = bytearray(payload)
    ends = st.one_of(st.integers(0, min(120, len(payload) - 1)), st.integers(0, len(payload) - 1))
    for place in data.draw(st.lists(ends, min_size=1, max_size=4)):
        garbled[place] = data.draw(st.integers(0, 255))
    with suppress(DamageError):
        assert len(decode(codec, garbled, len(sample.plain), base)) == len(sample.plain)


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.sampled_from(sorted(SAMPLES)), st.sampled_from(sorted(SAMPLES)))
def test_a_wrong_base_gives_other_bytes_or_damage(name: str, other: str) -> None:
    sample = SAMPLES[name]
    size = len(sample.plain)
    codec, payload = encode(sample.plain, READABLE, sample.hint, sample.base)
    wrong = (SAMPLES[other].base * size)[1 : size + 1]
    with suppress(DamageError):
        found = decode(codec, payload, size, wrong)
        assert len(found) == size
        assert codec not in NEEDS_BASE or found != sample.plain or wrong == sample.base

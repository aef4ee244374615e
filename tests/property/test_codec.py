"""Codecs, on any bytes: the round trip, the bound on size, and only one kind of refusal."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from modelsyncd.codec.registry import READABLE, Codec, decode, encode
from modelsyncd.errors import DamageError

PLAIN = st.one_of(
    st.binary(max_size=5_000),
    st.builds(lambda run, times: run * times, st.binary(min_size=1, max_size=50), st.integers(0, 4_000)),
)


@settings(deadline=None, derandomize=True)
@given(PLAIN)
def test_any_chunk_reads_back_and_never_grows(plain: bytes) -> None:
    codec, payload = encode(plain, READABLE)
    assert len(payload) <= len(plain)
    assert decode(codec, payload, len(plain)) == plain


@settings(deadline=None, derandomize=True, max_examples=500)
@given(st.sampled_from(Codec), st.binary(max_size=200), st.integers(0, 1 << 20))
def test_any_payload_decodes_to_its_size_or_is_damage(codec: Codec, payload: bytes, size: int) -> None:
    with suppress(DamageError):
        assert len(decode(codec, payload, size)) == size


@settings(deadline=None, derandomize=True, max_examples=500)
@given(st.data())
def test_a_frame_with_one_wrong_byte_decodes_to_its_size_or_is_damage(data: st.DataObject) -> None:
    plain = b"weights and words " * 300
    codec, payload = encode(plain, READABLE)
    garbled = bytearray(payload)
    garbled[data.draw(st.integers(0, len(payload) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(DamageError):
        assert len(decode(codec, garbled, len(plain))) == len(plain)

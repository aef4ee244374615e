"""Payloads that were made to hurt: each is refused as damage, and takes no more memory than the chunk's size allows."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress

import pytest
import zstandard

from modelsyncd.codec import graded, planes
from modelsyncd.codec.profile import Profile
from modelsyncd.codec.registry import NEEDS_BASE, READABLE, Codec, decode, encode
from modelsyncd.errors import DamageError
from tests.fakes.chunk_samples import samples
from tests.fakes.coding_loops import loops  # noqa: F401 - all of these twice

SAMPLES = samples()
CODED = sorted(
    (name, profile)
    for name, sample in SAMPLES.items()
    for profile in (Profile.SMALLEST, Profile.FAST)
    if encode(sample.plain, READABLE, sample.hint, sample.base, profile)[0] in NEEDS_BASE
)


def _payload(name: str, profile: Profile = Profile.SMALLEST) -> tuple[Codec, bytes]:
    sample = SAMPLES[name]
    codec, payload = encode(sample.plain, READABLE, sample.hint, sample.base, profile)
    return codec, bytes(payload)


@pytest.mark.parametrize(("name", "profile"), CODED)
def test_a_payload_that_was_cut_is_damage(name: str, profile: Profile) -> None:
    sample = SAMPLES[name]
    codec, payload = _payload(name, profile)
    step = max(1, len(payload) // 120)
    for end in [*range(min(80, len(payload))), *range(80, len(payload) - 8, step)]:
        try:
            found = decode(codec, payload[:end], len(sample.plain), sample.base)
        except DamageError:
            continue
        assert found != sample.plain, f"{end} of {len(payload)} bytes were enough"


@pytest.mark.parametrize(("name", "profile"), CODED)
def test_every_value_of_every_byte_of_the_head_decodes_or_is_damage(name: str, profile: Profile) -> None:
    sample = SAMPLES[name]
    codec, payload = _payload(name, profile)
    for place in range(min(30, len(payload))):
        for value in (0, 1, 2, 7, 31, 63, 64, 127, 128, 254, 255):
            garbled = bytearray(payload)
            garbled[place] = value
            with suppress(DamageError):
                assert len(decode(codec, bytes(garbled), len(sample.plain), sample.base)) == len(sample.plain)


@pytest.mark.parametrize("size", [0, 1, 7, 11_999, 12_001, 1 << 20])
def test_a_payload_for_a_chunk_of_another_size_is_damage_or_other_bytes(size: int) -> None:
    codec, payload = _payload("f32")
    with suppress(DamageError):
        assert len(decode(codec, payload, size, bytes(size))) == size


def _head(*, width: int = 4, edge: int = 0, mantissa: int = 23, group: int = 6, low: int = 0, floor: int = 0) -> bytes:
    return bytes((graded.MARK, width, edge, mantissa, group)) + low.to_bytes(2, "little") + floor.to_bytes(8, "little")


def _facts(size: int, body: bytes) -> bytes:
    return size.to_bytes(4, "little") + len(body).to_bytes(4, "little") + body


BOMB = zstandard.ZstdCompressor().compress(bytes(300 << 20))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x10",
        _head(),
        _head(width=3) + _facts(0, b""),
        _head(width=0) + _facts(0, b""),
        _head(edge=4) + _facts(0, b""),
        _head(mantissa=31) + _facts(0, b""),
        _head(group=40) + _facts(0, b""),
        _head(group=255) + _facts(0, b""),
        _head(low=65_535) + _facts(0, b""),
        _head(floor=1 << 63) + _facts(0, b""),
        _head() + _facts(0xFFFFFFFF, b""),
        _head() + _facts(300 << 20, BOMB),
        _head() + _facts(1_000, BOMB),
        _head() + _facts(64, bytes([1]) * 64) + bytes(100),
        _head() + _facts(16, bytes(16)) + (1 << 31).to_bytes(4, "little"),
        bytes((4, 0)) + (0xFFFFFFFF).to_bytes(4, "little") + BOMB,
        bytes((4, 0)) + len(BOMB).to_bytes(4, "little") + BOMB,
        bytes((1, 0)) + len(BOMB).to_bytes(4, "little") + BOMB,
    ],
)
@pytest.mark.parametrize("codec", [Codec.PLANES, Codec.DELTA])
def test_no_payload_gets_more_memory_than_its_chunk_deserves(codec: Codec, payload: bytes) -> None:
    size = 4_000
    decode(codec, *_empty(size))  # imports numpy, which is not what is measured
    tracemalloc.start()
    try:
        with pytest.raises(DamageError):
            decode(codec, payload, size, bytes(size))
        assert tracemalloc.get_traced_memory()[1] < 3 << 20
    finally:
        tracemalloc.stop()


def _empty(size: int) -> tuple[bytes, int, bytes]:
    folded = planes.fold(bytes(size), 4, 0)
    assert folded is not None
    return folded, size, bytes(size)

"""Codecs: nothing grows, nothing lies about its size, and threads do not meet."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import zstandard

from modelsyncd.codec import zstd
from modelsyncd.codec.registry import READABLE, Codec, decode, encode
from modelsyncd.errors import DamageError
from tests.fakes.coding_loops import loops  # noqa: F401 - all of these twice

NOISE = random.Random(7).randbytes(300_000)
TEXT = b"the same words again and again, " * 8_000


def test_what_can_be_smaller_is_made_smaller() -> None:
    codec, payload = encode(TEXT, READABLE)
    assert codec is Codec.ZSTD
    assert len(payload) < len(TEXT) // 10
    assert decode(codec, payload, len(TEXT)) == TEXT


def test_noise_is_stored_without_a_copy() -> None:
    codec, payload = encode(NOISE, READABLE)
    assert codec is Codec.STORED
    assert payload is NOISE


def test_only_a_codec_that_the_peer_reads_is_used() -> None:
    assert encode(TEXT, frozenset({Codec.STORED})) == (Codec.STORED, TEXT)


def test_a_chunk_that_only_looks_like_noise_in_its_middle_is_still_whole() -> None:
    mixed = TEXT + NOISE + TEXT
    codec, payload = encode(mixed, READABLE)
    assert decode(codec, payload, len(mixed)) == mixed
    assert len(payload) <= len(mixed)


@pytest.mark.parametrize("size", [0, len(NOISE) - 1, len(NOISE) + 1, 1 << 40])
def test_stored_bytes_of_another_length_are_damage(size: int) -> None:
    with pytest.raises(DamageError):
        decode(Codec.STORED, NOISE, size)


def _frame(plain: bytes, *, with_size: bool = True) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=with_size).compress(plain)


@pytest.mark.parametrize(
    ("payload", "size"),
    [
        (b"", 1),
        (b"x", 1),
        (NOISE[:1000], 1000),
        (_frame(bytes(1 << 20)), 1 << 10),
        (_frame(bytes(1 << 10)), 1 << 20),
        (_frame(bytes(1 << 10), with_size=False), 1 << 10),
        (_frame(TEXT)[:-1], len(TEXT)),
        (_frame(TEXT)[:20], len(TEXT)),
        (_frame(b"abc")[:5] + _frame(b"defg")[5:], 3),
    ],
    ids=["empty", "short", "noise", "bomb", "claims-more", "no-size", "torn", "torn-early", "spliced"],
)
def test_a_frame_that_does_not_hold_what_it_should_is_damage(payload: bytes, size: int) -> None:
    with pytest.raises(DamageError):
        decode(Codec.ZSTD, payload, size)


def test_a_bomb_that_lies_about_its_size_is_damage_and_gets_no_more_memory_than_it_said() -> None:
    honest = bytearray(_frame(bytes(100 << 20)))  # 100 MiB of zeros in about 10 kB
    at = honest.index((100 << 20).to_bytes(4, "little"), 0, 16)
    honest[at : at + 4] = (4096).to_bytes(4, "little")
    with pytest.raises(DamageError):
        decode(Codec.ZSTD, bytes(honest), 4096)


def test_each_thread_has_contexts_of_its_own() -> None:
    met = threading.Barrier(4)

    def contexts() -> tuple[int, int]:
        zstd.compress(TEXT)
        met.wait(timeout=30)  # all four are alive: an id can't be one that was freed
        return id(zstd._contexts.compressor), id(zstd._contexts.decompressor)

    with ThreadPoolExecutor(4) as pool:
        found = [future.result() for future in [pool.submit(contexts) for _ in range(4)]]
    assert len({compressor for compressor, _ in found}) == 4
    assert len({decompressor for _, decompressor in found}) == 4


def test_many_threads_at_once_read_back_what_they_wrote() -> None:
    def wrong(seed: int) -> int:
        source = random.Random(seed)
        count = 0
        for _ in range(60):
            plain = bytes(source.choices(b"abcdefgh", k=source.randrange(1, 60_000)))
            codec, payload = encode(plain, READABLE)
            count += decode(codec, payload, len(plain)) != plain
        return count

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(wrong, range(8))) == 0

"""Digests: one name for the same bytes, one text for the same name."""

from __future__ import annotations

import hashlib

import pytest

from modelsyncd.digest import DIGEST_SIZE, FileHasher, checksum, digest_from, digest_of, from_text, short, to_text
from modelsyncd.errors import BadInputError

# The reference vector for no input, https://github.com/BLAKE3-team/BLAKE3/blob/master/test_vectors/test_vectors.json
EMPTY = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"


def test_a_digest_is_blake3() -> None:
    assert digest_of(b"").hex() == EMPTY


def test_any_buffer_with_the_same_bytes_has_the_same_digest() -> None:
    assert digest_of(b"abc") == digest_of(bytearray(b"abc")) == digest_of(memoryview(b"xabcx")[1:4])
    assert digest_of(b"abc") != digest_of(b"abd")


def test_text_reads_back() -> None:
    digest = digest_of(b"weights")
    assert to_text(digest).startswith("b3:")
    assert from_text(to_text(digest)) == digest
    assert short(digest) == to_text(digest)[3:15]


@pytest.mark.parametrize(
    "text",
    ["", "b3:", EMPTY, f"sha256:{EMPTY}", f"b3:{EMPTY[:-1]}", f"b3:{EMPTY[:-2]}", f"b3:{EMPTY}00", f" b3:{EMPTY}",
     f"b3:{EMPTY}\n", f"b3: {EMPTY}", f"b3:{EMPTY[:2]} {EMPTY[2:]}", f"b3:{EMPTY.upper()}", f"B3:{EMPTY}",
     f"b3:{EMPTY[:-1]}g", "b3:" + "١" * 64, "b3:../../" + EMPTY[6:], "b3:" + "\0" * 64],
)  # fmt: skip
def test_any_other_text_is_no_digest(text: str) -> None:
    with pytest.raises(BadInputError) as refusal:
        from_text(text)
    assert refusal.value.hint


@pytest.mark.parametrize("length", [0, 1, 31, 33, 64])
def test_a_digest_from_outside_has_32_bytes(length: int) -> None:
    assert digest_from(bytes(32)) == bytes(DIGEST_SIZE)
    with pytest.raises(BadInputError):
        digest_from(bytes(length))


def test_a_file_hashed_in_pieces_has_the_sha256_that_others_know() -> None:
    hasher = FileHasher()
    for piece in (b"we", bytearray(b"igh"), memoryview(b"ts")):
        hasher.update(piece)
    assert hasher.sha256() == hashlib.sha256(b"weights").digest()


def test_a_checksum_sees_one_flipped_bit() -> None:
    rotten = bytearray(1000)
    rotten[500] ^= 1
    assert checksum(bytes(1000)) != checksum(rotten)

"""The only list of codecs: their numbers, which this side reads, and the one way to encode and decode a chunk.

Law: encoding never makes a chunk larger (stored is always there); decoding never allocates more than it was told to
expect, and the caller checks the digest of what comes out.
"""

from __future__ import annotations

from enum import IntEnum

from modelsyncd.codec import zstd
from modelsyncd.digest import Buffer
from modelsyncd.errors import DamageError


class Codec(IntEnum):
    """Numbers as on the wire (nouns.proto)."""

    STORED = 1
    ZSTD = 2


READABLE: frozenset[Codec] = frozenset({Codec.STORED, Codec.ZSTD})
"""What this side can decode; said in Hello."""


def encode(plain: Buffer, allowed: frozenset[Codec]) -> tuple[Codec, Buffer]:
    """The smallest writing of a chunk among the allowed codecs; `plain` itself when nothing is smaller."""
    if Codec.ZSTD in allowed:
        smaller = zstd.compress(plain)
        if smaller is not None:
            return Codec.ZSTD, smaller
    return Codec.STORED, plain


def decode(codec: Codec, payload: Buffer, size: int) -> Buffer:
    """The plain bytes, exactly `size` of them. Raises DamageError when that is not what the payload holds."""
    plain = payload if codec is Codec.STORED else zstd.decompress(payload, size)
    if len(plain) != size:
        raise DamageError(f"a chunk of {size} bytes decoded to {len(plain)}")
    return plain

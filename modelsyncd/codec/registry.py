"""The only list of codecs: their numbers, which this side reads, and the one way to encode and decode a chunk.

Law: encoding never makes a chunk larger (stored is always there); decoding never allocates more than it was told to
expect, and the caller checks the digest of what comes out.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from importlib.util import find_spec

from modelsyncd.codec import delta, lowrank, native, planes, zstd
from modelsyncd.codec.hint import Hint
from modelsyncd.codec.profile import Profile
from modelsyncd.digest import Buffer
from modelsyncd.errors import DamageError


class Codec(IntEnum):
    """Numbers as on the wire (nouns.proto)."""

    STORED = 1
    ZSTD = 2
    PLANES = 3
    DELTA = 4
    LOWRANK = 5


NEEDS_BASE: frozenset[Codec] = frozenset({Codec.DELTA, Codec.LOWRANK})
"""Codecs whose payload means nothing without the bytes that it was coded against."""

READABLE: frozenset[Codec] = frozenset(Codec if find_spec("numpy") else {Codec.STORED, Codec.ZSTD})
"""What this side can decode; said in Hello. The others compute with numpy, which is loaded when it is first needed."""

STUMBLES = (ArithmeticError, LookupError, TypeError, ValueError)
"""What a codec that stumbles over odd bytes would raise: whoever calls one lets that cost bytes, and no transfer."""

_COMPUTED = frozenset({Codec.PLANES, Codec.DELTA, Codec.LOWRANK})
_OPAQUE = Hint()
_LITTLE = 0.03  # of the plain size: factors would not be smaller
_GOOD = 0.75  # of the plain size: nothing without a base gets clearly below it with weights


def encode(
    plain: Buffer,
    allowed: frozenset[Codec],
    hint: Hint = _OPAQUE,
    base: Buffer | None = None,
    profile: Profile = Profile.SMALLEST,
) -> tuple[Codec, Buffer]:
    """The smallest writing of a chunk among the allowed codecs; `plain` itself when nothing is smaller.

    `base`: bytes that the taker has, as many as `plain`. Raises ValueError when they are not.
    """
    if base is not None and len(base) != len(plain):
        raise ValueError(f"a base of {len(base)} bytes for a chunk of {len(plain)}")
    if profile is not Profile.PLAIN:
        native.worked(len(plain))
    best: tuple[Codec, Buffer] = (Codec.STORED, plain)
    for codec, payload in _tries(plain, allowed, hint, base, profile):
        if payload is not None and len(payload) < len(best[1]):
            best = codec, payload
    return best


def _tries(
    plain: Buffer, allowed: frozenset[Codec], hint: Hint, base: Buffer | None, profile: Profile
) -> Iterator[tuple[Codec, Buffer | None]]:
    """Payloads to choose from, the likeliest first; no more of them once one is as small as can be hoped for."""
    if profile is not Profile.PLAIN and base is not None:
        payload = None
        if profile is Profile.SMALLEST and Codec.LOWRANK in allowed:
            payload = lowrank.compress(plain, base, hint)
            yield Codec.LOWRANK, payload
        if payload is None and Codec.DELTA in allowed:  # a low rank is only told of where it pays
            payload = delta.compress(plain, base, hint, profile)
            yield Codec.DELTA, payload
        if payload is not None and len(payload) < _GOOD * len(plain):
            return
    if profile is not Profile.PLAIN and hint.dtype and Codec.PLANES in allowed:
        yield Codec.PLANES, planes.compress(plain, hint, profile)
    if Codec.ZSTD in allowed:
        yield Codec.ZSTD, zstd.compress(plain)


def decode(codec: Codec, payload: Buffer, size: int, base: Buffer | None = None) -> Buffer:
    """The plain bytes, exactly `size` of them. Raises DamageError when that is not what the payload holds."""
    plain = _decoded(codec, payload, size, base)
    if len(plain) != size:
        raise DamageError(f"a chunk of {size} bytes decoded to {len(plain)}")
    return plain


def _decoded(codec: Codec, payload: Buffer, size: int, base: Buffer | None) -> Buffer:
    if codec not in READABLE:
        raise DamageError(f"a chunk came in the encoding {codec.name}, which this side can't read")
    if codec in NEEDS_BASE and (base is None or len(base) != size):
        raise DamageError(f"a chunk of {size} bytes came in the encoding {codec.name} without a base of that length")
    if codec in _COMPUTED:
        native.worked(size)
    match codec:
        case Codec.ZSTD:
            return zstd.decompress(payload, size)
        case Codec.PLANES:
            return planes.decompress(payload, size)
        case Codec.DELTA if base is not None:
            return delta.decompress(payload, base, size)
        case Codec.LOWRANK if base is not None:
            return lowrank.decompress(payload, base, size)
    return payload

"""Chunks with their bases, as updates of models make them: small, without numpy, and the same on every machine."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass

from modelsyncd.codec.hint import Hint

ELEMENTS = 2_000


@dataclass(frozen=True, slots=True)
class ChunkSample:
    """A chunk, what a base of it is, and what a coder is told of it."""

    plain: bytes
    base: bytes
    hint: Hint


def _floats(values: list[float]) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def _halves(values: list[float]) -> bytes:
    return struct.pack(f"<{len(values)}e", *values)


def _brains(values: list[float]) -> bytes:
    """bfloat16: the upper halves of float32, cut off."""
    single = _floats(values)
    return b"".join(single[at + 2 : at + 4] for at in range(0, len(single), 4))


def _single(value: float) -> float:
    found: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return found


def samples() -> dict[str, ChunkSample]:
    """By name. Whoever changes this makes new golden payloads (tests/unit/test_codec_golden.py says how)."""
    source = random.Random(3)
    old = [source.gauss(0, 0.05) for _ in range(ELEMENTS)]
    new = [value + source.gauss(0, 2e-4) * (at // 128 % 3 > 0) for at, value in enumerate(old)]
    decayed = [_single(value) for value in old]
    for _ in range(3):
        decayed = [_single(value * (1 - 2e-7)) for value in decayed]
    stepped = [_single(value + (1e-4 if at % 7 % 2 else -1e-4)) for at, value in enumerate(decayed)]
    stepped = [
        there if at // 128 % 2 else value for at, (there, value) in enumerate(zip(stepped, decayed, strict=True))
    ]
    mean = [_single(_single(_single(value + value) + value) / 3) for value in decayed]
    whole = [source.randrange(-90, 90) for _ in range(ELEMENTS)]
    moved = [value + (source.random() < 0.04) for value in whole]
    odd = [0.0, -0.0, float("inf"), float("-inf"), 1e-45, -1e-45, 3e38, 1.0] * 40
    odder = struct.pack("<320I", *(source.getrandbits(32) for _ in range(320)))
    rows, thin = [source.gauss(0, 1) for _ in range(64)], [source.gauss(0, 1e-3) for _ in range(128)]
    matrix = [source.gauss(0, 0.05) for _ in range(64 * 128)]
    merged = [value + rows[at // 128] * thin[at % 128] for at, value in enumerate(matrix)]
    return {
        "f32": ChunkSample(_floats(new), _floats(old), Hint("f32", 0, 128)),
        "f32-decayed": ChunkSample(_floats(decayed), _floats(old), Hint("f32", 0, 128)),
        "f32-stepped": ChunkSample(_floats(stepped), _floats(old), Hint("f32", 0, 128)),
        "f32-clients": ChunkSample(_floats(mean), _floats(old), Hint("f32", 0, 128)),
        "f32-phase": ChunkSample(_floats(new)[3:-2], _floats(old)[3:-2], Hint("f32", 3, 128)),
        "f32-odd": ChunkSample(odder, _floats(odd), Hint("f32")),
        "f32-merged": ChunkSample(_floats(merged), _floats(matrix), Hint("f32", 0, 128)),
        "f64": ChunkSample(struct.pack(f"<{ELEMENTS}d", *new), struct.pack(f"<{ELEMENTS}d", *old), Hint("f64", 0, 100)),
        "f16": ChunkSample(_halves(new), _halves(old), Hint("f16", 0, 128)),
        "bf16": ChunkSample(_brains(new), _brains(old), Hint("bf16", 0, 128)),
        "i8": ChunkSample(
            struct.pack(f"<{ELEMENTS}b", *moved), struct.pack(f"<{ELEMENTS}b", *whole), Hint("i8", 0, 64)
        ),
        "opaque": ChunkSample(b"words, words. " * 300, b"words; words. " * 300, Hint()),
        "same": ChunkSample(_floats(old), _floats(old), Hint("f32", 0, 128)),
    }

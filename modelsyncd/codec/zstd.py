"""Plain zstd for one chunk.

Contexts are kept per thread: python-zstandard's objects may not be shared between threads (its issues 166 and 244:
crashes, and once wrong bytes without an error).
"""

from __future__ import annotations

import threading

import zstandard

from modelsyncd.digest import Buffer
from modelsyncd.errors import DamageError

LEVEL = 1  # on weights, higher levels cost several times the CPU and save nothing (docs/adr/0006-codec.md)
SAMPLE = 16 << 10  # bytes
WORTHWHILE = 0.98  # of the plain size: above it, the bytes saved are not worth the peer's time to decode


def _huffman() -> zstandard.ZstdCompressionParameters:
    """For symbols without repetitions: hardly looks for any, so it is three times faster and a tenth smaller."""
    return zstandard.ZstdCompressionParameters(
        window_log=18,
        hash_log=6,
        chain_log=6,
        search_log=1,
        min_match=7,
        target_length=0,
        strategy=zstandard.STRATEGY_FAST,
        write_content_size=True,
    )


class _Contexts(threading.local):
    """This thread's own compressor and decompressor."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=False, write_content_size=True)
        self.coder = zstandard.ZstdCompressor(compression_params=_huffman())
        self.decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 23)


_contexts = _Contexts()


def compress(plain: Buffer) -> bytes | None:
    """One zstd frame, or None when it would not be clearly smaller (judged on a sample from the middle first)."""
    return _smaller(plain, _contexts.compressor)


def code(plain: Buffer) -> bytes | None:
    """As `compress`, for bytes that differ in how often they come and do not repeat one another."""
    return _smaller(plain, _contexts.coder)


def _smaller(plain: Buffer, compressor: zstandard.ZstdCompressor) -> bytes | None:
    if len(plain) > 4 * SAMPLE:
        middle = len(plain) // 2
        sample = memoryview(plain)[middle : middle + SAMPLE]
        if len(compressor.compress(sample)) > WORTHWHILE * SAMPLE:
            return None
    frame = compressor.compress(plain)
    return frame if len(frame) < WORTHWHILE * len(plain) else None


def squeeze(plain: Buffer) -> bytes:
    """One zstd frame, whatever its size."""
    return _contexts.compressor.compress(plain)


def encode(symbols: Buffer) -> bytes:
    """One zstd frame of symbols that do not repeat one another."""
    return _contexts.coder.compress(symbols)


def decompress(frame: Buffer, size: int) -> bytes:
    """The plain bytes of a frame that claims to hold `size` of them. Raises DamageError, and allocates no more."""
    try:
        if zstandard.frame_content_size(frame) != size:
            raise DamageError(f"a zstd frame does not hold the {size} bytes that it should")
        return _contexts.decompressor.decompress(frame, max_output_size=size)
    except zstandard.ZstdError as error:
        raise DamageError(f"a zstd frame can't be read: {error}") from error

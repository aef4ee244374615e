"""The only place that tunes the C library's allocator for large buffers that come and go.

glibc maps each buffer above a threshold anew and gives it back when it is freed, so that every message of a transfer is
paid for in page faults: a hub that gave needed twice the CPU without this (docs/benchmarks.md). glibc raises the
threshold by itself, but only after the first large buffer was freed, and only so far. (mallopt(3))
"""

from __future__ import annotations

import ctypes
import platform

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
MMAP_THRESHOLD = 4 << 20  # bytes: the largest chunk; only what is larger is mapped by itself
TRIM_THRESHOLD = 16 << 20  # bytes: free memory at the heap's end that is kept for the next message


def raise_thresholds(mmap: int = MMAP_THRESHOLD, trim: int = TRIM_THRESHOLD) -> bool:
    """Keeps buffers of up to `mmap` bytes on the heap, and `trim` bytes of it when free; False where there is no glibc.

    To be called once, before the first transfer; idle memory grows by `trim` at most.
    """
    return _mallopt(_M_MMAP_THRESHOLD, mmap) and _mallopt(_M_TRIM_THRESHOLD, trim)


def limit_arenas(most: int = 2) -> bool:
    """Lets threads share `most` heaps instead of eight for each core; False where there is no glibc.

    For a process that must stay small: a thread's heap keeps what its largest batch took. Receiving a big model peaked
    at 133 MB with the usual number and at 100 MB with two, at the same speed. To be called once, before threads start.
    """
    return _mallopt(_M_ARENA_MAX, most)


def _mallopt(parameter: int, value: int) -> bool:
    if not _is_glibc():
        return False
    mallopt = ctypes.CDLL(None).mallopt
    mallopt.argtypes = [ctypes.c_int, ctypes.c_int]
    mallopt.restype = ctypes.c_int
    return bool(mallopt(parameter, value))


def _is_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"


def trim() -> bool:
    """Gives free memory back to the system, whatever the thresholds; True when there was some, and glibc.

    For after a transfer: a process that idles for a day should not keep what it needed for a minute. (malloc_trim(3))
    """
    if not _is_glibc():
        return False
    malloc_trim = ctypes.CDLL(None).malloc_trim
    malloc_trim.argtypes = [ctypes.c_size_t]
    malloc_trim.restype = ctypes.c_int
    return bool(malloc_trim(0))

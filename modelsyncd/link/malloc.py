"""The only place that tunes the C library's allocator for large buffers that come and go.

glibc maps each buffer above a threshold anew and gives it back when it is freed, so that every message of a transfer is
paid for in page faults: one run went from 400 to 1,191 MB/s when the thresholds were raised (docs/benchmarks.md). It
raises them by itself, but only after the first large buffer was freed, and only the first. (mallopt(3))
"""

from __future__ import annotations

import ctypes
import platform

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
MMAP_THRESHOLD = 4 << 20  # bytes: the largest chunk; only what is larger is mapped by itself
TRIM_THRESHOLD = 16 << 20  # bytes: free memory at the heap's end that is kept for the next message


def raise_thresholds(mmap: int = MMAP_THRESHOLD, trim: int = TRIM_THRESHOLD) -> bool:
    """Keeps buffers of up to `mmap` bytes on the heap, and `trim` bytes of it when free; False where there is no glibc.

    To be called once, before the first transfer; idle memory grows by `trim` at most.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    mallopt.argtypes = [ctypes.c_int, ctypes.c_int]
    mallopt.restype = ctypes.c_int
    return bool(mallopt(_M_MMAP_THRESHOLD, mmap)) and bool(mallopt(_M_TRIM_THRESHOLD, trim))

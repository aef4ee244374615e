"""The only place that says what a folder takes of the disk, and when somebody last needed a version.

Room is counted as the file system counts it, in blocks: that is what comes back when a file goes, and what a sparse
file on its way really takes. The time of a version's last use is the time of its folder: nobody else needs that one, it
outlives the cache and every restart, and to set it costs one inode.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

BLOCK = 512  # bytes that `st_blocks` counts in, whatever the file system's own blocks are (stat(2))
_IO = Path("/proc/self/io")
COARSE = 3_600.0  # seconds: uses that are nearer to one another are one, so that none wears flash out


def taken(folder: Path) -> int:
    """Bytes that everything below a folder takes on the disk, itself included; what is gone takes none."""
    total = _blocks(folder)
    for base, below, names in os.walk(folder):
        total += sum(_blocks(Path(base) / name) for name in (*below, *names))
    return total


def last_used(folder: Path) -> float:
    """When a version was used, in seconds since 1970 UTC; 0 for one that is gone."""
    with suppress(OSError):
        return folder.lstat().st_mtime
    return 0.0


def note_use(folder: Path, now: float) -> None:
    """Notes that a version is used; a disk that refuses only makes it a candidate for eviction earlier."""
    with suppress(OSError):
        if abs(now - folder.lstat().st_mtime) >= COARSE:
            os.utime(folder, (now, now), follow_symlinks=False)


def written() -> int:
    """Bytes that this process has had written to storage since it began (proc(5)); 0 where the system does not say."""
    with suppress(OSError, ValueError, IndexError):
        return int(_IO.read_text(encoding="ascii").partition("\nwrite_bytes: ")[2].split()[0])
    return 0


def _blocks(path: Path) -> int:
    with suppress(OSError):
        return path.lstat().st_blocks * BLOCK
    return 0

"""The only place where processes agree on what may not be removed: a lock on a file for each thing, shared by holders.

A lock ends with its process, however that ends, so nothing stays held by the dead.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from modelsyncd.store.durable import Lock, disk_errors, make_folder

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


def hold(path: Path) -> Lock:
    """Holds what the file stands for, beside others; waits while somebody removes it. Raises DiskError."""
    make_folder(path.parent)
    while True:
        descriptor = _locked(path, fcntl.LOCK_SH)
        if descriptor is not None:
            return Lock(descriptor)


def seize(path: Path) -> Lock | None:
    """Has it alone, so that it may be removed, and its file after it; None while anybody holds it. Raises DiskError."""
    make_folder(path.parent)
    try:
        descriptor = _locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    return Lock(descriptor) if descriptor is not None else None


def _locked(path: Path, how: int) -> int | None:
    """A descriptor that has the lock; None when the file was removed before we had it: that lock is worth nothing."""
    with disk_errors(path):
        descriptor = os.open(path, _FLAGS, 0o644)
    try:
        fcntl.flock(descriptor, how)
        if os.path.lexists(path) and os.path.samestat(os.fstat(descriptor), path.lstat()):
            return descriptor
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None

"""A folder whose fsync costs nothing, for tests that make thousands of them and pull no plug."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEMORY = Path("/dev/shm")


@contextmanager
def memory_disk() -> Iterator[Path]:
    """A folder in memory where there is such a file system, anywhere else where not; gone at the end."""
    place = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place, prefix="modelsyncd-test-") as folder:
        yield Path(folder)

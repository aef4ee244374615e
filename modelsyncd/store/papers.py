"""The only place that reads manifests and releases as bytes, and tells a paper that is broken from a disk that is."""

from __future__ import annotations

import errno
from pathlib import Path

from modelsyncd.errors import DamageError
from modelsyncd.store.durable import disk_errors


def read_paper(path: Path) -> bytes:
    """A paper's bytes. Raises DamageError for a bad sector: a paper that is written anew lies elsewhere; DiskError."""
    with disk_errors(path):
        try:
            return path.read_bytes()
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            raise DamageError(
                f"{path} can't be read: {error.strerror}",
                safe="models are not touched",
                hint="it is fetched again with the next try; look at the disk",
            ) from error

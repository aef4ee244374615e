"""The only place that reads and writes small papers as bytes: manifests, releases, orders.

It tells a paper that is broken from a disk that is. Their names are ours alone, so what else has one of them goes.
"""

from __future__ import annotations

import errno
from pathlib import Path

from modelsyncd.digest import Buffer
from modelsyncd.errors import DamageError
from modelsyncd.store.durable import disk_errors, remove_tree, write_file


def read_paper(path: Path) -> bytes:
    """A paper's bytes. Raises DiskError, or DamageError for what heals when the paper is written anew.

    That is a bad sector, because the new one lies elsewhere, or a folder in the paper's place.
    """
    with disk_errors(path):
        try:
            return path.read_bytes()
        except OSError as error:
            if error.errno not in (errno.EIO, errno.EISDIR):
                raise
            raise DamageError(
                f"{path} can't be read: {error.strerror}",
                safe="models are not touched",
                hint="it is fetched again with the next try; look at the disk",
            ) from error


def write_paper(path: Path, data: Buffer) -> None:
    """As `durable.write_file`, and whatever folder has the paper's name is removed. Raises DiskError."""
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    write_file(path, data)

"""The only place that says which versions on a node a transfer may be coded against, and finds their files.

Versions that are marked as damaged are none. What is named here is not pruned while the transfer is under way
(`reconcile`); when it goes all the same, the chunks that needed it come again without a base.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from modelsyncd.digest import Digest, short
from modelsyncd.errors import DamageError, NotFoundError
from modelsyncd.names import ModelName
from modelsyncd.store.folder import Folder
from modelsyncd.store.tree import EdgeTree, Shown
from modelsyncd.store.usage import note_use
from modelsyncd.store.version import Version

BASES = 16  # manifests that are named to the giver: each may cost it a look


def likely(shown: Shown, model: ModelName, besides: Digest) -> tuple[Digest, ...]:
    """Manifests that are here whole, the likeliest first, without `besides`.

    The same model's come before other models', what is active before what is not, and then the newest.
    """
    active = set(shown.active.values())

    def rank(version: Version) -> tuple[bool, bool, int, Version]:
        return (version.model != model, version not in active, -version.number, version)

    ranked = dict.fromkeys(version.manifest for version in sorted(shown.held, key=rank))
    return tuple(manifest for manifest in ranked if manifest != besides)[:BASES]


class VersionFiles:
    """`store.held.Files` of a version in its folder. Holds paths and sizes, no chunk lists."""

    def __init__(self, folder: Folder, paths: Sequence[str], sizes: Sequence[int]) -> None:
        self._folder = folder
        self._paths = paths
        self._sizes = sizes

    @property
    def sizes(self) -> Sequence[int]:
        """Bytes of each file."""
        return self._sizes

    def range(self, file: int, offset: int, size: int) -> bytes:
        """Exactly `size` bytes of a file. Raises DamageError when there are fewer, DiskError."""
        plain = self._folder.read(self._paths[file], offset, size)
        if len(plain) != size:
            raise DamageError(f"{self._folder.path / self._paths[file]} is shorter than it should be")
        return plain

    def close(self) -> None:
        """Lets go of descriptors."""
        self._folder.close()


def find(tree: EdgeTree, manifest: Digest) -> VersionFiles:
    """The files of a version with this content. Raises NotFoundError, DamageError, DiskError."""
    for version in tree.versions():
        if version.manifest == manifest:
            files = tree.manifest(manifest).files
            sizes = [file.size for file in files]
            note_use(tree.layout.version(version), time.time())
            return VersionFiles(Folder(tree.layout.version(version)), [file.path for file in files], sizes)
    raise NotFoundError(f"no version with manifest {short(manifest)} is whole here")

"""The only place that lists what lies on this node of one model, for people: versions, where, and how large."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from modelsyncd.errors import BadInputError, DamageError, NotFoundError
from modelsyncd.names import ModelName, ModelRef
from modelsyncd.store.tree import EdgeTree
from modelsyncd.store.version import Version


@dataclass(frozen=True, slots=True)
class Lying:
    """A version on the disk; `path` as jobs get it, `size` in plain bytes.

    `variant` is which form of its release it is, "" when that can't be read.
    """

    version: Version
    path: Path
    size: int
    whole: bool
    variant: str = ""


class Inventory(Protocol):
    """What lies here. Synchronous: the caller hops to a thread."""

    def versions(self, model: ModelName) -> Sequence[Lying]:
        """All of a model, newest first, the damaged ones, too. Raises DiskError, DamageError."""

    def previous(self, ref: ModelRef) -> int:
        """The number that a channel goes back to; 0 for none. Raises DiskError."""


class TreeInventory:
    """That of a node's folder."""

    def __init__(self, tree: EdgeTree) -> None:
        self._tree = tree

    def versions(self, model: ModelName) -> Sequence[Lying]:
        """As in `Inventory`."""
        shown = self._tree.observed()
        here = [one for one in shown.held | shown.damaged if one.model == model]
        newest_first = sorted(here, key=lambda one: (one.number, one.manifest), reverse=True)
        return [self._lying(one, whole=one in shown.held) for one in newest_first]

    def previous(self, ref: ModelRef) -> int:
        """As in `Inventory`."""
        version = self._tree.previous(ref)
        return version.number if version is not None else 0

    def _lying(self, version: Version, *, whole: bool) -> Lying:
        manifest = self._tree.manifest(version.manifest)
        only = manifest.files[0].path if len(manifest.files) == 1 else ""
        path = self._tree.layout.version(version) / only
        return Lying(version, path, manifest.content_size, whole, self._variant(version))

    def _variant(self, version: Version) -> str:
        """Raises DiskError."""
        try:
            return self._tree.release(version).variant(version.manifest).name
        except (DamageError, NotFoundError, BadInputError):
            return ""

"""The only place that lists what lies on this node of one model, for people: versions, where, and how large."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from modelsyncd.names import ModelName, ModelRef
from modelsyncd.store.tree import EdgeTree
from modelsyncd.store.version import Version


@dataclass(frozen=True, slots=True)
class Lying:
    """A version on the disk; `path` as jobs get it, `size` in plain bytes."""

    version: Version
    path: Path
    size: int
    whole: bool


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
        return Lying(version, self._tree.layout.version(version) / only, manifest.content_size, whole)

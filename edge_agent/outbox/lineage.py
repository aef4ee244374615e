"""The only place that says what a publication came from, and what on this node it may be coded against."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.bases import BASES, likely
from edge_agent.outbox.words import Origin
from modelsyncd.digest import Digest
from modelsyncd.errors import ModelsyncError, NotFoundError
from modelsyncd.names import ModelName
from modelsyncd.release import Parent
from modelsyncd.store.tree import EdgeTree
from modelsyncd.store.version import Version

if TYPE_CHECKING:
    from modelsyncd.exchange.local_base import LocalBase


class Lineage:
    """What lies in a node's tree, as outbox items need it. Every method blocks."""

    def __init__(self, tree: EdgeTree) -> None:
        self._tree = tree

    def parents(self, origins: Sequence[Origin]) -> tuple[Parent, ...]:
        """The releases that these name now. Raises NotFoundError for one that is not on this node, DiskError."""
        return tuple(self._parent(origin) for origin in origins)

    def next_number(self, model: ModelName) -> int:
        """A guess at the number of the next release: one more than the newest that is here."""
        return max((version.number for version in self._tree.versions(model)), default=0) + 1

    def bases(self, model: ModelName, parents: Sequence[Parent], besides: Digest) -> list[LocalBase]:
        """Versions that are here whole, parents first, then the likeliest. What can't be read is left out."""
        numbers = {(parent.model, parent.number) for parent in parents}
        ancestors = [one.manifest for one in self._tree.versions() if (one.model, one.number) in numbers]
        try:
            others = likely(self._tree.observed(), model, besides)
        except ModelsyncError:
            others = ()
        named = [manifest for manifest in dict.fromkeys((*ancestors, *others)) if manifest != besides]
        return list(self._found(named[:BASES]))

    def _parent(self, origin: Origin) -> Parent:
        version = self._version(origin)
        if version is None:
            raise NotFoundError(
                f"{origin.ref} is not on this node, so nothing can be named as made from it",
                safe="nothing was stored",
                hint="name a release that is here (modelsyncctl show lists them), or none",
            )
        return Parent(version.model, version.number, self._tree.release_digest(version), origin.role)

    def _version(self, origin: Origin) -> Version | None:
        ref = origin.ref
        if ref.number is None:
            return self._tree.active(ref)
        found = [one for one in self._tree.versions(ref.model) if one.number == ref.number]
        return found[0] if found else None

    def _found(self, manifests: Sequence[Digest]) -> Iterator[LocalBase]:
        for manifest in manifests:
            folder = next(iter(self._tree.folders(manifest)), None)
            if folder is not None:
                with suppress(ModelsyncError):
                    yield local_base(folder, manifest, self._tree.manifest_bytes(manifest))


def local_base(folder: Path, name: Digest, manifest_bytes: bytes) -> LocalBase:
    """A folder to code against, with the manifest's bytes. Raises BadInputError, LimitError."""
    from modelsyncd.exchange.local_base import LocalBase  # noqa: PLC0415 - an agent that publishes nothing needs it not
    from modelsyncd.store.source import Source  # noqa: PLC0415
    from modelsyncd.wire.nouns import decode_manifest  # noqa: PLC0415

    manifest = decode_manifest(manifest_bytes)
    return LocalBase(folder, Source(manifest, [str(folder / file.path) for file in manifest.files]), name)

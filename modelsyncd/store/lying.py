"""The only place that lists what lies in a node's folder, and removes papers there that nothing needs any more."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from modelsyncd.digest import Digest
from modelsyncd.errors import BadInputError
from modelsyncd.names import ModelName, parse_model
from modelsyncd.store import durable
from modelsyncd.store.failpoints import Point, passing
from modelsyncd.store.layout import VERSIONS, Layout, staged_digest
from modelsyncd.store.version import Version

About = Callable[[Path], Collection[Version]]
"""The versions that a file in `releases` is about; none when it is damaged."""


def names(folder: Path) -> list[str]:
    """What is right in a folder, by name; nothing when there is none. Raises DiskError."""
    with durable.disk_errors(folder):
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def models(layout: Layout) -> Iterator[ModelName]:
    """Every model that has a folder. Raises DiskError."""
    for namespace in names(layout.models):
        for name in names(layout.models / namespace):
            with suppress(BadInputError):
                yield parse_model(f"{namespace}/{name}")


def target(link: Path) -> str | None:
    """What a symlink says; None for what is none. Raises DiskError."""
    with durable.disk_errors(link):
        return str(link.readlink()) if link.is_symlink() else None


def staged(layout: Layout) -> frozenset[Digest]:
    """Manifests of which something is on its way here, also from an earlier run. Raises DiskError."""
    found = (staged_digest(name) for name in names(layout.staging))
    return frozenset(digest for digest in found if digest is not None)


def remove_orphans(layout: Layout, known: Mapping[Version, Digest], about: About) -> None:
    """Removes releases whose versions are gone, and manifests that no version, `known` or not, or staging needs.

    `known` says each version's release. Raises DiskError.
    """
    releases = {digest.hex() for digest in known.values()}
    for name in names(layout.releases):
        path = layout.releases / name
        versions = about(path) if name not in releases else []
        if versions and all(one in known or not layout.version(one).is_dir() for one in versions):
            durable.remove_file(path)
            passing(Point.PAPERS_REMOVED)
    manifests = {version.manifest.hex() for version in known} | {one.hex() for one in staged(layout)}
    folders = [name for model in models(layout) for name in names(layout.model(model) / VERSIONS)]
    lying = {name.rpartition("-")[2] for name in folders}
    for name in names(layout.manifests):
        if name not in manifests and name[:12] not in lying:
            durable.erase(layout.manifests / name)  # one that comes back after a power cut goes again

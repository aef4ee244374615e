"""The only place that removes papers from a node's folder that nothing there needs any more."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from modelsyncd.digest import Digest
from modelsyncd.store import durable
from modelsyncd.store.failpoints import Point, passing
from modelsyncd.store.inside import models, names, staged
from modelsyncd.store.layout import VERSIONS, Layout
from modelsyncd.store.version import Version

About = Callable[[Path], Collection[Version]]
"""The versions that a file in `releases` is about; none when it is damaged."""


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
    kept = {name.rpartition("-")[2] for name in folders}
    for name in names(layout.manifests):
        if name not in manifests and name[:12] not in kept:
            durable.erase(layout.manifests / name)  # one that comes back after a power cut goes again

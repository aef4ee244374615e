"""Versions that are on a node already, put there by the store itself and without a hub."""

from __future__ import annotations

from pathlib import Path

from modelsyncd.names import parse_ref
from modelsyncd.store.staging import Staging
from modelsyncd.store.tree import EdgeTree
from modelsyncd.store.version import Version
from modelsyncd.wire import nouns
from tests.fakes.publisher import Publication


def install(data: Path, what: Publication) -> Version:
    """Makes a publication a whole version below an agent's folder."""
    tree = EdgeTree(data, nouns)
    tree.prepare()
    return install_in(tree, what)


def install_in(tree: EdgeTree, what: Publication) -> Version:
    """The same in a folder that is open already."""
    manifest = tree.put_manifest(what.manifest, b"".join(what.manifest_pieces))
    staging = Staging(tree.layout.staged(what.manifest), manifest)
    staging.prepare()
    staging.write(list(enumerate(what.chunks)))
    version = Version(what.release.model, what.release.number, what.manifest)
    tree.install(version, what.offer.release, staging)
    return version


def activate(data: Path, ref: str, version: Version) -> None:
    """Leads a channel to a version."""
    EdgeTree(data, nouns).activate(parse_ref(ref), version)

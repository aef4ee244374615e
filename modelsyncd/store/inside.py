"""The only place that lists what is inside a node's folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from modelsyncd.digest import Digest
from modelsyncd.errors import BadInputError
from modelsyncd.names import ModelName, parse_model
from modelsyncd.store import durable
from modelsyncd.store.layout import Layout, staged_digest


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

"""The only place that knows where things lie in a node's folder.

    manifests/<hex>                      exact bytes of a manifest, by its digest
    releases/<hex>                       exact bytes of a signed release, by the digest of the release
    staging/<hex>/                       a version on its way, by the digest of its manifest
    staging/<hex>.manifest/              a manifest on its way
    models/<namespace>/<name>/
        versions/<number>-<digest12>/    a version, whole; read-only files
        versions/<number>-<digest12>.damaged   a mark: bytes of that version are wrong, nobody is switched to it
        <channel>                        symlink to versions/…, relative
        .<channel>.previous              symlink to what the channel led to before

Names are judged again here, because from here on they are paths.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from modelsyncd.digest import Digest
from modelsyncd.names import DEFAULT_CHANNEL, ModelName, ModelRef, parse_channel, parse_model
from modelsyncd.store.version import Version

VERSIONS = "versions"
_STAGED = re.compile(r"([0-9a-f]{64})(?:\.manifest)?")


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below a node's folder; nothing here touches the disk. Raises InvalidNameError for names that are none."""

    root: Path

    @property
    def manifests(self) -> Path:
        """Folder of the manifests."""
        return self.root / "manifests"

    @property
    def releases(self) -> Path:
        """Folder of the releases."""
        return self.root / "releases"

    @property
    def staging(self) -> Path:
        """Folder of what is on its way."""
        return self.root / "staging"

    @property
    def models(self) -> Path:
        """Folder that jobs read."""
        return self.root / "models"

    def manifest(self, digest: Digest) -> Path:
        """File of a manifest."""
        return self.manifests / digest.hex()

    def release(self, digest: Digest) -> Path:
        """File of a signed release."""
        return self.releases / digest.hex()

    def staged(self, manifest: Digest) -> Path:
        """Folder where a version is assembled."""
        return self.staging / manifest.hex()

    def staged_manifest(self, manifest: Digest) -> Path:
        """Folder where a manifest is assembled."""
        return self.staging / f"{manifest.hex()}.manifest"

    def model(self, model: ModelName) -> Path:
        """Folder of a model."""
        judged = parse_model(str(model))
        return self.models / judged.namespace / judged.name

    def version(self, version: Version) -> Path:
        """Folder of a version."""
        return self.model(version.model) / VERSIONS / version.folder_name

    def damage_mark(self, version: Version) -> Path:
        """File that says that the version is damaged."""
        return self.model(version.model) / VERSIONS / f"{version.folder_name}.damaged"

    def channel(self, ref: ModelRef) -> Path:
        """Symlink of a channel."""
        return self.model(ref.model) / parse_channel(ref.channel or DEFAULT_CHANNEL)

    def previous(self, ref: ModelRef) -> Path:
        """Symlink to what the channel led to before."""
        link = self.channel(ref)
        return link.with_name(f".{link.name}.previous")


def target_of(version: Version) -> str:
    """What a channel's symlink says when it leads to the version."""
    return f"{VERSIONS}/{version.folder_name}"


def staged_digest(name: str) -> Digest | None:
    """The manifest that a folder in `staging` belongs to; None for a name that is not ours."""
    match = _STAGED.fullmatch(name)
    return Digest(bytes.fromhex(match[1])) if match else None

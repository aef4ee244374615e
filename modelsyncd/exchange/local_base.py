"""The only place that says what lies on this machine to code against: a folder or file with its manifest's name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from modelsyncd.digest import Digest, to_text
from modelsyncd.store.source import Source


@dataclass(frozen=True, slots=True)
class LocalBase:
    """A folder or file, and the manifest that it would be published with: that is its `name`."""

    path: Path
    source: Source
    name: Digest

    def describe(self) -> dict[str, object]:
        """For programs."""
        return {"path": str(self.path), "manifest_digest": to_text(self.name)}

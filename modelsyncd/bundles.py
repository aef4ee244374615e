"""The only place that puts the trees of several releases together into one: a bundle's manifest. Pure.

Each member's files lie below the folder that is its place, with chunks, layouts and hashes as they are: whoever has a
member's chunks has those of the bundle, and the next version of a bundle resembles this one as its members do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from modelsyncd.limits import LIMITS, Limits
from modelsyncd.manifest import Chunking, Manifest, check
from modelsyncd.names import parse_place


def compose(parts: Mapping[str, Manifest], limits: Limits = LIMITS) -> Manifest:
    """The manifest of a bundle, from its members' by place.

    Raises InvalidNameError for what is no place, HostilePathError for paths that become too long or deep, LimitError.
    """
    files = [
        replace(file, path=f"{parse_place(place)}/{file.path}")
        for place, manifest in parts.items()
        for file in manifest.files
    ]
    laws = {manifest.chunking for manifest in parts.values()}
    chunking = laws.pop() if len(laws) == 1 else Chunking()
    return check(Manifest(tuple(sorted(files, key=lambda file: file.path)), chunking), limits)

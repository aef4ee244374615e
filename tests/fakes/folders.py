"""Folders to publish, for tests: written from a few words, and read back through their chunks."""

from __future__ import annotations

import random
from pathlib import Path

from modelsyncd.manifest import Chunking, ChunkTable, Manifest
from modelsyncd.store.source import Source

SMALL = Chunking(step=1000, smallest=64, average=256, largest=1024)


def noise(size: int, seed: int = 1) -> bytes:
    """So many bytes that do not repeat."""
    return random.Random(seed).randbytes(size)


def put(root: Path, **contents: bytes) -> Path:
    """A folder with these files; `__` in a name is a /."""
    for name, content in contents.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def contents(source: Source) -> dict[str, bytes]:
    """Each file, put together from its chunks."""
    parts: dict[str, list[bytes]] = {file.path: [] for file in source.manifest.files}
    for chunk in ChunkTable(source.manifest):
        parts[source.manifest.files[chunk.file].path].append(source.read(chunk.ordinal))
    return {path: b"".join(chunks) for path, chunks in parts.items()}


def files(manifest: Manifest) -> list[str]:
    """The paths of a manifest."""
    return [file.path for file in manifest.files]

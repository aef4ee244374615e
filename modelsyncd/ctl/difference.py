"""What differs between two manifests: pure, and the only place that counts it."""

from __future__ import annotations

from dataclasses import dataclass

from modelsyncd.digest import Digest
from modelsyncd.manifest import ChunkTable, File, Manifest


@dataclass(frozen=True, slots=True)
class Difference:
    """From one version to another. Paths are ascending; bytes are plain.

    `travel_bytes` is what a node that holds only the first would fetch for the second, before compression: each chunk
    that is nowhere in the first, once.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    same: tuple[str, ...]
    chunks: int
    chunks_shared: int
    total_bytes: int
    travel_chunks: int
    travel_bytes: int


def difference(before: Manifest, after: Manifest) -> Difference:
    """What changes from `before` to `after`."""
    old = {file.path: file for file in before.files}
    new = {file.path: file for file in after.files}
    both = [path for path in new if path in old]
    held = {chunk.digest for chunk in ChunkTable(before)}
    shared = 0
    travelling: dict[Digest, int] = {}
    for chunk in ChunkTable(after):
        if chunk.digest in held:
            shared += 1
        else:
            travelling[chunk.digest] = chunk.size
    return Difference(
        added=tuple(path for path in new if path not in old),
        removed=tuple(path for path in old if path not in new),
        changed=tuple(path for path in both if not _equal(old[path], new[path])),
        same=tuple(path for path in both if _equal(old[path], new[path])),
        chunks=after.chunk_count,
        chunks_shared=shared,
        total_bytes=after.content_size,
        travel_chunks=len(travelling),
        travel_bytes=sum(travelling.values()),
    )


def _equal(one: File, other: File) -> bool:
    return (one.size, one.sha256, one.executable) == (other.size, other.sha256, other.executable)

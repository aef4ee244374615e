"""What the size of a chunk costs and saves: `python -m benchmarks.chunk_sizes OLD NEW`, for two versions of a model."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.table import machine, show
from modelsyncd.bases import gather
from modelsyncd.chunker import check
from modelsyncd.codec.registry import READABLE, encode
from modelsyncd.manifest import Chunking, ChunkTable
from modelsyncd.matching import Hints, match
from modelsyncd.store.source import Source, scan
from modelsyncd.wire.manifests import encode_manifest

STEPS = (64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20)  # bytes


@dataclass(frozen=True, slots=True)
class Cost:
    """What an update costs at one size of chunks, in bytes, and how long coding it took, in seconds."""

    full: int
    chunks: int
    changed: int
    manifest: int
    plain: int
    coded: int
    seconds: float


def chunking(step: int) -> Chunking:
    """Steps of so many bytes, and content cut around the same size."""
    return check(Chunking(step=step, smallest=step // 4, average=step, largest=4 * step))


def cost(old: Path, new: Path, step: int) -> Cost:
    """Codes every chunk that the old version has not, against what it resembles there."""
    base, source = scan(old, chunking(step)), scan(new, chunking(step))
    held = {chunk.digest for chunk in ChunkTable(base.manifest)}
    missing = [chunk for chunk in ChunkTable(source.manifest) if chunk.digest not in held]
    began = time.process_time()
    coded = _coded(base, source, [chunk.ordinal for chunk in missing])
    seconds = time.process_time() - began
    return Cost(
        full=source.manifest.content_size,
        chunks=source.manifest.chunk_count,
        changed=len(missing),
        manifest=len(encode_manifest(source.manifest)),
        plain=sum(chunk.size for chunk in missing),
        coded=coded,
        seconds=seconds,
    )


def _coded(base: Source, source: Source, ordinals: list[int]) -> int:
    found = match(source.manifest, base.manifest, source.range, base.range)
    hints = Hints(source.manifest)
    total = 0
    for ordinal in ordinals:
        plain, runs = source.read(ordinal), found.runs(ordinal)
        like = gather(runs, base.range) if runs else None
        total += len(encode(plain, READABLE, hints.of(ordinal), like)[1])
    return total


def main() -> None:
    """Prints one table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chunk_sizes", description=__doc__)
    parser.add_argument("old", type=Path, help="a file or folder: what the other side holds")
    parser.add_argument("new", type=Path, help="the same model later")
    asked = parser.parse_args()
    print(machine())
    rows = []
    for step in STEPS:
        one = cost(asked.old, asked.new, step)
        rows.append(
            (
                f"{step >> 10} KiB",
                one.chunks,
                one.manifest,
                f"{one.manifest / (one.full / (1 << 20)):.0f}",
                f"{100 * one.changed / one.chunks:.1f} %",
                f"{100 * one.coded / one.full:.2f} %",
                f"{100 * (one.coded + one.manifest) / one.full:.2f} %",
                f"{one.plain / max(one.seconds, 1e-9) / 1e6:.0f}",
            )
        )
    show(
        f"{asked.old} → {asked.new}",
        ("step", "chunks", "manifest, bytes", "bytes per MiB", "changed", "coded", "with manifest", "MB/s of CPU"),
        rows,
    )


if __name__ == "__main__":
    main()

"""A push of what the hub has already: the time beyond reading and hashing it."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Protocol

import blake3

from benchmarks.lab import lab, random_file
from benchmarks.table import show


def run(root: Path, gib: float) -> None:
    """Prints one table."""
    model = root / "same.bin"
    random_file(model, int(gib * (1 << 30)))
    with lab(root / "lab") as here:
        here.ctl("push", str(model), "bench/same")
        began = time.monotonic()
        done = here.ctl("push", str(model), "bench/same")
        whole = time.monotonic() - began
    began = time.monotonic()
    here_read = _read_and_hash(model, blake3.blake3(), hashlib.sha256())
    floor = time.monotonic() - began
    began = time.monotonic()
    _read_and_hash(model, blake3.blake3())
    alone = time.monotonic() - began
    with lab(root / "empty") as here:
        began = time.monotonic()
        here.ctl("list")
        start = time.monotonic() - began
    show(
        f"Push of {gib:g} GiB that is there already (created: {done['created']}, {done['bytes_wire']} bytes sent)",
        ("what", "seconds"),
        [
            ("the whole command", whole),
            (f"reading the file once, BLAKE3 and SHA-256 ({here_read / 1e6:.0f} MB, one thread)", floor),
            (f"reading the file once, BLAKE3 alone: the push has {alone / whole:.2f} of this speed", alone),
            ("a command that only asks (`modelsyncctl list`): start and connection", start),
            ("beyond reading and hashing", whole - floor),
        ],
    )


class _Hash(Protocol):
    def update(self, data: bytes, /) -> object: ...


def _read_and_hash(path: Path, *hashes: _Hash) -> int:
    size = 0
    with path.open("rb", buffering=0) as file:
        while block := file.read(8 << 20):
            for each in hashes:
                each.update(block)
            size += len(block)
    return size

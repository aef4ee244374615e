"""A push of what the hub has already: the time beyond reading and hashing it."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

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
    here_read = _read_and_hash(model)
    floor = time.monotonic() - began
    began = time.monotonic()
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
            ("a command that only asks (`modelsyncctl list`): start and connection", start),
            ("beyond reading and hashing", whole - floor),
        ],
    )


def _read_and_hash(path: Path) -> int:
    sha256, name, size = hashlib.sha256(), blake3.blake3(), 0
    with path.open("rb", buffering=0) as file:
        while block := file.read(8 << 20):
            sha256.update(block)
            name.update(block)
            size += len(block)
    return size

"""Cost against size: bytes of one file, and number of files."""

from __future__ import annotations

import os
import time
from pathlib import Path

from benchmarks.lab import Lab, lab, until
from benchmarks.memory import sparse_model
from benchmarks.table import show


def run(root: Path, gibs: list[float], counts: list[int]) -> None:
    """Prints two tables."""
    with lab(root / "lab") as here, here.agent("node") as (agent, data):
        rows = []
        for gib in gibs:
            model = root / "sized.bin"
            sparse_model(model, int(gib * (1 << 30)))
            push, sync = _both(here, data, model, f"bench/gib-{gib:g}".replace(".", "-"))
            rows.append((f"{gib:g} GiB", push, push / gib, sync, sync / gib, agent.peak(), here.hub.peak()))
            model.unlink()
        columns = ("model", "push, s", "s per GiB", "sync, s", "s per GiB", "agent peak, MB", "hub peak, MB")
        show("One file, sparse-made: every chunk differs, most of each is zeros", columns, rows)
        many: list[tuple[object, ...]] = []
        for count in counts:
            folder = root / f"files-{count}"
            folder.mkdir()
            for number in range(count):
                (folder / f"{number:06}.bin").write_bytes(os.urandom(1_000))
            push, sync = _both(here, data, folder, f"bench/files-{count}")
            many.append((count, push, push / count * 1e3, sync, sync / count * 1e3))
        show("Files of 1,000 random bytes", ("files", "push, s", "ms per file", "sync, s", "ms per file"), many)


def _both(here: Lab, data: Path, model: Path, name: str) -> tuple[float, float]:
    """Seconds to push, and then to be active on the node."""
    began = time.monotonic()
    here.ctl("push", str(model), name, "--channel", "stable")
    push = time.monotonic() - began
    link = data / "models" / name / "stable"
    began = time.monotonic()
    here.ctl("assign", f"{name}@stable", "--node", "node")
    until(link.is_symlink)
    return push, time.monotonic() - began

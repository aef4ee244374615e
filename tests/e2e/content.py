"""Folders to publish: the same bytes for the same seed in one test, and nothing that a codec could make smaller.

Tests share a hub, and a hub asks for no chunk twice: two tests must not publish the same bytes by chance.
"""

from __future__ import annotations

import random
from pathlib import Path


def folder(path: Path, seed: int = 1, size: int = 2_000_000) -> Path:
    """A folder with a big file, a small one in a folder below, and an executable."""
    test = path.parent.name  # pytest's folder for one test
    (path / "deep").mkdir(parents=True)
    (path / "weights.bin").write_bytes(random.Random(f"{test} {seed}").randbytes(size))
    (path / "deep" / "config.json").write_text(f'{{"layers": {seed}, "of": "{test}"}}\n')
    (path / "run.sh").write_text(f"#!/bin/sh\n# {test}\nexit {seed}\n")
    (path / "run.sh").chmod(0o755)
    return path


def change(path: Path, seed: int = 2, at: int = 1_000_000, length: int = 1_000) -> Path:
    """Writes over a run of the big file."""
    with (path / "weights.bin").open("r+b") as file:
        file.seek(at)
        file.write(random.Random(seed).randbytes(length))
    return path


def tree(path: Path) -> dict[str, tuple[bytes, bool]]:
    """All files below: their bytes, and whether they may be run."""
    return {
        str(file.relative_to(path)): (file.read_bytes(), bool(file.stat().st_mode & 0o100))
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }

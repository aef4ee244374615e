"""Fuzzes every reader of layouts: `python -m tests.fuzz.fuzz_formats -max_total_time=60 [CORPUS]`.

The flags are libFuzzer's. The first byte of an input chooses the file's name, the rest is its content. What must hold:
no error, no tensor outside the file or over another, no more read than the budget.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["modelsyncd.formats", "modelsyncd.chunker"]):
    from modelsyncd.chunker import grid
    from modelsyncd.formats import read_elsewhere, read_layout
    from modelsyncd.limits import Limits
    from modelsyncd.manifest import Chunking

from tests.fakes.layouts import check_sound
from tests.fakes.model_samples import SAMPLES

LIMITS = Limits(layout_steps=5_000, layout_bytes=1 << 20, layout_tensors=200)
NAMES = sorted(SAMPLES)
CHUNKING = Chunking(step=256, smallest=64, average=256, largest=1024)
_ONE_READ = 4 << 10  # bytes: a window may be filled when as much as this is left of the budget


def one(data: bytes) -> None:
    """One file: its name by the first byte, the rest its content."""
    if not data:
        return
    path, content = SAMPLES[NAMES[data[0] % len(NAMES)]].path, data[1:]
    asked = 0

    def read_at(offset: int, length: int) -> bytes:
        nonlocal asked
        asked += length
        return content[offset : offset + length]

    layout = read_layout(path, len(content), read_at, LIMITS)
    check_sound(layout, len(content))
    if layout is not None:
        stretches = grid(len(content), layout.tensors, CHUNKING)
        assert sum(stretch.size for stretch in stretches) == len(content)
    for other in read_elsewhere(path, {path: len(content), "d": 4096}, read_at, LIMITS).values():
        check_sound(other, 4096)
    assert asked <= 2 * LIMITS.layout_bytes + _ONE_READ


def seed(folder: Path) -> None:
    """Writes the samples as files to begin with."""
    for index, name in enumerate(NAMES):
        (folder / f"sample-{name}").write_bytes(bytes([index]) + SAMPLES[name].content)


def main() -> None:
    """Runs until libFuzzer's flags say stop; exits with 77 and a file `crash-…` when something does not hold."""
    with tempfile.TemporaryDirectory(prefix="fuzz-formats-") as made:
        seed(Path(made))
        atheris.Setup([*sys.argv, made], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()

"""Weights of a model that is trained further: float32 in safetensors, all of them a little different each time."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tests.fakes.model_files import safetensors_file, safetensors_header

Weights = dict[str, npt.NDArray[np.float32]]
SIDE = 512  # rows and columns of a layer: 1 MiB


def weights(seed: str, layers: int) -> Weights:
    """A model that nobody else has: `layers` MiB of noise as weights are."""
    rng = np.random.default_rng(zlib.crc32(seed.encode()))
    return {
        f"layer.{number}.weight": rng.standard_normal((SIDE, SIDE), dtype=np.float32) * np.float32(0.05)
        for number in range(layers)
    }


def trained(before: Weights, seed: int = 1, step: float = 1e-6) -> Weights:
    """All weights moved by about `step`."""
    rng = np.random.default_rng(seed)
    return {
        name: one + rng.standard_normal(one.shape, dtype=np.float32) * np.float32(step) for name, one in before.items()
    }


def as_bytes(model: Weights) -> bytes:
    """The file."""
    header = safetensors_header({name: ("F32", one.shape) for name, one in model.items()})
    padded = header + b" " * (-len(header) % 8)
    return safetensors_file(padded, b"".join(one.tobytes() for one in model.values()))


def saved(model: Weights, folder: Path) -> Path:
    """A folder to publish."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(as_bytes(model))
    (folder / "config.json").write_text('{"of": "tests"}\n')
    return folder

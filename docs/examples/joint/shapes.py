"""What is to be told apart: arms of a spiral. A third arm comes in later, so old and new models differ."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from docs.examples.machine import Array, Machine

LITTLE, BIG = 12, 600  # waves
NOISE = 0.03


def points(arms: int, count: int, *, seed: int) -> tuple[Array, Array]:
    """Places, and for each a row with a one for its arm."""
    chance = np.random.default_rng(seed)
    arm = chance.integers(0, arms, count)
    along = chance.uniform(0.1, 1, count)
    angle = 8 * along + 2 * np.pi * arm / arms
    places = np.stack([along * np.cos(angle), along * np.sin(angle)], axis=1) + chance.normal(0, NOISE, (count, 2))
    return places.astype(np.float32), np.eye(arms, dtype=np.float32)[arm]


def train(folder: Path, waves: int, arms: int) -> Path:
    """A model that tells so many arms apart; its folder, with what the columns of its answers mean."""
    Machine.trained(waves, *points(arms, 600, seed=1)).save(folder / "weights.npy")
    (folder / "classes.json").write_text(json.dumps([f"arm-{index}" for index in range(arms)]))
    return folder


def classes(folder: Path) -> list[str]:
    """What a model's answers mean."""
    return [str(name) for name in json.loads((folder / "classes.json").read_text())]

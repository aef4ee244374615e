"""A model small enough for examples: waves of random frequencies, and how much of each makes the answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
RIDGE = 1e-3  # how much is paid for large weights


class Machine:
    """Learns any smooth function, the better the more waves it has. Its file has the weights, and nothing else."""

    def __init__(self, weights: Array, spread: float = 3.0) -> None:
        """`weights` has a row for each wave, and a column for each answer."""
        self.weights = weights
        self._spread = spread

    @classmethod
    def trained(cls, waves: int, inputs: Array, answers: Array, spread: float = 3.0) -> Machine:
        """The best one for these inputs (a row each) and answers."""
        seen = _waves(inputs, waves, spread)
        inner = seen @ seen.T + RIDGE * len(seen) * np.eye(len(seen), dtype=np.float32)
        return cls((seen.T @ np.linalg.solve(inner, answers)).astype(np.float32), spread)

    def answer(self, inputs: Array) -> Array:
        """A row for each input."""
        return np.asarray(_waves(inputs, len(self.weights), self._spread) @ self.weights, dtype=np.float32)

    def save(self, path: Path) -> Path:
        """Writes it there, in whatever folder."""
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, self.weights)
        return path

    @classmethod
    def load(cls, path: Path, spread: float = 3.0) -> Machine:
        """What `save` wrote."""
        return cls(np.load(path), spread)


def _waves(inputs: Array, count: int, spread: float) -> Array:
    """The same waves in every process, so that they need not be in the file."""
    chance = np.random.default_rng(count)
    frequencies = chance.normal(scale=spread, size=(inputs.shape[1], count)).astype(np.float32)
    phases = chance.uniform(0, 2 * np.pi, count).astype(np.float32)
    return np.asarray(np.cos(inputs @ frequencies + phases) * np.sqrt(2 / count), dtype=np.float32)

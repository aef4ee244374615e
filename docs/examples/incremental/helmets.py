"""What the job is about: telling helmets from other round things by sixty numbers for each, with a model in numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
FEATURES = 60


def things(count: int, seed: int, mislabelled: float = 0.0) -> tuple[Array, Array]:
    """So many things and whether each is a helmet; a share of the answers is wrong."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 2, count).astype(np.float64)
    seen = random.normal(0, 1, (count, FEATURES)) + 0.25 * (2 * truth[:, None] - 1)
    wrong = random.random(count) < mislabelled
    return seen, np.where(wrong, 1 - truth, truth)


class Estimator:
    """Logistic regression, with the methods that Sedna's library calls."""

    def __init__(self) -> None:
        self._weights: Array = np.zeros(FEATURES + 1)

    def load(self, model_url: str = "") -> None:
        """Raises ValueError for a file that is no model."""
        with Path(model_url).open("rb") as file:
            weights = np.load(file, allow_pickle=False)
        if weights.shape != (FEATURES + 1,):
            raise ValueError(f"{model_url} is a model of something else")
        self._weights = weights

    def save(self, path: str) -> None:
        """Writes the weights."""
        with Path(path).open("wb") as file:
            np.save(file, self._weights)

    def predict(self, data: Array) -> Array:
        """How likely each is a helmet."""
        return np.asarray(1 / (1 + np.exp(-(data @ self._weights[1:] + self._weights[0]))))

    def train(self, train_data: tuple[Array, Array], valid_data: object = None) -> dict[str, list[float]]:
        """Begins with the weights that there are; says how good it is on what it saw."""
        seen, truth = train_data
        for _ in range(300):
            error = self.predict(seen) - truth
            slope = np.concatenate([[error.mean()], seen.T @ error / len(truth)])
            self._weights = self._weights - 0.5 * slope
        return self.measured(train_data)

    def evaluate(self, data: tuple[Array, Array], model_path: str = "") -> dict[str, list[float]]:
        """How good a model is; Sedna wants each number as a list, one for each class."""
        self.load(model_path)
        return self.measured(data)

    def measured(self, data: tuple[Array, Array]) -> dict[str, list[float]]:
        """Precision and recall."""
        seen, truth = data
        called = self.predict(seen) > 0.5
        right = float((called & (truth > 0.5)).sum())
        return {"precision": [right / max(1, int(called.sum()))], "recall": [right / float(truth.sum())]}

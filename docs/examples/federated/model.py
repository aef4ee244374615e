"""The model that is learned, and the data of each node: a small network in numpy, and points around hidden centres.

The data are made, and not alike: each node sees most of its points from a few classes that others hardly see. So what
one node learns alone is poor, and what they learn together is not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

INPUTS, CLASSES = 32, 10
BATCH = 32
STEP = 6.4  # learning rate times units: what is wide learns in small steps
SEED = 20_077

Floats = NDArray[np.float32]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Points:
    """Points and the class of each."""

    values: Floats
    classes: Numbers


def points(count: int, shares: NDArray[np.float64], seed: int) -> Points:
    """Points of a node: `shares` says how often it sees each class."""
    centres = np.random.default_rng(SEED).normal(size=(CLASSES, 2, INPUTS))  # each class has two, so no line parts them
    chance = np.random.default_rng(seed)
    classes = chance.choice(CLASSES, size=count, p=shares / shares.sum())
    values = centres[classes, chance.integers(2, size=count)] + chance.normal(scale=1.4, size=(count, INPUTS))
    return Points(values.astype(np.float32), classes.astype(np.int64))


def points_of(node: int, nodes: int) -> Points:
    """What the node has: most of it of every `nodes`-th class, and not as much as others have."""
    shares = np.where(np.arange(CLASSES) % nodes == node, 1.0, 0.03)
    return points(400 + 300 * node, shares, SEED + 1 + node)


def judge_points() -> Points:
    """What nobody trains on: all classes alike."""
    return points(2_000, np.ones(CLASSES), SEED - 1)


class Net:
    """A network with one hidden layer; `weights` by name, as they are saved."""

    def __init__(self, weights: dict[str, Floats]) -> None:
        self.weights = weights

    @classmethod
    def fresh(cls, hidden: int) -> Net:
        """Weights before anything was learned; `hidden` units make the size."""
        chance = np.random.default_rng(SEED + 100)
        return cls(
            {
                "first.weight": chance.normal(scale=INPUTS**-0.5, size=(INPUTS, hidden)).astype(np.float32),
                "first.bias": np.zeros(hidden, np.float32),
                "second.weight": chance.normal(scale=hidden**-0.5, size=(hidden, CLASSES)).astype(np.float32),
                "second.bias": np.zeros(CLASSES, np.float32),
            }
        )

    @classmethod
    def load(cls, folder: Path) -> Net:
        """From a version's folder."""
        return cls(load_file(folder / "weights.safetensors"))

    def save(self, folder: Path) -> Path:
        """Into a folder that can be published."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.weights, folder / "weights.safetensors")
        (folder / "config.json").write_text(json.dumps({"inputs": INPUTS, "classes": CLASSES}))
        return folder

    def accuracy(self, seen: Points) -> float:
        """Share of the points that it puts into the right class."""
        return float(np.mean(np.argmax(self._forward(seen.values)[1], axis=1) == seen.classes))

    def train(self, seen: Points, epochs: int, seed: int) -> float:
        """Stochastic gradient descent on the cross-entropy; the mean loss of the last epoch."""
        chance = np.random.default_rng(seed)
        weights, losses = self.weights, [0.0]
        rate = np.float32(STEP / len(weights["first.bias"]))
        for _ in range(epochs):
            order, losses = chance.permutation(len(seen.classes)), []
            for start in range(0, len(order), BATCH):
                chosen = order[start : start + BATCH]
                inputs, classes = seen.values[chosen], seen.classes[chosen]
                hidden, scores = self._forward(inputs)
                odds = np.exp(scores - scores.max(axis=1, keepdims=True))
                odds /= odds.sum(axis=1, keepdims=True)
                losses.append(float(-np.log(odds[np.arange(len(chosen)), classes] + 1e-9).mean()))
                odds[np.arange(len(chosen)), classes] -= 1
                odds /= len(chosen)
                back = (odds @ weights["second.weight"].T) * (hidden > 0)
                weights["second.weight"] -= rate * (hidden.T @ odds)
                weights["second.bias"] -= rate * odds.sum(axis=0)
                weights["first.weight"] -= rate * (inputs.T @ back)
                weights["first.bias"] -= rate * back.sum(axis=0)
        return float(np.mean(losses))

    def _forward(self, inputs: Floats) -> tuple[Floats, Floats]:
        hidden = np.maximum(inputs @ self.weights["first.weight"] + self.weights["first.bias"], 0)
        return hidden, hidden @ self.weights["second.weight"] + self.weights["second.bias"]


def average(nets: list[tuple[Net, int]]) -> Net:
    """What the nets know together: the mean of their weights, each as heavy as the samples that it learned from."""
    samples = sum(count for _, count in nets)
    names = nets[0][0].weights
    return Net(
        {
            name: np.sum([net.weights[name] * np.float32(count / samples) for net, count in nets], axis=0)
            for name in names
        }
    )

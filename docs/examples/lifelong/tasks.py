"""Fifty machines in a plant, each with a sensor of its own kind: what they show, and what was learned of each."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from docs.examples.machine import Array, Machine

TASKS = 50
WAVES, ANSWERS, SAMPLES = 2048, 32, 200
INDEX = "index.json"


def names() -> list[str]:
    """Of all tasks."""
    return [f"machine-{index:02}" for index in range(TASKS)]


def samples(task: str, worn: bool, *, seed: int) -> tuple[Array, Array]:
    """What a machine's sensor shows, and what it should be read as. A worn one reads otherwise."""
    own = np.random.default_rng([names().index(task), int(worn)])
    mixing = own.normal(size=(3, ANSWERS)).astype(np.float32)
    inputs = np.random.default_rng(seed).uniform(-1, 1, size=(SAMPLES, 3)).astype(np.float32)
    return inputs, np.sin(inputs @ mixing).astype(np.float32)


def learn(folder: Path, task: str, worn: bool) -> None:
    """Trains the model of one task, and puts it among the others."""
    Machine.trained(WAVES, *samples(task, worn, seed=1), spread=1.0).save(folder / task / "weights.npy")


def write_index(folder: Path) -> None:
    """Says which task has which model: a job finds its own by the task's name."""
    (folder / INDEX).write_text(json.dumps({task: f"{task}/weights.npy" for task in names()}, indent=1))


def wrong_by(folder: Path, task: str, worn: bool) -> float:
    """How far the model of a task is off, of a sensor as it is now."""
    path = json.loads((folder / INDEX).read_text())[task]
    inputs, answers = samples(task, worn, seed=2)
    return float(np.abs(Machine.load(folder / path, spread=1.0).answer(inputs) - answers).mean())

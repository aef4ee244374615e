"""A job on a node: the little model answers, and where it is not sure, the big one is asked.

Both come from one path, so they are of one release however often it is switched. Started with the agent's socket;
prints one JSON line for each release that it answers from.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from docs.examples.joint.shapes import classes, points
from docs.examples.machine import Machine
from modelsyncd.client import Client

PAIR = "plant/spiral@stable"
SURE = 0.35  # by how much the best answer must beat the second


def main(target: str) -> None:
    """Runs until it is ended."""
    with Client(target) as agent:
        for model in agent.follow(PAIR):
            print(json.dumps({"number": model.number, **answer_from(model.path)}), flush=True)


def answer_from(pair: Path) -> dict[str, Any]:
    """How well the two do together on points that nobody has seen."""
    known = {name: classes(pair / name) for name in ("little", "big")}
    inputs, truth = points(len(known["little"]), 500, seed=2)
    answers = Machine.load(pair / "little/weights.npy").answer(inputs)
    alone = right(answers, truth)
    best = np.sort(answers, axis=1)
    unsure = best[:, -1] - best[:, -2] < SURE
    if known["little"] == known["big"]:  # else their columns mean different things
        answers[unsure] = Machine.load(pair / "big/weights.npy").answer(inputs[unsure])
    return {"classes": known, "alone": alone, "together": right(answers, truth), "asked": float(unsure.mean())}


def right(answers: Any, truth: Any) -> float:
    """The share that is answered right."""
    return float((answers.argmax(axis=1) == truth.argmax(axis=1)).mean())


if __name__ == "__main__":
    main(sys.argv[1])

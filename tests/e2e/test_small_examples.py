"""The examples of joint inference and of lifelong learning run to their ends, and keep what they say they check."""

from __future__ import annotations

import subprocess
import sys

import pytest

from docs.examples.joint.job import right
from docs.examples.joint.shapes import BIG, LITTLE, points
from docs.examples.machine import Machine
from tests.architecture.tree import ROOT

PATIENCE = 280.0  # seconds, below the test runner's own


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("name", "last"),
    [("joint", "plant/spiral:1 on the node"), ("lifelong", "to the node travelled")],
)
def test_the_example_runs(name: str, last: str) -> None:
    command = [sys.executable, "-m", f"docs.examples.{name}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert last in done.stdout.splitlines()[-1]


@pytest.mark.parametrize("arms", [2, 3])
def test_a_big_model_is_right_more_often_than_a_little_one(arms: int) -> None:
    inputs, truth = points(arms, 500, seed=2)
    little, big = (Machine.trained(waves, *points(arms, 600, seed=1)) for waves in (LITTLE, BIG))
    assert right(big.answer(inputs), truth) > right(little.answer(inputs), truth) + 0.1

"""The example of federated learning runs to its end, and keeps what it says it checks."""

from __future__ import annotations

import subprocess
import sys

import pytest

from docs.examples.federated.model import Net, average, judge_points, points_of
from tests.architecture.tree import ROOT

PATIENCE = 110.0  # seconds, below the test runner's own


@pytest.mark.slow
def test_three_nodes_learn_together_over_five_rounds_with_one_away_for_a_round() -> None:
    command = [sys.executable, "-m", "docs.examples.federated"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "round 5: accuracy 0.7" in done.stdout
    assert "round 3: accuracy" in done.stdout
    assert "from cairo, oslo," in done.stdout


def test_alone_each_node_learns_less_than_all_together() -> None:
    judge, learned = judge_points(), []
    for node in range(3):
        net, seen = Net.fresh(64), points_of(node, 3)
        net.train(seen, epochs=1, seed=node)
        learned.append((net, len(seen.classes)))
    together = average(learned).accuracy(judge)
    assert together > max(net.accuracy(judge) for net, _ in learned) > Net.fresh(64).accuracy(judge)

"""Memory and CPU of an agent while a model that was trained further comes coded against the version that it has."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from benchmarks.lab import BIN, Lab, lab, started, until
from benchmarks.table import show

MODELS = ((64, 1), (256, 1), (256, 64), (1024, 1))  # MiB of the model, MiB of each of its tensors
STEP = 1e-6  # how far training moved each weight, beside weights of 0.05: about what 20 real steps do
MODEL = "bench/coded"


def run(root: Path) -> None:
    """Prints one table."""
    show(
        "An agent while a model that was trained further comes coded, MB resident",
        ("model, MiB", "tensors, MiB", "idle", "peak", "5 s after", "MB on the wire", "CPU s, hub + agent"),
        [_row(root / f"{model}-{tensor}", model, tensor) for model, tensor in MODELS],
    )


def _row(root: Path, model: int, tensor: int) -> tuple[object, ...]:
    with lab(root, "--coding", "smallest") as here:
        before, after = _pair(root, model, tensor)
        here.ctl("push", str(before), MODEL, "--channel", "stable")
        channel = root / "node" / "models" / MODEL / "stable"
        with here.agent("node"):
            here.ctl("assign", f"{MODEL}@stable", "--node", "node")
            until(channel.is_symlink)
        first = channel.readlink()
        # Started anew, so that what it took for the first version is not counted.
        command = [str(BIN / "modelsync-agent"), "run", "--data", str(root / "node"), "--hub", here.address]
        with started(command, root / "again.log") as agent:
            until(lambda: _place(here)["phase"] == "active", agent.process)
            idle = agent.rss()
            here.ctl("push", str(after), MODEL, "--channel", "stable", "--base", str(before), "--coding", "smallest")
            until(lambda: channel.readlink() != first, agent.process)
            peak = agent.peak()
            time.sleep(5)  # what is left once it is quiet again
            place = _place(here)
            wire, cpu = place["bytes_wire"] / 1e6, f"{place['giver_cpu']:.1f} + {place['taker_cpu']:.1f}"
            return model, tensor, idle, peak, agent.rss(), wire, cpu


def _place(here: Lab) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(here.ctl("status")))["places"][0]
    return found


def _pair(root: Path, model: int, tensor: int) -> tuple[Path, Path]:
    """The same model before and after training."""
    rng = np.random.default_rng(model)
    weights = {
        f"layer.{number}": rng.standard_normal((tensor, 512, 512), dtype=np.float32) * np.float32(0.05)
        for number in range(model // tensor)
    }
    before, after = root / "before", root / "after"
    for folder in (before, after):
        folder.mkdir()
        save_file(weights, folder / "model.safetensors")
        for name, one in weights.items():
            weights[name] = one + rng.standard_normal(one.shape, dtype=np.float32) * np.float32(STEP)
    return before, after

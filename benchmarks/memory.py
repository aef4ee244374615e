"""Memory and CPU of agent and hub: idle, and while a large model travels."""

from __future__ import annotations

import os
import time
from pathlib import Path

from benchmarks.lab import Lab, lab, until
from benchmarks.table import show

IDLE_SECONDS = 60.0
BLOCK = 256 << 10


def run(root: Path, gib: float) -> None:
    """Prints one table."""
    with lab(root / "lab") as here, here.agent("idle") as (agent, data):
        _settle(here, data)
        idle = agent.rss(), here.hub.rss()
        before = agent.cpu(), here.hub.cpu()
        time.sleep(IDLE_SECONDS)  # the measurement itself
        cpu = tuple(
            (now - then) / IDLE_SECONDS * 100 for now, then in zip((agent.cpu(), here.hub.cpu()), before, strict=True)
        )
        model = root / "large.bin"
        sparse_model(model, int(gib * (1 << 30)))
        here.ctl("push", str(model), "bench/large", "--channel", "stable")
        pushed = here.hub.peak()
        here.ctl("assign", "bench/large@stable", "--node", "idle")
        until((data / "models" / "bench" / "large" / "stable").is_symlink, agent.process)
        busy = agent.peak(), here.hub.peak()
        time.sleep(5)  # what is left once it is quiet again
        after = agent.rss(), here.hub.rss()
    show(
        f"Memory, MB resident (a model of {gib:g} GiB), and CPU of one core when idle",
        ("process", "idle", "CPU idle, %", "peak while it travels", "5 s after"),
        [
            ("agent", idle[0], f"{cpu[0]:.3f}", busy[0], after[0]),
            ("hub", idle[1], f"{cpu[1]:.3f}", f"{pushed:.2f} push, {busy[1]:.2f} with giving", after[1]),
        ],
    )


def _settle(here: Lab, data: Path) -> None:
    """An agent that holds something, as agents do."""
    small = data.parent / "small.bin"
    small.write_bytes(os.urandom(1 << 20))
    here.ctl("push", str(small), "bench/small", "--channel", "stable")
    here.ctl("assign", "bench/small@stable", "--node", data.name)
    until((data / "models" / "bench" / "small" / "stable").is_symlink)
    time.sleep(3)  # until what the transfer needed is given back


def sparse_model(path: Path, size: int) -> None:
    """Every block differs from every other, and most of each is zeros: large without needing much disk at the hub."""
    with path.open("wb") as file:
        file.truncate(size)
        for start in range(0, size, BLOCK):
            file.seek(start)
            file.write(start.to_bytes(8, "little") + os.urandom(64))

"""What a thousand questions a second from jobs cost them, a transfer beside them, and what the client costs to load.

Jobs ask in processes of their own over the agent's socket, each at its share of the rate; the transfer is of bytes
that nothing makes smaller, from a hub on the same machine. The rates with and without jobs are taken in turn, and the
best of each counts. Hub, agent and jobs share the machine's cores.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.lab import Lab, lab, random_file, until
from benchmarks.table import show

RATE = 1_000  # questions a second, of all jobs together
JOBS = 4
IMPORTS = 5  # times each import is measured, each in a process of its own

_JOB = """
import json, select, sys, time
from modelsyncd.client import Client
socket, ref, rate = sys.argv[1], sys.argv[2], float(sys.argv[3])
took = []
with Client(socket) as agent:
    agent.get(ref, wait=60)
    print("ready", flush=True)
    due = time.perf_counter()
    while len(took) % 50 or not select.select([sys.stdin], [], [], 0)[0]:
        time.sleep(max(0.0, due - time.perf_counter()))
        began = time.perf_counter()
        agent.get(ref)
        took.append(time.perf_counter() - began)
        due = max(due + 1 / rate, began)
print(json.dumps(took))
"""
_IMPORT = "import time; began = time.process_time(); import {0}; print(time.process_time() - began)"


def run(root: Path, gib: float, rounds: int) -> None:
    """Prints the tables."""
    source = root / "weights.bin"
    small = root / "small.bin"
    random_file(small, 1 << 20)
    with lab(root / "lab") as here, here.agent("node") as (agent, data):
        here.ctl("push", str(small), "bench/small", "--channel", "stable")
        here.ctl("assign", "bench/small@stable", "--node", "node")
        until((data / "models/bench/small/stable").exists)
        with _asking(data / "agent.sock") as idle:
            before = agent.cpu()
            time.sleep(10)
            core = (agent.cpu() - before) / 10
        alone, beside, busy = [], [], []
        for turn in range(rounds):
            alone.append(_transfer(here, data, source, f"alone-{turn}", gib))
            with _asking(data / "agent.sock") as latencies:
                beside.append(_transfer(here, data, source, f"beside-{turn}", gib))
            busy += latencies
    show(
        f"{RATE:,} Gets a second from {JOBS} jobs",
        ("beside", "asked each second", "p50, ms", "p99, ms", "agent's CPU", "transfer, MB/s", "of its rate alone"),
        [
            ("nothing", *_figures(idle), f"{core:.0%} of a core", "-", "-"),
            (
                "a transfer",
                *_figures(busy),
                "-",
                f"{max(beside):.0f}",
                f"{max(beside) / max(alone):.0%}",
            ),
            ("(a transfer alone)", "-", "-", "-", "-", f"{max(alone):.0f}", "100%"),
        ],
    )
    grpc = _import("grpc")
    show(
        "Loading the client",
        ("import", "ms of CPU", "of `import grpc`"),
        [
            (f"`{name}`", f"{seconds * 1e3:.0f}", f"{seconds / grpc:.2f}")
            for name, seconds in (
                ("grpc", grpc),
                ("modelsyncd.client", _import("modelsyncd.client")),
                ("modelsyncd.client.blocking", _import("modelsyncd.client.blocking")),
                ("modelsyncd.client.aio", _import("modelsyncd.client.aio")),
            )
        ],
    )


@contextmanager
def _asking(socket: Path) -> Iterator[list[tuple[float, float]]]:
    """Jobs that ask until the block ends; then the list holds (seconds an answer took, seconds that the job asked)."""
    command = [sys.executable, "-c", _JOB, str(socket), "bench/small@stable", str(RATE / JOBS)]
    jobs = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(JOBS)]
    found: list[tuple[float, float]] = []
    try:
        for job in jobs:
            assert job.stdout is not None  # noqa: S101
            job.stdout.readline()
        began = time.monotonic()
        yield found
        asked = time.monotonic() - began
        for job in jobs:
            answers, _ = job.communicate("stop\n", timeout=60)
            found += [(seconds, asked) for seconds in json.loads(answers)]
    finally:
        for job in jobs:
            job.kill()
            job.wait()


def _figures(latencies: list[tuple[float, float]]) -> tuple[str, str, str]:
    took = sorted(seconds for seconds, _ in latencies)
    per_second = sum(1 / asked for _, asked in latencies) / len({asked for _, asked in latencies})
    at = [took[min(len(took) - 1, int(len(took) * share))] * 1e3 for share in (0.5, 0.99)]
    return f"{per_second:.0f}", f"{at[0]:.2f}", f"{at[1]:.2f}"


def _transfer(here: Lab, data: Path, source: Path, name: str, gib: float) -> float:
    """Megabytes a second from the assignment to the switch."""
    size = int(gib * (1 << 30))
    random_file(source, size)
    here.ctl("push", str(source), f"bench/{name}", "--channel", "stable")
    os.sync()
    began = time.monotonic()
    here.ctl("assign", f"bench/{name}@stable", "--node", "node")
    until((data / f"models/bench/{name}/stable").exists)
    return size / 1e6 / (time.monotonic() - began)


def _import(name: str) -> float:
    """CPU seconds, the least of several: what else the machine does is no part of it."""
    command = [sys.executable, "-c", _IMPORT.format(name)]
    return min(float(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(IMPORTS))

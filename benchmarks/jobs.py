"""What a thousand questions a second from jobs cost them, a transfer beside them, and what the client costs to load.

Jobs ask in processes of their own over the agent's socket, at fixed instants whatever became of the question before: an
answer's time counts from the instant when it was due. The transfer is of bytes that nothing makes smaller, from a hub
on the same machine, as fast as it goes and at the rate of a real link. Rates with and without jobs are taken in
turn, and the best of each counts. Hub, agent and jobs share the machine's cores.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.lab import Lab, Running, lab, random_file, until
from benchmarks.table import show

RATE = 1_000  # questions a second, of all jobs together
JOBS = 4
LINK = 100  # Mbit/s of the bounded transfer
LINK_SECONDS = 15  # that it takes
IDLE = 10.0  # seconds of questions with nothing beside them
IMPORTS = 5  # times each import is measured, each in a process of its own

_JOB = """
import json, select, sys, time
from modelsyncd.client import Client
socket, ref, rate = sys.argv[1], sys.argv[2], float(sys.argv[3])
took = []
with Client(socket) as agent:
    agent.get(ref, wait=60)
    print("ready", flush=True)
    sys.stdin.readline()
    began = due = time.perf_counter()
    while len(took) % 50 or not select.select([sys.stdin], [], [], 0)[0]:
        time.sleep(max(0.0, due - time.perf_counter()))
        agent.get(ref)
        took.append(time.perf_counter() - due)
        due += 1 / rate
print(json.dumps([time.perf_counter() - began, took]))
"""
_IMPORT = "import time; began = time.process_time(); import {0}; print(time.process_time() - began)"


@dataclass
class Asked:
    """What jobs saw: seconds that each answer took, and the rate at which they came."""

    took: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)

    def figures(self) -> tuple[str, str, str]:
        """Answers a second, p50 and p99 in ms; of several times the best rate."""
        took = sorted(self.took)
        at = [took[min(len(took) - 1, int(len(took) * share))] * 1e3 for share in (0.5, 0.99)]
        return f"{max(self.rates):,.0f}", f"{at[0]:,.2f}", f"{at[1]:,.2f}"


def run(root: Path, gib: float, rounds: int) -> None:
    """Prints the tables."""
    with lab(root / "lab") as here, here.agent("node") as (agent, data):
        small = root / "small.bin"
        random_file(small, 1 << 20)
        here.ctl("push", str(small), "bench/small", "--channel", "stable")
        here.ctl("assign", "bench/small@stable", "--node", "node")
        until((data / "models/bench/small/stable").exists)
        idle = Asked()
        with _asking(data / "agent.sock", idle):
            before = agent.cpu()
            time.sleep(IDLE)
            core = (agent.cpu() - before) / IDLE
        bench = Bench(here, agent, data, root / "weights.bin")
        rows: list[tuple[str, ...]] = [("nothing", *idle.figures(), f"{core:.0%} of a core", "-", "-")]
        rows += bench.row("a transfer, as fast as it goes", int(gib * (1 << 30)), rounds)
        here.ctl("limit", "--rate", f"{LINK}Mbit", "--node", "node")
        rows += bench.row(f"a transfer at {LINK} Mbit/s", LINK * 125_000 * LINK_SECONDS, rounds)
    show(
        f"{RATE:,} Gets a second from {JOBS} jobs",
        ("beside", "answers each second", "p50, ms", "p99, ms", "agent's CPU", "transfer, MB/s", "of its rate alone"),
        rows,
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


class Bench:
    """A node with jobs, and transfers to it. `source` is where content is put together."""

    def __init__(self, here: Lab, agent: Running, data: Path, source: Path) -> None:
        self._here = here
        self._agent = agent
        self._data = data
        self._source = source
        self._count = 0

    def row(self, name: str, size: int, rounds: int) -> list[tuple[str, ...]]:
        """For the table: beside questions, and alone."""
        alone, beside, asked, cores = [0.0], [0.0], Asked(), []
        for _ in range(rounds):
            alone.append(self._transfer(size)[0])
            with _asking(self._data / "agent.sock", asked):
                rate, core = self._transfer(size)
            beside.append(rate)
            cores.append(core)
        best = max(alone)
        return [
            (name, *asked.figures(), f"{min(cores):.0%} of a core", f"{max(beside):.1f}", f"{max(beside) / best:.1%}"),
            (f"({name}, alone)", "-", "-", "-", "-", f"{best:.1f}", "100%"),
        ]

    def _transfer(self, size: int) -> tuple[float, float]:
        """Megabytes a second from the first byte's place on the disk to the switch, and the share of a core."""
        self._count += 1
        name = f"transfer-{self._count}"
        random_file(self._source, size)
        self._here.ctl("push", str(self._source), f"bench/{name}", "--channel", "stable")
        os.sync()
        staging = self._data / "staging"
        assign = self._here.command("assign", f"bench/{name}@stable", "--node", "node")
        watched = subprocess.Popen(assign, stdout=subprocess.DEVNULL)
        until(lambda: staging.exists() and any(staging.iterdir()))
        began, before = time.monotonic(), self._agent.cpu()
        until((self._data / f"models/bench/{name}/stable").exists)
        seconds = time.monotonic() - began
        core = (self._agent.cpu() - before) / seconds
        if watched.wait(60):
            raise RuntimeError("the assignment failed")
        return size / 1e6 / seconds, core


@contextmanager
def _asking(socket: Path, asked: Asked) -> Iterator[None]:
    """Jobs that ask until the block ends; then `asked` has what they saw."""
    command = [sys.executable, "-c", _JOB, str(socket), "bench/small@stable", str(RATE / JOBS)]
    jobs = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(JOBS)]
    try:
        for job in jobs:
            assert job.stdout is not None  # noqa: S101
            job.stdout.readline()
        for job in jobs:
            assert job.stdin is not None  # noqa: S101
            job.stdin.write("begin\n")
            job.stdin.flush()
        yield
        rate = 0.0
        for job in jobs:
            answers, _ = job.communicate("stop\n", timeout=120)
            seconds, took = json.loads(answers)
            asked.took += took
            rate += len(took) / seconds
        asked.rates.append(rate)
    finally:
        for job in jobs:
            job.kill()
            job.wait()


def _import(name: str) -> float:
    """CPU seconds, the least of several: what else the machine does is no part of it."""
    command = [sys.executable, "-c", _IMPORT.format(name)]
    return min(float(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(IMPORTS))

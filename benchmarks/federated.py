"""A round of federated learning with large weights: up from a node, down to the cloud, up again, down to the node."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from benchmarks import peers
from benchmarks.lab import Lab, drop_written, lab
from benchmarks.table import show
from modelsyncd.client import Client, HubClient, Step

GLOBAL, UPDATES = "bench/model", "bench/updates"
LAYER = 64 << 20  # bytes of a tensor
STEP = np.float32(1e-3)  # how far a round moves a weight, beside 0.05 that weights have


@dataclass(frozen=True, slots=True)
class Row:
    """A step: seconds by the clock, seconds of CPU of all who took part, bytes that travelled."""

    what: str
    seconds: float
    cpu: float
    wire: int


class Steps:
    """The steps of a round, each measured from `begin` to `end`."""

    def __init__(self, cpu: Callable[[], float]) -> None:
        self.rows: list[Row] = []
        self._cpu = cpu
        self._began = (0.0, 0.0)

    def begin(self) -> None:
        """The clock starts."""
        self._began = time.monotonic(), self._cpu()

    def end(self, what: str, wire: int = 0) -> None:
        """The clock has run so far."""
        began, cpu = self._began
        self.rows.append(Row(what, time.monotonic() - began, self._cpu() - cpu, wire))


def run(root: Path, gib: float) -> None:
    """Prints the table."""
    layers = max(1, int(gib * (1 << 30)) // LAYER)
    weights = root / "weights"
    _fresh(weights, layers)
    size = (weights / "model.safetensors").stat().st_size
    with lab(root / "lab") as here, here.agent("node") as (agent, data):
        here.ctl("assign", f"{GLOBAL}@stable", "--node", "node")
        here.ctl("allow", "node", UPDATES)
        steps = Steps(lambda: here.hub.cpu() + agent.cpu() + time.process_time())
        with HubClient(here.context, cache=root / "cache") as cloud, Client(data / "agent.sock") as node:
            _round(here, cloud, node, weights, steps)
    beside = Steps(lambda: sum(os.times()[:4]))
    beside.begin()
    shutil.copytree(weights, root / "copy")
    drop_written(root / "copy" / "model.safetensors")
    beside.end("cp -r and sync", size)
    beside.begin()
    peers.rsync_download(weights / "model.safetensors", root / "rsync")
    beside.end("rsync daemon (no TLS, no sync)", size)
    copied, rsync = beside.rows
    show(
        f"A round of federated learning with {size / (1 << 30):.2f} GiB of float32 weights, all of them changed",
        ("what", "seconds", "of cp and sync", "of rsync", "CPU seconds", "CPU of rsync's", "MB that travelled"),
        [
            (
                row.what,
                row.seconds,
                row.seconds / copied.seconds,
                row.seconds / rsync.seconds,
                row.cpu,
                row.cpu / rsync.cpu,
                f"{row.wire / 1e6:,.0f}",
            )
            for row in (*steps.rows, copied, rsync)
        ],
    )


def _round(here: Lab, cloud: HubClient, node: Client, weights: Path, steps: Steps) -> None:
    steps.begin()
    first = cloud.publish(weights, f"{GLOBAL}@stable")
    model = node.get(f"{GLOBAL}@stable", wait=900)
    steps.end("cloud publishes the first model, node has it", first.wire + _fetched(here))

    _moved(model.path, weights, seed=1)

    def watch(step: Step) -> None:
        if step.stage == "stored":
            steps.end("node publishes its update: durable on the node")

    steps.begin()
    update = node.publish(weights, UPDATES, parents=[model], labels={"round": "1"}, progress=watch)
    steps.end("… at the hub, in all", update.wire)

    steps.begin()
    told = next(iter(cloud.releases(UPDATES, labels={"round": "1"})))
    got = cloud.get(told)
    steps.end("cloud has the update")
    _same(got.path, weights)

    _moved(got.path, weights, seed=2)
    steps.begin()
    second = cloud.publish(weights, f"{GLOBAL}@stable", parents=[(told.ref, "aggregated-from")])
    for now in node.watch(f"{GLOBAL}@stable"):
        if now.number == second.number:
            break
    steps.end("cloud publishes the aggregate, node has it", second.wire + _fetched(here))
    _same(node.get(f"{GLOBAL}@stable").path, weights)


def _fetched(here: Lab) -> int:
    """Payload bytes that the node's last fetch took, as the hub shows it."""
    places = here.ctl("status", "--node", "node")["places"]
    assert isinstance(places, list)  # noqa: S101
    return int(places[0]["bytes_wire"])


def _fresh(folder: Path, layers: int) -> None:
    chance = np.random.default_rng(1)
    side = LAYER // 4 // 4096
    folder.mkdir(parents=True)
    save_file(
        {
            f"layer.{number}.weight": chance.standard_normal((4096, side), dtype=np.float32) * np.float32(0.05)
            for number in range(layers)
        },
        folder / "model.safetensors",
    )
    drop_written(folder / "model.safetensors")


def _moved(source: Path, folder: Path, seed: int) -> None:
    """The weights of a version, each moved a little, in a folder to publish."""
    chance = np.random.default_rng(seed)
    path = source if source.is_file() else source / "model.safetensors"
    weights = load_file(path)
    moved = {name: one + chance.standard_normal(one.shape, dtype=np.float32) * STEP for name, one in weights.items()}
    save_file(moved, folder / "model.safetensors")
    drop_written(folder / "model.safetensors")


def _same(got: Path, weights: Path) -> None:
    path = got if got.is_file() else got / "model.safetensors"
    with path.open("rb") as one, (weights / "model.safetensors").open("rb") as other:
        while (block := one.read(1 << 24)) == other.read(1 << 24):
            if not block:
                return
    raise RuntimeError(f"{path} is not what was published")

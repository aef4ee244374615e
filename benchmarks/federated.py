"""A round of federated learning with large weights: up from a node, down to the cloud, up again, down to the node."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from benchmarks import peers
from benchmarks.lab import Lab, drop_written, lab, until
from benchmarks.table import show
from modelsyncd.client import Client, HubClient, Step

GLOBAL, UPDATES = "bench/model", "bench/updates"
LAYER = 64 << 20  # bytes of a tensor
STEP = np.float32(1e-3)  # how far a round moves a weight, beside 0.05 that weights have


def run(root: Path, gib: float) -> None:
    """Prints the table."""
    layers = max(1, int(gib * (1 << 30)) // LAYER)
    weights = root / "weights"
    _fresh(weights, layers)
    size = (weights / "model.safetensors").stat().st_size
    with lab(root / "lab") as here, here.agent("node") as (_agent, data):
        here.ctl("assign", f"{GLOBAL}@stable", "--node", "node")
        here.ctl("allow", "node", UPDATES)
        with HubClient(here.context, cache=root / "cache") as cloud, Client(data / "agent.sock") as node:
            rows = _round(here, cloud, node, weights)
    copied = _timed(lambda: _copy(weights, root / "copy"))
    rsync = peers.rsync_download(weights / "model.safetensors", root / "rsync")
    rows.append(("cp -r and sync", copied, size))
    rows.append(("rsync daemon (no TLS, no sync)", rsync, size))
    show(
        f"A round of federated learning with {size / (1 << 30):.2f} GiB of float32 weights, all of them changed",
        ("what", "seconds", "of cp and sync", "of rsync", "MB that travelled"),
        [(what, seconds, seconds / copied, seconds / rsync, f"{wire / 1e6:,.0f}") for what, seconds, wire in rows],
    )


def _round(here: Lab, cloud: HubClient, node: Client, weights: Path) -> list[tuple[str, float, int]]:
    rows = []
    began = time.monotonic()
    first = cloud.publish(weights, f"{GLOBAL}@stable")
    rows.append(("cloud publishes the first model", time.monotonic() - began, first.wire))
    began = time.monotonic()
    model = node.get(f"{GLOBAL}@stable", wait=900)
    rows.append(("node has it (what was left of its fetch)", time.monotonic() - began, _fetched(here)))

    _moved(model.path, weights, seed=1)
    stored: list[float] = []
    began = time.monotonic()

    def watch(step: Step) -> None:
        if step.stage == "stored":
            stored.append(time.monotonic() - began)

    update = node.publish(weights, UPDATES, parents=[model], labels={"round": "1"}, progress=watch)
    rows.append(("node publishes its update: durable on the node", stored[0], 0))
    rows.append(("… at the hub, in all", time.monotonic() - began, update.wire))

    began = time.monotonic()
    told = next(iter(cloud.releases(UPDATES, labels={"round": "1"})))
    got = cloud.get(told)
    rows.append(("cloud has the update", time.monotonic() - began, 0))
    _same(got.path, weights)

    _moved(got.path, weights, seed=2)
    began = time.monotonic()
    second = cloud.publish(weights, f"{GLOBAL}@stable", parents=[(told.ref, "aggregated-from")])
    rows.append(("cloud publishes the aggregate", time.monotonic() - began, second.wire))
    began = time.monotonic()
    until(lambda: node.get(f"{GLOBAL}@stable").number == second.number)
    rows.append(("node has the aggregate", time.monotonic() - began, _fetched(here)))
    _same(node.get(f"{GLOBAL}@stable").path, weights)
    return rows


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


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target)
    drop_written(target / "model.safetensors")


def _timed(work: Callable[[], None]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began

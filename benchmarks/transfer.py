"""A new model from the hub to one agent, and to the hub by push, beside nginx with curl and rsync's daemon."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from benchmarks import peers
from benchmarks.lab import Lab, Running, drop_written, lab, random_file, until
from benchmarks.table import show


def run(root: Path, gib: float, rounds: int) -> None:
    """Prints both tables."""
    if gone := peers.missing():
        raise SystemExit(f"not installed: {', '.join(gone)}; on Debian: apt-get install nginx-light curl rsync openssl")
    size = int(gib * (1 << 30))
    down: dict[str, list[float]] = {"agent": [], "nginx + curl": [], "rsync": []}
    up: dict[str, list[float]] = {"push": [], "scan": [], "push after scan": []}
    with lab(root / "lab") as here, here.agent("node") as (agent, data):
        here.ctl("assign", "bench/model@stable", "--node", "node")
        for number in range(1, rounds + 1):
            source = root / f"model-{number}.bin"
            random_file(source, size)
            drop_written(source)
            before = _cpu(here, agent)
            began = time.monotonic()
            done = here.ctl("push", str(source), "bench/model")
            up["push"].append(time.monotonic() - began)
            up["push after scan"].append(_number(done["seconds"]))
            up["scan"].append(up["push"][-1] - up["push after scan"][-1])
            pushed = _cpu(here, agent)
            drop_written(source)
            down["agent"].append(_sync(here, data, number))
            after = _cpu(here, agent)
            down["nginx + curl"].append(peers.nginx_download(source, root / "nginx"))
            drop_written(source)
            down["rsync"].append(peers.rsync_download(source, root / "rsync"))
            source.unlink()
            print(f"round {number}: hub CPU {pushed[0] - before[0]:.2f} s for the push,", end=" ")
            print(f"{after[0] - pushed[0]:.2f} s to give; agent CPU {after[1] - pushed[1]:.2f} s", flush=True)
    _show(size, down, up)


def _sync(here: Lab, data: Path, number: int) -> float:
    """Seconds from the promotion until the version is verified, durable and switched in."""
    link = data / "models" / "bench" / "model" / "stable"
    began = time.monotonic()
    here.ctl("promote", f"bench/model:{number}", "stable")
    until(lambda: link.is_symlink() and link.readlink().name.startswith(f"{number}-"))
    return time.monotonic() - began


def _cpu(here: Lab, agent: Running) -> tuple[float, float]:
    return here.hub.cpu(), agent.cpu()


def _number(value: object) -> float:
    assert isinstance(value, float | int)  # noqa: S101
    return float(value)


def _show(size: int, down: dict[str, list[float]], up: dict[str, list[float]]) -> None:
    rates = {name: size / 1e6 / statistics.median(seconds) for name, seconds in {**down, **up}.items()}
    nginx, rsync = rates["nginx + curl"], rates["rsync"]
    columns = ("what", "MB/s (median)", "of nginx + curl", "of rsync")
    show(
        f"Hub to agent, {size / (1 << 30):g} GiB of incompressible bytes, median of {len(down['agent'])} rounds",
        columns,
        [
            (
                "agent: promoted → verified, durable, switched",
                rates["agent"],
                rates["agent"] / nginx,
                rates["agent"] / rsync,
            ),
            ("nginx + curl (TLS, no sync, no hash)", nginx, 1.0, nginx / rsync),
            ("rsync daemon (no TLS, no sync)", rsync, rsync / nginx, 1.0),
        ],
    )
    show(
        f"Push of {size / (1 << 30):g} GiB",
        columns,
        [
            (
                "whole command: read, hash, cut, send, durable, committed",
                rates["push"],
                rates["push"] / nginx,
                rates["push"] / rsync,
            ),
            ("its reading, hashing and cutting", rates["scan"], rates["scan"] / nginx, rates["scan"] / rsync),
            (
                "its sending, to durable and committed",
                rates["push after scan"],
                rates["push after scan"] / nginx,
                rates["push after scan"] / rsync,
            ),
        ],
    )

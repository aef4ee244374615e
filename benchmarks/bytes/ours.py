"""The only place that sends a pair through our own programs: a real hub, agent and ctl, counted at their sockets."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bytes.relay import Relay, relay
from benchmarks.lab import Lab, Running, lab, until

MODEL = "bench/model"
NODE = "node"
RATE = 12.5e6  # bytes a second each way: 100 Mbit/s, so that the seconds say something
CODING = ("--coding", "smallest")  # what a hub and ctl do by themselves on a slower link


@dataclass(frozen=True, slots=True)
class Trip:
    """One file on its way. `bytes` are both directions at the socket; CPU in seconds of whole processes."""

    bytes: int
    seconds: float
    giver_cpu: float
    taker_cpu: float


@dataclass(frozen=True, slots=True)
class Trips:
    """A push to the hub, and the sync to the node; `landed` is the file at the node."""

    up: Trip
    down: Trip
    landed: Path


def travel(old: Path | None, new: Path, work: Path, check: Callable[[Path], None]) -> Trips:
    """A hub and a node that hold `old` (or nothing) get `new`; `check` sees the node's file while it is there."""
    name = f"model{new.suffix}"
    with (
        lab(work / "lab", *CODING) as here,
        relay(here.address, RATE) as pushing,
        relay(here.address, RATE) as syncing,
        here.agent(NODE, syncing.address) as (agent, data),
    ):
        number, flags = 1, list[str]()
        if old is not None:
            base = _named(old, work / "old" / f"model{old.suffix}")
            here.ctl("push", str(base), MODEL, "--channel", "stable")
            flags = ["--base", str(base)]
            number = 2
        here.ctl("assign", f"{MODEL}@stable", "--node", NODE)
        landed = data / "models" / MODEL / "stable" / name
        link = landed.parent
        if old is not None:
            until(link.is_symlink, agent.process)
        up = _push(here, pushing, _named(new, work / "new" / name), flags)
        down = _sync(here, syncing, agent, link, number)
        check(landed)
        return Trips(up, down, landed)


def _push(here: Lab, link: Relay, path: Path, flags: list[str]) -> Trip:
    before, hub, own = sum(link.counted()), here.hub.cpu(), _children()
    began = time.monotonic()
    here.ctl("--hub", link.address, "push", str(path), MODEL, *CODING, *flags)
    seconds = time.monotonic() - began
    return Trip(sum(link.settled()) - before, seconds, _children() - own, here.hub.cpu() - hub)


def _sync(here: Lab, relayed: Relay, agent: Running, link: Path, number: int) -> Trip:
    """From the promotion until the version is verified, durable and switched in."""
    before, hub, own = sum(relayed.settled()), here.hub.cpu(), agent.cpu()
    began = time.monotonic()
    here.ctl("promote", f"{MODEL}:{number}", "stable")
    until(lambda: link.is_symlink() and link.readlink().name.startswith(f"{number}-"), agent.process)
    seconds = time.monotonic() - began
    return Trip(sum(relayed.settled()) - before, seconds, here.hub.cpu() - hub, agent.cpu() - own)


def _named(path: Path, name: Path) -> Path:
    """The same file under the name that it has as a model."""
    name.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, name)
    except OSError:  # another file system
        name.write_bytes(path.read_bytes())
    return name


def _children() -> float:
    """CPU seconds of the programs that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime

"""A hub with a crowd: memory for each node, how soon all hear of a change, idle CPU, and a restart that all return to.

The nodes are simulated: each is a real mutual-TLS connection with a certificate of its own and a real session, many in
one process, that says Hello, follows Desired, reports, asks what changed in the catalogue when it is told to, and comes
back with the agent's own backoff. They fetch nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.lab import BIN, Lab, Running, started, until
from benchmarks.table import show
from cloud_hub.catalog import Catalog
from modelsyncd.store.durable import write_file
from modelsyncd.trust.authority import Authority
from modelsyncd.trust.identity import Kind, Peer
from modelsyncd.trust.keys import new_key, new_request, public_key_of

IDLE_SECONDS = 60.0
QUIET = 15.0  # seconds after which all have reported and nothing is under way
PROCESSES = 4  # that the crowd lives in
LABEL = "crowd"


def run(root: Path, sizes: Sequence[int]) -> None:
    """Prints one table."""
    show(
        "A hub and a crowd of nodes: seconds but for memory",
        (
            "nodes",
            "hub, MB",
            "kB for each node",
            "CPU idle, %",
            "told of a change p50",
            "p99",
            "finds a release that nobody was moved to p50",
            "p99",
            "CPU of that",
            "all back after a restart",
            "p50 of them",
            "hub's peak, MB",
        ),
        [_one(root / str(size), size) for size in sizes],
    )


def _one(root: Path, size: int) -> tuple[object, ...]:
    root.mkdir()
    with _hub(root) as here:
        model = root / "model.bin"
        model.write_bytes(b"weights")
        here.ctl("push", str(model), "bench/crowd", "--channel", "stable")
        here.ctl("push", str(_other(model)), "bench/crowd")
        here.ctl("assign", "bench/crowd@stable", "--selector", f"fleet={LABEL}")
        address = here.address
    who = _let_in(root, size)
    with ExitStack() as hub, ExitStack() as crowd:
        here = hub.enter_context(_hub(root, address))
        alone = here.hub.rss()
        logs = [crowd.enter_context(_crowd(root, part, who[part::PROCESSES], address)) for part in range(PROCESSES)]
        until(lambda: len(_told(logs)) >= size)
        time.sleep(QUIET)  # until all reports are stored
        crowded, cpu = here.hub.rss(), here.hub.cpu()
        time.sleep(IDLE_SECONDS)  # the measurement itself
        idle = (here.hub.cpu() - cpu) / IDLE_SECONDS * 100
        before = time.time()
        here.ctl("promote", "bench/crowd:2", "stable")
        until(lambda: len(_told(logs, before)) >= size)
        told = sorted(at - before for at in _told(logs, before))
        time.sleep(QUIET)
        before, cpu = time.time(), here.hub.cpu()
        here.ctl("push", str(_other(model, b"more weights")), "bench/crowd")
        until(lambda: len(_told(logs, before, "found:3")) >= size)
        found, finding = sorted(at - before for at in _told(logs, before, "found:3")), here.hub.cpu() - cpu
        hub.close()
        gone = time.time()
        here = hub.enter_context(_hub(root, address))
        up = time.time()
        until(lambda: len(_told(logs, gone)) >= size)
        back = sorted(at - up for at in _told(logs, gone))
        peak = here.hub.peak()
    per_node = (crowded - alone) * 1e3 / size
    return (
        size,
        f"{crowded:.0f}",
        f"{per_node:.0f}",
        f"{idle:.2f}",
        f"{_at(told, 0.5):.2f}",
        f"{_at(told, 0.99):.2f}",
        f"{_at(found, 0.5):.2f}",
        f"{_at(found, 0.99):.2f}",
        f"{finding:.2f}",
        f"{back[-1]:.1f}",
        f"{_at(back, 0.5):.1f}",
        f"{peak:.0f}",
    )


def _other(model: Path, weights: bytes = b"other weights") -> Path:
    model.write_bytes(weights)
    return model


@contextmanager
def _hub(root: Path, listen: str = "127.0.0.1:0") -> Iterator[Lab]:
    """The hub on the data of before; it is up once it answers."""
    command = [str(BIN / "modelsync-hub"), "run", "--data", str(root / "hub"), "--listen", listen]
    with started(command, root / "hub.log") as hub:
        here = Lab(root, hub)
        until(here.context.exists, hub.process)
        until(lambda: _answers(here), hub.process)
        yield here


def _answers(here: Lab) -> bool:
    try:
        here.ctl("list")
    except RuntimeError:
        return False
    return True


def _let_in(root: Path, size: int) -> list[dict[str, str]]:
    """Certificates for so many nodes, made as the hub makes them, while it is down."""
    now = time.time()
    authority = Authority.open(root / "hub" / "authority", now, write_file)
    catalog = Catalog.open(f"sqlite:///{root / 'hub' / 'catalog.db'}")
    found: list[dict[str, str]] = []
    try:
        for number in range(size):
            name = f"n{number}"
            key = new_key()
            request = new_request(key, Peer(Kind.NODE, name))
            certificate = authority.issue_node(name, request, now)
            invite = catalog.nodes.invite(name, {"fleet": LABEL}, now + 3_600, now)
            catalog.nodes.redeem(invite, name, public_key_of(request), now)
            found.append(
                {
                    "name": name,
                    "key": key.decode(),
                    "certificate": certificate.decode(),
                    "authority": authority.certificate.decode(),
                }
            )
    finally:
        catalog.close()
    return found


@contextmanager
def _crowd(root: Path, part: int, who: Sequence[dict[str, str]], address: str) -> Iterator[Path]:
    """A process with some of the nodes; each line of the log it yields is (seconds since 1970, what, name)."""
    members, log = root / f"crowd-{part}.json", root / f"crowd-{part}.log"
    members.write_text(json.dumps(who))
    log.touch()
    command = [sys.executable, "-m", "benchmarks.crowd_nodes", str(members), address, str(log)]
    with started(command, root / f"crowd-{part}.err") as running:
        yield _checked(running, log)


def _checked(running: Running, log: Path) -> Path:
    if running.process.poll() is not None:
        raise subprocess.SubprocessError("the crowd did not come")
    return log


def _told(logs: Sequence[Path], since: float = 0.0, of: str = "told") -> list[float]:
    """When each node was told of it for the first time since then."""
    first: dict[str, float] = {}
    for log in logs:
        for line in log.read_text().splitlines():
            at, what, name = line.split()
            if what == of and float(at) >= since:
                first.setdefault(name, float(at))
    return list(first.values())


def _at(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]

"""What is left of a link that loses packets, or is slow and far: ours beside curl, over real TCP in two namespaces.

The wire between them is a program that loses and delays packets (tests/fakes/tun_relay.py); TCP is the kernel's. Root
is needed for the namespaces. The share is that of the wire's rate, which counts IP and TCP headers, while a file's
bytes do not: 1,448 of 1,500, or 0.965, is the most there is.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from pathlib import Path

from benchmarks import peers
from benchmarks.lab import Lab, lab, random_file, started, until
from benchmarks.table import show
from tests.fakes.namespaces import Host, Shape, two_hosts, why_not

RATE = 20e6 / 8  # bytes a second
DELAY = 0.05  # seconds, each way
LOSSES = (0.0, 0.001, 0.01, 0.02)
MUCH, SOME = 40 << 20, (40 << 20, 12 << 20, 4 << 20, 2 << 20)  # bytes: what a link of that loss carries in some 20 s

SLOW_RATE = 256e3 / 8  # bytes a second
SLOW_DELAY = 0.3  # seconds, each way
SLOW_BYTES = 1 << 20
Shares = dict[str, list[list[float]]]
WORDS = 9  # control messages beside the bulk


@dataclass(frozen=True, slots=True)
class Contender:
    """One way of moving a file; `lanes` only for ours."""

    name: str
    congestion: str
    lanes: str = "1"

    @property
    def suffers(self) -> bool:
        """Whether it slows down for each lost packet, so that little is enough to measure it."""
        return self.congestion != "bbr" and self.lanes == "1"

    def size(self, index: int) -> int:
        """Bytes for the loss of this index."""
        if self.lanes != "1":
            return MUCH // 2
        return SOME[index] if self.suffers else MUCH


OURS = (
    Contender("ours, bbr", "bbr"),
    Contender("ours, cubic, 8 connections", "cubic", "8"),
    Contender("ours, cubic, 1 connection", "cubic"),
)
CURL = (Contender("curl from nginx, bbr", "bbr"), Contender("curl from nginx, cubic", "cubic"))


def run(root: Path, rounds: int = 1) -> None:
    """Prints all tables. Raises SystemExit where it can't be measured."""
    if reason := why_not():
        raise SystemExit(f"links can't be measured here: {reason}")
    lossy(root / "lossy", rounds)
    slow(root / "slow")


def lossy(root: Path, rounds: int) -> None:
    """The share of a link of 20 Mbit/s and 100 ms."""
    columns = ("share of the link, median", *(f"loss {loss:.1%}" for loss in LOSSES))
    down, up = ours_lossy(root, rounds)
    down |= curl_lossy(root, rounds)
    for title, found in (("to a node", down), ("push", up)):
        rows = [(name, *map(statistics.median, shares)) for name, shares in found.items()]
        show(f"20 Mbit/s, 100 ms: {title}", columns, rows)


def ours_lossy(root: Path, rounds: int) -> tuple[Shares, Shares]:
    """To a node, and pushed."""
    down: Shares = {contender.name: [[] for _ in LOSSES] for contender in OURS}
    up: Shares = {contender.name: [[] for _ in LOSSES] for contender in OURS}
    for contender, number, (index, loss) in product(OURS, range(rounds), enumerate(LOSSES)):
        with _road() as (hub, node):
            place = root / f"ours-{OURS.index(contender)}-{number}-{index}"
            got, gave = ours(place, hub, node, contender, Shape(RATE, DELAY, loss=loss), contender.size(index))
        down[contender.name][index].append(got / RATE)
        up[contender.name][index].append(gave / RATE)
        print(f"{contender.name}, {loss:.1%}: down {got / RATE:.3f}, up {gave / RATE:.3f}", flush=True)
    return down, up


def curl_lossy(root: Path, rounds: int) -> Shares:
    """Downloads."""
    down: Shares = {contender.name: [[] for _ in LOSSES] for contender in CURL}
    for contender, number, (index, loss) in product(CURL, range(rounds), enumerate(LOSSES)):
        with _road() as (hub, node):
            place = root / f"curl-{CURL.index(contender)}-{number}-{index}"
            found = curl(place, hub, node, contender, Shape(RATE, DELAY, loss=loss), contender.size(index))
        down[contender.name][index].append(found / RATE)
        print(f"{contender.name}, {loss:.1%}: {found / RATE:.3f}", flush=True)
    return down


def slow(root: Path) -> None:
    """Goodput, and how long a word takes beside the bulk, at 256 kbit/s and 600 ms."""
    shape = Shape(SLOW_RATE, SLOW_DELAY)
    rows: list[tuple[str, float, str]] = []
    for contender in CURL:
        with _road() as (hub, node):
            found = curl(root / f"curl-{contender.congestion}", hub, node, contender, shape, SLOW_BYTES)
        rows.append((contender.name, found / SLOW_RATE, ""))
        print(rows[-1], flush=True)
    for contender in (OURS[0], OURS[2]):
        with _road() as (hub, node):
            place = root / f"ours-{contender.congestion}"
            found, _ = ours(place, hub, node, contender, shape, SLOW_BYTES, push=False)
        with _road() as (hub, node):
            waits = words(root / f"words-{contender.congestion}", hub, node, contender, shape)
        said = f"{statistics.median(waits):.1f} s ({min(waits):.1f} to {max(waits):.1f})"
        rows.append((contender.name, found / SLOW_RATE, said))
        print(rows[-1], flush=True)
    show(
        "256 kbit/s, 600 ms", ("what", "share of the link", "a promotion beside the bulk arrives after (median)"), rows
    )


@contextmanager
def _road() -> Iterator[tuple[Host, Host]]:
    with two_hosts(Shape(), seed=4) as hosts:
        yield hosts


def ours(  # noqa: PLR0917
    root: Path, hub: Host, node: Host, contender: Contender, shape: Shape, size: int, *, push: bool = True
) -> tuple[float, float]:
    """Bytes a second of a model's content to a node, from the promotion to the switch; and of a push, to committed."""
    with _hub(root, hub, contender) as here:
        source = root / "model.bin"
        random_file(source, size)
        here.ctl("push", str(source), "bench/down")
        hub.wire.shape(shape)  # before anybody connects: BBR remembers the shortest round trip for ten seconds
        with _agent(here, node, contender) as data:
            here.ctl("assign", "bench/down@stable", "--node", "node")
            got = size / _sync(here, data, "bench/down", 1)
        gave = 0.0
        if push:
            random_file(source, size)
            os.environ |= {"MODELSYNCD_CONGESTION": contender.congestion, "MODELSYNCD_LANES": contender.lanes}
            done = here.ctl("push", str(source), "bench/up", before=node.command())
            seconds = done["seconds"]
            assert isinstance(seconds, float)  # noqa: S101
            gave = size / seconds
        hub.wire.shape(Shape())
    return got, gave


def words(root: Path, hub: Host, node: Host, contender: Contender, shape: Shape) -> list[float]:
    """Seconds from a channel's move until the node has switched, for releases that it has, while it fetches another."""
    with _hub(root, hub, contender) as here:
        small, large = root / "small.bin", root / "large.bin"
        for _ in range(2):
            random_file(small, 1000)
            here.ctl("push", str(small), "bench/small")
        random_file(large, 64 << 20)
        here.ctl("push", str(large), "bench/large")
        hub.wire.shape(shape)
        with _agent(here, node, contender) as data:
            here.ctl("assign", "bench/small@stable", "--node", "node", "--priority", "5")
            here.ctl("assign", "bench/large@stable", "--node", "node")
            for number in (1, 2):
                _sync(here, data, "bench/small", number)
            here.ctl("promote", "bench/large:1", "stable")
            time.sleep(30)  # until its rate is known
            waits = []
            for turn in range(WORDS):
                waits.append(_sync(here, data, "bench/small", 1 + turn % 2))
                print(f"{contender.name}: a word took {waits[-1]:.1f} s", flush=True)
                time.sleep(1.7)
        hub.wire.shape(Shape())
    return waits


def curl(  # noqa: PLR0917
    root: Path, hub: Host, node: Host, contender: Contender, shape: Shape, size: int
) -> float:
    """Bytes a second that curl fetches from nginx over TLS, its handshake included."""
    root.mkdir(parents=True, exist_ok=True)
    source = root / "model.bin"
    random_file(source, size)
    for host in (hub, node):  # by the route, because the default of a namespace can only be what anybody may have
        host.run(*f"ip route replace 10.77.0.0/24 dev road src {host.address} congctl {contender.congestion}".split())
    command = peers.nginx_command(source, root / "nginx", f"{hub.address}:8443")
    with started(hub.command(*command), root / "nginx.log") as server:
        asked = ["curl", "-sS", "-k", "--fail", "-o", "/dev/null", "-w", "%{time_total}"]
        url = f"https://{hub.address}:8443/{source.name}"
        until(lambda: _opens(node, url), server.process)
        hub.wire.shape(shape)
        seconds = float(node.run(*asked, url, timeout=600))
    return size / seconds


def _opens(host: Host, url: str) -> bool:
    command = host.command("curl", "-sSk", "--fail", "-o", "/dev/null", "-r", "0-0", url)
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@contextmanager
def _hub(root: Path, host: Host, contender: Contender) -> Iterator[Lab]:
    options = ("--coding", "plain", "--congestion", contender.congestion)
    with lab(root, *options, listen=f"{host.address}:0", before=host.command()) as here:
        yield here


@contextmanager
def _agent(here: Lab, host: Host, contender: Contender) -> Iterator[Path]:
    """Its data folder, once it is in a session with the hub."""
    flags = ("--congestion", contender.congestion, "--lanes", contender.lanes)
    with here.agent("node", "", *flags, before=host.command()) as (running, data):
        until((data / "desired.pb").exists, running.process)
        yield data


def _sync(here: Lab, data: Path, model: str, number: int) -> float:
    """Seconds from the channel's move, by the hub's clock, until the node has switched."""
    link = data / "models" / model / "stable"
    done = here.ctl("promote", f"{model}:{number}", "stable")
    until(lambda: link.is_symlink() and link.readlink().name.startswith(f"{number}-"))
    move = done["move"]
    assert isinstance(move, dict)  # noqa: S101
    return time.time() - _seconds(str(move["at"]))


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()

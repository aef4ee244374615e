"""Two hosts on one machine with a real, lossy road between them: network namespaces, joined by a wire of ours.

Each host is a namespace with a network of its own, so what talks over the road is the kernel's TCP, with its congestion
control and its retransmissions. The wire (`tun_relay.py`) needs no netem and no nftables, only root, `ip` and a TUN
device; `why_not` says which of them is lacking.

    with two_hosts(Shape(rate=20e6 / 8, delay=0.05, loss=0.01), seed=7) as (hub, agent):
        server = hub.start("modelsync-hub", "run", "--listen", f"{hub.address}:7443", ...)
        agent.run("curl", f"http://{hub.address}/")
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.fakes.tun_relay import DEVICE

ROOT = Path(__file__).parents[2]
_SERIAL = itertools.count()


@dataclass(frozen=True, slots=True)
class Shape:
    """How one direction of the road is."""

    rate: float = 0.0
    """Bytes a second, IP headers included; 0 means as fast as it goes (some hundred Mbit/s)."""
    delay: float = 0.0
    """Seconds from one end to the other: half of the round trip."""
    jitter: float = 0.0
    """Seconds: up to so much more, evenly spread, and never so that packets overtake one another."""
    loss: float = 0.0
    """Share of packets that is lost, from 0 to 1."""
    queue: float = 0.0
    """Bytes that wait at the slow end before more are dropped; 0 means 200 ms of the rate, at least 64 KiB."""

    def order(self, start: int) -> dict[str, object]:
        """What the wire is told of it."""
        queue = self.queue or (max(64 << 10, self.rate * 0.2) if self.rate else 1e9)
        return {"do": "shape", "from": start, **asdict(self), "queue": queue}


@dataclass(frozen=True, slots=True)
class Counted:
    """Packets since the beginning, by the host that sent them: the first, the second."""

    carried: tuple[int, int]
    lost: tuple[int, int]
    overflowed: tuple[int, int]
    size: tuple[int, int]
    """Bytes of the packets that were carried."""


class Wire:
    """The road between the two hosts."""

    def __init__(self, left: str, right: str, seed: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.tun_relay", left, right, str(seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self._hear()

    def shape(self, shape: Shape, back: Shape | None = None) -> None:
        """From the first host to the second; `back` is the other direction, the same as there where it is left out."""
        self._ask(shape.order(0))
        self._ask((back or shape).order(1))

    def counted(self) -> Counted:
        """What was carried and what was lost."""
        found = self._ask({"do": "count"})
        return Counted(**{name: tuple(numbers) for name, numbers in found.items()})

    def close(self) -> None:
        """Ends it; the devices go with it."""
        with suppress(BrokenPipeError):
            self._process.communicate(timeout=10)

    def _ask(self, order: dict[str, object]) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._hear()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the wire has ended"
        found = json.loads(line)
        assert isinstance(found, dict)
        return found


@dataclass(frozen=True, slots=True)
class Host:
    """One end of the road."""

    namespace: str
    address: str
    """Its IPv4 address on the road."""
    wire: Wire

    def command(self, *command: str) -> list[str]:
        """This command, to be run on this host."""
        return ["ip", "netns", "exec", self.namespace, *command]

    def start(self, *command: str, **options: Any) -> subprocess.Popen[str]:
        """Begins a program here; whoever starts it ends it. `options` are those of Popen."""
        return subprocess.Popen(self.command(*command), **{"text": True, **options})

    def run(self, *command: str, timeout: float = 60) -> str:
        """What a program says that runs here to its end. Raises CalledProcessError, TimeoutExpired."""
        done = subprocess.run(self.command(*command), capture_output=True, text=True, check=True, timeout=timeout)
        return done.stdout

    def python(self, code: str, *arguments: str, timeout: float = 60) -> str:
        """What a few lines of Python say that run here."""
        return self.run(sys.executable, "-c", code, *arguments, timeout=timeout)

    def down(self) -> None:
        """Takes this host's end of the road away, as an unplugged cable does: it knows that it has no network."""
        _ip("-n", self.namespace, "link", "set", DEVICE, "down")

    def up(self) -> None:
        """Plugs it in again."""
        _ip("-n", self.namespace, "link", "set", DEVICE, "up")


def why_not() -> str:
    """What this machine lacks for namespaces; empty when it lacks nothing."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "making network namespaces needs root"
    if shutil.which("ip") is None:
        return "there is no `ip` (iproute2)"
    if not Path("/dev/net/tun").exists():
        return "there is no /dev/net/tun"
    name = _new_name()
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
        return "this root may not make network namespaces"
    subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
    return ""


@contextmanager
def two_hosts(
    shape: Shape | None = None, back: Shape | None = None, *, mtu: int = 1_500, seed: int = 1
) -> Iterator[tuple[Host, Host]]:
    """Two hosts for as long as the block lasts. `shape` holds from the first to the second, and back, unless `back`."""
    names = (_new_name(), _new_name())
    addresses = ("10.77.0.1", "10.77.0.2")
    wire: Wire | None = None
    try:
        for name in names:
            _ip("netns", "add", name)
            for kind in ("all", "default"):  # its own packets would be lost in the place of others
                _ip("netns", "exec", name, "sh", "-c", f"echo 1 > /proc/sys/net/ipv6/conf/{kind}/disable_ipv6")
        wire = Wire(*names, seed)
        for name, address in zip(names, addresses, strict=True):
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("-n", name, "address", "add", f"{address}/24", "dev", DEVICE)
            _ip("-n", name, "link", "set", DEVICE, "mtu", str(mtu), "txqueuelen", "10000", "up")
        wire.shape(shape or Shape(), back)
        yield Host(names[0], addresses[0], wire), Host(names[1], addresses[1], wire)
    finally:
        if wire is not None:
            wire.close()
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def _new_name() -> str:
    return f"ms-{os.getpid()}-{next(_SERIAL)}"


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"

"""How long a node needs to see that its link is dead, and to fetch again once the link is back.

Hub and agent run in network namespaces of their own (`tests/fakes/namespaces.py`; needs root), so what is seen is the
kernel's TCP, and its news of cables. Each case happens in the middle of a transfer; medians.
"""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from benchmarks.lab import lab, random_file, until
from benchmarks.table import show
from tests.fakes.namespaces import Host, Shape, two_hosts, why_not

RATE = 2.5e6  # bytes a second
LINK = Shape(rate=RATE, delay=0.05)
DEAD = Shape(rate=RATE, delay=0.05, loss=1.0)
AWAY = 75.0  # seconds that a link is gone: longer than anything that notices it
USEFUL = 100_000  # bytes that came: more than any handshake and word
_DOWN = re.compile(r"^(\S+) \S+ uplink\.down")


@dataclass
class Case:
    """A way in which a link goes and comes back."""

    name: str
    goes: Callable[[Host, Host], object]
    returns: Callable[[Host, Host], object]
    noticed: list[float] = field(default_factory=list)
    useful: list[float] = field(default_factory=list)


CASES = [
    Case("the node's cable is out, and in again", lambda _, node: node.down(), lambda _, node: node.up()),
    Case(
        "nothing passes in the middle, nobody says so",
        lambda _, node: node.wire.shape(DEAD),
        lambda _, node: node.wire.shape(LINK),
    ),
    Case(
        "only towards the node nothing passes",
        lambda _, node: node.wire.shape(DEAD, LINK),
        lambda _, node: node.wire.shape(LINK),
    ),
]


def run(root: Path, rounds: int) -> None:
    """Prints the table."""
    if why := why_not():
        raise SystemExit(why)
    source = root / "weights.bin"
    random_file(source, int(RATE * 8 * rounds * len(CASES)))
    with (
        two_hosts(LINK) as (host, node),
        lab(root / "lab", listen=f"{host.address}:7443", before=host.command()) as here,
    ):
        here.ctl("push", str(source), "bench/model", "--channel", "stable")
        with here.agent("node", f"{host.address}:7443", before=node.command()) as (_, data):
            here.ctl("assign", "bench/model@stable", "--node", "node")
            log = data.with_suffix(".log")
            _await_bytes(node, USEFUL)
            for _ in range(rounds):
                for case in CASES:
                    _measure(case, host, node, log)
                    print(f"  {case.name}: {case.noticed[-1]:.1f} s, {case.useful[-1]:.1f} s", flush=True)
    show(
        f"A link that goes for {AWAY:.0f} s in the middle of a transfer, {RATE * 8 / 1e6:.0f} Mbit/s, 100 ms",
        ("what happens", "seconds until the agent says so", "seconds from the link's return to bytes of the model"),
        [(one.name, _median(one.noticed), _median(one.useful)) for one in CASES],
    )


def _median(seen: list[float]) -> float:
    return round(statistics.median(seen), 1)


def _measure(case: Case, host: Host, node: Host, log: Path) -> None:
    _await_bytes(node, USEFUL)
    before = _downs(log)
    gone, gone_at = time.monotonic(), time.time()
    case.goes(host, node)
    until(lambda: time.monotonic() - gone >= AWAY)
    found = _downs(log)[len(before) :]
    case.noticed.append(found[0] - gone_at if found else float("nan"))
    case.returns(host, node)
    case.useful.append(_await_bytes(node, USEFUL))


def _downs(log: Path) -> list[float]:
    """When the agent said that its link was down."""
    found = (_DOWN.match(line) for line in log.read_text().splitlines())
    return [datetime.fromisoformat(one[1]).timestamp() for one in found if one]


def _await_bytes(node: Host, count: int) -> float:
    """Seconds until so many bytes have come from the hub."""
    began, before = time.monotonic(), node.wire.counted().size[0]
    until(lambda: node.wire.counted().size[0] - before >= count)
    return time.monotonic() - began

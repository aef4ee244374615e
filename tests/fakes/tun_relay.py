"""The wire between two network namespaces: a program that carries IP packets from one TUN device to the other.

It is a program of its own, so that neither it nor the test waits for the other's turn at Python. It reads its orders
from its standard input, one JSON object a line, and answers each with one line:

    {"do": "shape", "from": 0, "rate": 2.5e6, "delay": 0.05, "jitter": 0, "loss": 0.01, "queue": 250000}
    {"do": "count"}   → {"carried": [packets from 0, from 1], "lost": […], "overflowed": […], "size": […]}

A packet is lost with probability `loss`, or when the queue is full; else it leaves when the wire is free, and arrives
`delay` and up to `jitter` seconds later. Packets never overtake one another. The same seed and the same packets in
the same order lose the same ones.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import random
import select
import struct
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DEVICE = "road"
MTU_MAX = 65_536
_CLONE_NEWNET = 0x4000_0000  # linux/sched.h
_TUNSETIFF = 0x4004_54CA  # linux/if_tun.h
_IFF_TUN_NO_PI = 0x1001


@dataclass
class Direction:
    """Packets of one side, on their way to the other."""

    source: int
    sink: int
    rng: random.Random
    rate: float = 0.0
    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    queue: float = 1e9
    free_at: float = 0.0
    last_due: float = 0.0
    waiting: deque[tuple[float, bytes]] = field(default_factory=deque)
    carried: int = 0
    lost: int = 0
    overflowed: int = 0
    size: int = 0

    def shape(self, order: dict[str, Any]) -> None:
        """From the next packet on."""
        self.rate, self.delay, self.jitter = order["rate"], order["delay"], order["jitter"]
        self.loss, self.queue = order["loss"], order["queue"]

    def take(self, now: float) -> None:
        """Reads what the side has sent."""
        while True:
            try:
                packet = os.read(self.source, MTU_MAX)
            except BlockingIOError:
                return
            except OSError:  # EIO: its device is down
                return
            self._send(packet, now)

    def _send(self, packet: bytes, now: float) -> None:
        if self.loss and self.rng.random() < self.loss:
            self.lost += 1
            return
        if self.rate:
            self.free_at = max(self.free_at, now)
            if (self.free_at - now) * self.rate + len(packet) > self.queue:
                self.overflowed += 1
                return
            self.free_at += len(packet) / self.rate
        due = max(self.free_at, now) + self.delay + (self.rng.random() * self.jitter if self.jitter else 0.0)
        self.last_due = max(due, self.last_due)
        self.waiting.append((self.last_due, packet))

    def hand_on(self, now: float) -> None:
        """Gives the other side what has arrived by now."""
        while self.waiting and self.waiting[0][0] <= now:
            _, packet = self.waiting.popleft()
            try:
                os.write(self.sink, packet)
            except OSError:  # the other side's device is down, or its queue is full
                self.lost += 1
                continue
            self.carried += 1
            self.size += len(packet)


def enter(namespace: str) -> None:
    """Puts this thread into a namespace that `ip netns` made. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/run/netns", namespace).open("rb") as handle:
        if libc.setns(handle.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns", namespace)


def open_device(namespace: str) -> int:
    """A TUN device named `road` in this namespace, as long as its descriptor is open. Raises OSError."""
    enter(namespace)
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), _IFF_TUN_NO_PI))
    return descriptor


def main(left: str, right: str, seed: int) -> None:
    """Carries until its standard input ends."""
    ends = [open_device(name) for name in (left, right)]
    ways = [
        Direction(ends[0], ends[1], random.Random(2 * seed)),
        Direction(ends[1], ends[0], random.Random(2 * seed + 1)),
    ]
    answer({"ready": True})
    orders = b""
    while True:
        now = time.monotonic()
        dues = [way.waiting[0][0] for way in ways if way.waiting]
        pause = max(0.0, min(dues) - now) if dues else None
        ready, _, _ = select.select([0, *ends], [], [], pause)
        now = time.monotonic()
        if 0 in ready:
            if not (more := os.read(0, 65_536)):
                return
            *lines, orders = (orders + more).split(b"\n")
            for line in lines:
                obey(json.loads(line), ways)
        for way in ways:
            if way.source in ready:
                way.take(now)
            way.hand_on(now)


def obey(order: dict[str, Any], ways: list[Direction]) -> None:
    """Carries out one order, and answers."""
    if order["do"] == "shape":
        ways[order["from"]].shape(order)
        answer({"shaped": True})
        return
    names = ("carried", "lost", "overflowed", "size")
    answer({name: [getattr(way, name) for way in ways] for name in names})


def answer(word: dict[str, Any]) -> None:
    """One line."""
    sys.stdout.write(json.dumps(word) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))

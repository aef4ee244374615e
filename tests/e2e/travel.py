"""Transfers over a link of a known rate, and what a fault in the middle of one may cost at most.

The protocol asks for about a second of the measured rate ahead (modelsyncd/session/window.py). So at a known rate the
cost of a cut or a killed process is known: whatever was asked for and not durable, and not a byte of the rest.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.content import folder, tree
from tests.e2e.fleet import through, until_active
from tests.e2e.processes import AgentProgram, HubProgram
from tests.e2e.waiting import PATIENCE
from tests.fakes.link.relay import TcpLink, tcp_link
from tests.fakes.link.shape import Way
from tests.fakes.oracle import whole_versions

RATE = 4_000_000  # bytes per second each way
SIZE = 16_000_000  # bytes of the model: a few times what may be sent twice
WINDOW = RATE  # bytes: a second of the rate; we saw 0.1 to 0.6 MB, because what arrived is written within tens of ms
WORDS = 192 << 10  # bytes: handshakes and control messages of one session
OVERHEAD = 1.02  # frames, TLS and HTTP/2 around a chunk
REF = "far/model@stable"


def allowed(faults: int, size: int = SIZE) -> int:
    """Bytes that may be carried for content of `size` that met so many faults on its way."""
    return int(size * OVERHEAD) + (faults + 1) * WORDS + faults * WINDOW


def check_cost(link: TcpLink, way: Way, faults: int) -> None:
    """Raises AssertionError when more than a window for each fault was carried again."""
    carried = link.carried(way)
    assert carried >= SIZE, "the content did not come over this link"
    assert carried <= allowed(faults), f"{carried - SIZE} bytes more than the content, for {faults} faults"


@dataclass
class Push:
    """`modelsyncctl push` over a link, in a process of its own."""

    hub: HubProgram
    link: TcpLink
    origin: Path
    model: str = "far/model"
    process: subprocess.Popen[str] | None = None
    options: list[str] = field(default_factory=list)

    def start(self) -> None:
        command = self.hub.ctl.command("push", str(self.origin), self.model, "--channel", "stable", *self.options)
        self.process = subprocess.Popen(
            [*command, "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"MODELSYNCD_HUB": self.link.address},
        )

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.communicate()

    def end(self) -> dict[str, Any]:
        """Waits until it has ended well; its answer."""
        assert self.process is not None
        out, err = self.process.communicate(timeout=90)
        assert self.process.returncode == 0, err
        found = json.loads(out)
        assert isinstance(found, dict)
        return found


@contextmanager
def pushing(hub: HubProgram, tmp_path: Path) -> Iterator[Push]:
    """A push that has begun over a link of the known rate."""
    with tcp_link(hub.address, RATE) as link:
        push = Push(hub, link, folder(tmp_path / "origin", size=SIZE))
        push.start()
        try:
            yield push
        finally:
            if push.process is not None and push.process.poll() is None:
                push.kill()


def check_pushed(push: Push, tmp_path: Path) -> None:
    """Raises AssertionError unless the hub has the whole of it, as release 1 and no other."""
    history = push.hub.ctl.json("history", push.model)
    assert [release["number"] for release in history["releases"]] == [1]
    dest = tmp_path / "pulled-back"
    push.hub.ctl.json("pull", push.model, str(dest))
    assert tree(dest) == tree(push.origin)


@dataclass
class Sync:
    """An agent that fetches the model over a link."""

    hub: HubProgram
    link: TcpLink
    origin: Path
    agent: AgentProgram

    def end(self, seconds: float = PATIENCE) -> None:
        """Waits until it is active, and judges all that is shown."""
        path = until_active(self.agent, REF, 1, seconds)
        assert tree(path) == tree(self.origin)
        assert set(whole_versions(self.agent.data)) == {"far/model:1"}

    def check_nothing_shown(self) -> None:
        """Raises AssertionError when anything can be seen of a version that is not whole."""
        assert whole_versions(self.agent.data) == {}


@contextmanager
def syncing(hub: HubProgram, tmp_path: Path) -> Iterator[Sync]:
    """An agent that has begun to fetch what was pushed before, over a link of the known rate."""
    origin = folder(tmp_path / "origin", size=SIZE)
    hub.ctl.json("push", str(origin), "far/model", "--channel", "stable")
    with tcp_link(hub.address, RATE) as link:
        agent = through(AgentProgram.invited(hub, "far-node", tmp_path / "far-node"), link)
        hub.ctl.json("assign", REF, "--node", agent.name)
        agent.start()
        try:
            yield Sync(hub, link, origin, agent)
        finally:
            agent.kill()

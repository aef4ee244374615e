"""An agent killed anywhere while it carries out reports of Sedna's workers does each of them, and counts it once."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from edge_agent.sedna.settings import JobSettings
from edge_agent.sedna.spool import Spool
from tests.fakes.sedna_node import CANDIDATE, Node
from tests.unit.test_sedna_controller import body, ready, trained, waiting


class KilledError(BaseException):
    """The agent's life ends."""


class Fate:
    """Ends a life at a step, counted from 1; 0 for never."""

    def __init__(self, at: int) -> None:
        self._at = at
        self.steps = 0
        self.over = asyncio.Event()

    def step(self) -> None:
        self.steps += 1
        if self.over.is_set() or self.steps == self._at:
            self.over.set()
            raise KilledError


async def _lived(folder: Path, fate: Fate, monkeypatch: pytest.MonkeyPatch) -> Node:
    """One life with two reports in it, which may be cut short, and a second one that ends them."""
    (out := folder / "out").mkdir(parents=True)
    node = Node(folder / "data", JobSettings("acme/helmet", results=(str(out),)))
    node.channels.switch(node.channels.put(2), CANDIDATE)
    node.tray.step = fate.step
    results = [{"url": "/x", "metrics": {"p": 1}}, {"url": "/y", "metrics": {"p": 0}}]
    with monkeypatch.context() as patched:
        done = Spool.done

        def removing(spool: Spool, number: int) -> None:
            fate.step()
            done(spool, number)
            fate.step()

        patched.setattr(Spool, "done", removing)
        with suppress(BaseExceptionGroup):
            async with node.live():
                await ready(node)
                node.tray.open.clear()  # nothing is carried out, and no life ends, before both were answered
                await node.controller.answer("t", trained(out, loss=1).replace(b'"w"', b'"t"'))
                await node.controller.answer("w", body(kind="eval", status="completed", results=results))
                node.tray.open.set()
                await node.until(lambda: fate.over.is_set() or not waiting(node))
    node.tray.step = lambda: None
    async with node.live():
        await node.until(lambda: not waiting(node))
    return node


async def test_each_report_counts_once_wherever_the_agent_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Fate(0)
    await _lived(tmp_path / "whole", whole, monkeypatch)
    assert whole.steps >= 8
    for at in range(1, whole.steps + 1):
        fate = Fate(at)
        node = await _lived(tmp_path / str(at), fate, monkeypatch)
        assert fate.over.is_set()
        assert {(one.path.name, one.channel) for one in node.tray.stored} == {("out", "candidate")}
        kept = {one.key: (one.number, one.stage, one.name) for one in node.tray.recorded}
        assert b"" not in kept
        assert len(set(kept.values())) == len(kept), f"killed at step {at}, a number counts twice"
        assert set(kept.values()) == {(1, "eval", "p"), (2, "eval", "p"), (2, "eval", "p_delta")}

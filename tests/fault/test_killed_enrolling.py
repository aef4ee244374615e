"""The process that enrols a node is killed between any two of its steps: asked again, it comes in with the same key."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge_agent.enrolment import ensure, folder_of, identity, known
from modelsyncd.store import failpoints
from modelsyncd.store.failpoints import Point
from modelsyncd.trust import keys
from modelsyncd.trust.identity import KEY_FILE
from tests.fakes.enrolling import Hub, open_hub
from tests.fault.reach import FULL

POINTS = [Point.NODE_KEY_KEPT, Point.INVITE_KEPT, Point.ENROLMENT_ANSWERED, Point.IDENTITY_KEPT]
FILES = [f"{Point.FILE_RENAMED.word}=kill@{nth}" for nth in range(1, 8)]
"""A key and an invite, then key, authority and certificate, the invite once more, and the facts."""
WISHES = [f"{point.word}=kill" for point in POINTS] + (FILES if FULL else FILES[3:5])


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    (tmp_path / "hub").mkdir()
    async with open_hub(tmp_path / "hub") as it:
        yield it


async def enrol(data: Path, hub: Hub, token: str, wishes: str) -> int:
    """What the agent starts when it is not let in yet; its exit code."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "edge_agent.enrol"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        env=os.environ | {failpoints.VARIABLE: wishes},
    )
    await process.communicate(json.dumps({"data": str(data), "hub": hub.address, "invite": token}).encode())
    assert process.returncode is not None
    return process.returncode


@pytest.mark.slow
@pytest.mark.parametrize("wishes", WISHES)
async def test_a_node_that_dies_while_it_enrols_comes_in_with_the_key_that_it_made(
    hub: Hub, tmp_path: Path, wishes: str
) -> None:
    data, token = tmp_path / "node", hub.invite("kiosk-7")
    assert await enrol(data, hub, token, wishes) == -signal.SIGKILL
    key = folder_of(data) / KEY_FILE
    made = key.read_bytes() if key.exists() else None
    assert known(data) is None or wishes == FILES[-1], "the facts come last"
    enrolment = await ensure(data, hub.address, token, hub.clock())
    assert (enrolment.name, enrolment.problem) == ("kiosk-7", None)
    held = identity(data)
    assert made in (held.key, None)
    assert keys.belong(held.key, held.certificate)
    assert [node.name for node in hub.catalog.nodes.list()] == ["kiosk-7"]
    assert not any(path.name.endswith(".new") for path in data.rglob("*"))

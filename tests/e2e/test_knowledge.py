"""A knowledge base of many tasks goes to a node and changes in one task: real hub, real agent, bytes counted."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from modelsyncd.client import Client
from modelsyncd.client.knowledge import Knowledge
from tests.e2e.conftest import StartAgent
from tests.e2e.fleet import until_active, until_told
from tests.e2e.processes import Ctl, HubProgram

pytestmark = pytest.mark.slow
REF, TASKS, SIZE = "kb/tolls@stable", 20, 40_000


def test_of_many_tasks_only_the_one_that_changed_travels_and_jobs_find_it_by_name(
    own_hub: HubProgram, start_agent: StartAgent, tmp_path: Path
) -> None:
    agent, rng = start_agent(own_hub, "toll"), Random(1)
    arguments: list[str] = []
    for number in range(TASKS):
        path = tmp_path / f"{number}.bin"
        path.write_bytes(rng.randbytes(SIZE))
        arguments += [
            "--task",
            f"gate-{number}={path}",
            "--attribute",
            f"gate-{number}:side={'in' if number % 2 else 'out'}",
        ]
    own_hub.ctl.json("knowledge", "push", REF, *arguments)
    own_hub.ctl.json("assign", REF, "--node", "toll")
    until_active(agent, REF, 1)

    (tmp_path / "new.bin").write_bytes(fresh := rng.randbytes(SIZE))
    done = own_hub.ctl.json(
        "knowledge", "push", REF, "--update", "kb/tolls", "--task", f"gate-3={tmp_path / 'new.bin'}"
    )
    assert (done["number"], len(done["tasks"])) == (2, TASKS)
    until_active(agent, REF, 2)
    told = until_told(own_hub, agent, REF, 2)
    assert told["bytes_wire"] < 2 * SIZE < 0.15 * TASKS * SIZE
    with Client(agent.data / "agent.sock") as client, client.acquire(REF) as model:
        known = Knowledge.at(model.path)
        assert known.task("gate-3").read_bytes() == fresh
        assert len(known.matching(side="in")) == TASKS // 2

    here = Ctl(Path("/nowhere"), {"MODELSYNCD_AGENT": str(agent.data / "agent.sock")})
    assert Path(here.text("knowledge", "path", REF, "gate-3").strip()).read_bytes() == fresh
    assert len(here.json("knowledge", "list", REF, "--attribute", "side=in")["tasks"]) == TASKS // 2
    assert "did you mean gate-3" in here.run("knowledge", "path", REF, "gate-33").stderr

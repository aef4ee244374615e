"""Programs that must not start or must not speak: they say why, what is safe and what to do, and touch nothing."""

from __future__ import annotations

import hashlib
import sqlite3
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from modelsyncd.client import Client
from modelsyncd.errors import WrongProtocolError
from tests.e2e.conftest import StartAgent
from tests.e2e.content import change, folder, tree
from tests.e2e.fleet import admin, until_active
from tests.e2e.processes import AgentProgram, HubProgram
from tests.e2e.waiting import PATIENCE, until
from tests.fakes.hub import HELLO, talking
from tests.fakes.oracle import whole_versions

REF = "starts/model@stable"


def refused(command: list[str], code: int) -> str:
    """Runs a program that must end by itself; what it says."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == code, (done.returncode, done.stderr)
    return done.stderr


@pytest.fixture
def agent(hub: HubProgram, start_agent: StartAgent, tmp_path: Path, request: pytest.FixtureRequest) -> AgentProgram:
    """An agent that has a model active."""
    found = start_agent(hub, f"starts-{hashlib.sha256(request.node.name.encode()).hexdigest()[:8]}")
    hub.ctl.json("push", str(folder(tmp_path / "origin", seed=70)), REF)
    hub.ctl.json("assign", REF, "--node", found.name)
    until_active(found, REF, number=hub.ctl.json("show", REF)["number"])
    return found


def test_a_second_agent_on_the_same_folder_is_refused_and_the_first_serves_on(agent: AgentProgram) -> None:
    assert agent.process is not None
    said = refused(agent.command, 5)
    assert f"in use by process {agent.process.pid}" in said
    assert f"stop process {agent.process.pid} first, or use another folder" in said
    assert agent.running
    with Client(agent.data / "agent.sock") as client:
        assert client.get(REF).ref == REF


def test_a_second_hub_on_the_same_folder_is_refused_and_the_first_serves_on(own_hub: HubProgram) -> None:
    assert own_hub.process is not None
    said = refused(own_hub.command, 5)
    assert f"in use by process {own_hub.process.pid}" in said
    assert own_hub.ctl.json("list")["models"] == []


def test_an_agent_that_should_judge_models_is_refused_with_what_to_type_at_the_hub(
    hub: HubProgram, tmp_path: Path
) -> None:
    agent = AgentProgram.invited(hub, "starts-trigger", tmp_path / "node")
    settings = tmp_path / "agent.toml"
    settings.write_text('[sedna.job."default/helmet"]\nmodel = "acme/helmet"\ntrigger = "precision_delta >= 0.01"\n')
    said = refused([*agent.command, "--config", str(settings)], 2)
    condition = "'metrics.precision >= current.precision + 0.01'"
    assert f": modelsyncctl rule set acme/helmet@candidate stable --if {condition} --stage eval\n" in said


def test_a_cache_of_a_newer_agent_is_set_aside(agent: AgentProgram) -> None:
    agent.stop()
    before = tree(agent.data / "models")
    cache = agent.data / "cache.db"
    with sqlite3.connect(cache) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    agent.start()
    with Client(agent.data / "agent.sock") as client:
        assert client.get(REF, wait=PATIENCE).ref == REF
    assert tree(agent.data / "models") == before
    assert cache.with_name("cache.db.damaged").exists()


@pytest.mark.parametrize("harm", ["deleted", "overwritten"])
def test_a_lost_cache_costs_no_byte_of_what_is_on_the_node(
    hub: HubProgram, agent: AgentProgram, tmp_path: Path, harm: str
) -> None:
    agent.stop()
    for path in agent.data.glob("cache.db*"):
        if harm == "deleted":
            path.unlink()
        else:
            path.write_bytes(b"not a database at all" * 1_000)
    agent.start()
    origin = folder(tmp_path / "next", seed=70)
    pushed = hub.ctl.json("push", str(change(origin, seed=len(harm))), REF)
    path = until_active(agent, REF, pushed["number"])
    assert tree(path) == tree(origin)
    whole_versions(agent.data)
    until(lambda: hub.ctl.json("status", "--node", agent.name)["settled"], "the hub was told")
    (standing,) = hub.ctl.json("status", "--node", agent.name)["places"]
    assert standing["bytes_had"] > 0, "the old version served as a seed"
    assert standing["bytes_wire"] < pushed["bytes"]


async def test_a_hub_refuses_another_protocol_number_and_says_who_should_upgrade(hub: HubProgram) -> None:
    async with talking(hub.address, admin(hub), hello=replace(HELLO, protocol=2)) as talk:
        error = await talk.ended()
    assert isinstance(error, WrongProtocolError)
    assert "test peer speaks 2" in error.message or "test peer speaks protocol 2" in error.message
    assert error.hint == "upgrade the older of the two"

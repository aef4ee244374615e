"""`modelsyncctl doctor`: what it looks at, and how it ends."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.e2e.conftest import StartAgent
from tests.e2e.ctl.test_contexts import run
from tests.e2e.processes import HubProgram
from tests.e2e.waiting import until


def checks(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in json.loads(done.stdout)["checks"]}


def test_a_healthy_hub_is_looked_at_from_the_way_to_its_disk(hub: HubProgram, tmp_path: Path) -> None:
    done = run(tmp_path, "doctor", "--context", str(hub.context), "--json")
    assert done.returncode == 0, done.stderr
    found = checks(done)
    assert set(found) == {
        *("versions", "congestion", "disk", "reach", "handshake", "round-trip", "path"),
        *("clock", "hub", "hub-congestion", "hub-disk"),
    }
    assert not [name for name, one in found.items() if one["state"] == "wrong"]
    assert found["clock"]["state"] == "well"
    assert 0 < found["round-trip"]["facts"]["seconds"] < found["handshake"]["facts"]["seconds"] + 1
    assert found["hub-congestion"]["facts"]["congestion"]
    assert found["path"]["facts"]["mtu"] > 1_000


def test_without_a_context_this_machine_is_looked_at_and_nothing_is_wrong(tmp_path: Path) -> None:
    done = run(tmp_path, "doctor")
    assert done.returncode == 0, done.stderr
    assert "modelsyncctl login" in done.stdout
    assert "answers loss by" in done.stdout


def test_a_hub_that_is_away_is_said_to_be_and_ends_with_the_roads_code(hub: HubProgram, tmp_path: Path) -> None:
    done = run(tmp_path, "doctor", "--context", str(hub.context), "--hub", "127.0.0.1:9", "--json")
    assert done.returncode == 6
    found = checks(done)
    assert found["reach"]["state"] == "wrong"
    assert "handshake" not in found


def test_what_the_kernel_does_not_give_is_told_and_is_no_fault(hub: HubProgram, tmp_path: Path) -> None:
    done = run(tmp_path, "doctor", "--context", str(hub.context), MODELSYNCD_CONGESTION="reno", GRPC_VERBOSITY="NONE")
    assert done.returncode == 0, done.stderr
    assert "answers loss by reno: links that lose packets will be slow" in done.stdout


def test_on_a_node_the_way_is_tried_as_that_node(hub: HubProgram, start_agent: StartAgent, tmp_path: Path) -> None:
    agent = start_agent(hub, "doctored")
    until(lambda: (agent.data / "identity" / "node.crt").exists() or None, "the node to be let in")
    done = run(tmp_path, "doctor", "--agent", str(agent.data), "--hub", hub.address, "--json")
    assert done.returncode == 0, done.stderr
    found = checks(done)
    assert found["disk"]["facts"]["path"] == str(agent.data)
    assert found["handshake"]["state"] == "well"
    assert "hub-disk" not in found, "a node may not ask how the hub is"

"""A real model server reloads what is switched: a hub, an agent, and MLServer in an environment of its own."""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.architecture.tree import ROOT
from tests.e2e.fleet import until_told
from tests.e2e.processes import AgentProgram, HubProgram
from tests.e2e.waiting import until

MLSERVER = Path(sys.prefix) / "mlserver/bin/mlserver"
MODEL, STABLE = "acme/helmet", "acme/helmet@stable"
RUNTIME = ROOT / "tests/fakes/mlserver"
SETTINGS = """
[layout."acme/helmet@stable"]
server = "mlserver"
folder = "{folder}"
reload = "http://127.0.0.1:{port}"
keep = 1
grace_seconds = 0
implementation = "little_runtime.Little"

[gate."acme/helmet@stable"]
url = "http://127.0.0.1:{port}/v2/models/helmet/versions/{{number}}/ready"
deadline = 15
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        platform.machine() not in ("x86_64", "aarch64") or platform.libc_ver()[0] != "glibc",
        reason="there are no wheels of what MLServer needs for this machine",
    ),
]


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def mlserver(folder: Path, log: Path) -> Iterator[int]:
    """Serves what is in the folder; its port."""
    assert MLSERVER.exists(), "make .venv/.mlserver builds the environment of the model server"
    http, grpc, metrics = free_ports(3)
    environment = os.environ | {
        "PYTHONPATH": str(RUNTIME),
        "MLSERVER_HOST": "127.0.0.1",
        "MLSERVER_HTTP_PORT": str(http),
        "MLSERVER_GRPC_PORT": str(grpc),
        "MLSERVER_METRICS_PORT": str(metrics),
        "MLSERVER_PARALLEL_WORKERS": "0",
    }
    with log.open("wb") as out:
        server = subprocess.Popen([str(MLSERVER), "start", str(folder)], stdout=out, stderr=out, env=environment)
    try:
        until(lambda: status(http, "/v2/health/ready") == 200, "MLServer is up", seconds=90, pause=0.2)
        yield http
    finally:
        server.kill()
        server.wait()


def status(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def answer(port: int) -> tuple[str, list[float]]:
    """Which version answers, and the weights that it was loaded with."""
    body = b'{"inputs": []}'
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v2/models/helmet/infer", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - http, as the line above says
        told = json.loads(response.read())
    return str(told["model_version"]), [float(one) for one in told["outputs"][0]["data"]]


def pushed(hub: HubProgram, path: Path, weights: list[float] | None) -> None:
    """A release with these weights; without any, one that no server can load."""
    if weights is None:
        path.write_bytes(b"no array")
    else:
        np.save(path, np.array(weights))
    hub.ctl.json("push", str(path), MODEL, "--channel", "stable")


def test_mlserver_loads_each_version_that_is_switched_to_and_a_bad_one_gives_way(
    own_hub: HubProgram, tmp_path: Path
) -> None:
    folder, weights = tmp_path / "served", tmp_path / "weights.npy"
    folder.mkdir()
    agent = AgentProgram.invited(own_hub, "edge-1", tmp_path / "edge-1")
    own_hub.ctl.json("assign", STABLE, "--node", "edge-1")
    with mlserver(folder, tmp_path / "mlserver.log") as port:
        settings = tmp_path / "edge-1.toml"
        settings.write_text(SETTINGS.format(folder=folder, port=port))
        agent.command += ["--config", str(settings)]
        agent.start()
        try:
            pushed(own_hub, weights, [1.0, 2.0])
            until_told(own_hub, agent, STABLE, 1)
            assert answer(port) == ("1", [1.0, 2.0])
            pushed(own_hub, weights, [3.0])
            until_told(own_hub, agent, STABLE, 2)
            assert answer(port) == ("2", [3.0])
            until(lambda: not (folder / "helmet/1").exists(), "the older folder goes")
            pushed(own_hub, weights, None)
            until(lambda: "layout.not-loaded" in agent.log.read_text(), "the server says that it can't load it")
            until(lambda: standing_of(agent)["loaded"].startswith("2-"), "the server has the one before", seconds=90)
            assert answer(port) == ("2", [3.0])
        finally:
            agent.kill()


def standing_of(agent: AgentProgram) -> dict[str, str]:
    told: dict[str, dict[str, str]] = json.loads((agent.data / "layouts.json").read_text())
    return told[STABLE]

"""A job that knows nothing but the published protos follows a model: no Python, and no code of ours."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import node_js
from tests.e2e.content import change, folder
from tests.e2e.processes import AgentProgram, HubProgram

ROOT = Path(__file__).parents[2]
SOURCE = Path(__file__).parent / "foreign_client"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def program() -> Path:
    try:
        return node_js.installed(SOURCE)
    except LookupError as error:
        pytest.skip(str(error))


@pytest.fixture
def agent(hub: HubProgram, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[AgentProgram]:
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[-40:].strip("-")
    program = AgentProgram.invited(hub, name, tmp_path / "node")
    program.command += ["--socket", str(tmp_path / "a.sock"), "--jobs-listen", "127.0.0.1:0"]
    program.start()
    yield program
    program.kill()


def targets(agent: AgentProgram) -> dict[str, str]:
    """Where the agent says that it serves jobs."""
    found = re.search(r"agent\.serving .*socket=(\S+) tcp=(\S+)", agent.log.read_text())
    assert found is not None
    return {"unix": f"unix:{found[1]}", "tcp": found[2]}


@contextmanager
def watching(program: Path, target: str, ref: str, count: int) -> Iterator[Iterator[dict[str, Any]]]:
    """The lines that watch.js prints, as they come; it must end by itself, and well."""
    command = [node_js.node(), str(program / "watch.js"), target, str(ROOT / "protos"), ref, str(count)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield (json.loads(line) for line in process.stdout)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0, errors
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("road", ["unix", "tcp"])
def test_a_job_in_another_language_follows_its_model_through_a_switch(
    hub: HubProgram, agent: AgentProgram, program: Path, tmp_path: Path, road: str
) -> None:
    model = f"foreign/{road}"
    content = folder(tmp_path / "content", size=400_000)
    hub.ctl.json("push", str(content), model, "--channel", "stable")
    hub.ctl.json("assign", f"{model}@stable", "--node", agent.name)
    with watching(program, targets(agent)[road], f"{model}@stable", 2) as lines:
        got = next(lines)
        assert got["kind"] == "get"
        assert got["active"]["number"] == "1"
        listed = next(lines)
        assert [(one["model"], one["channel"], one["phase"]) for one in listed["models"]] == [
            (model, "stable", "active")
        ]
        first = next(lines)
        assert first["active"] == got["active"]
        hub.ctl.json("push", str(change(content, at=1_000)), model, "--channel", "stable")
        second = next(lines)
    assert (second["active"]["number"], second["previous"]) == ("2", "1")
    assert second["files"] == ["deep", "run.sh", "weights.bin"]
    assert second["real_channel_path"] == second["active"]["path"]
    assert (Path(second["active"]["path"]) / "weights.bin").read_bytes() == (content / "weights.bin").read_bytes()
    assert (Path(first["active"]["path"]) / "weights.bin").stat().st_size == 400_000
    assert second["active"]["channel_path"] == first["active"]["channel_path"]


def test_a_model_that_is_one_file_is_given_as_that_file(
    hub: HubProgram, agent: AgentProgram, program: Path, tmp_path: Path
) -> None:
    (tmp_path / "net.onnx").write_bytes(b"weights" * 1_000)
    hub.ctl.json("push", str(tmp_path / "net.onnx"), "foreign/single", "--channel", "stable")
    hub.ctl.json("assign", "foreign/single@stable", "--node", agent.name)
    with watching(program, targets(agent)["unix"], "foreign/single@stable", 1) as lines:
        active = next(lines)["active"]
        list(lines)
    assert Path(active["path"]).name == Path(active["channel_path"]).name == "net.onnx"
    assert Path(active["channel_path"]).read_bytes() == b"weights" * 1_000


def test_a_reference_that_no_job_can_follow_is_an_ordinary_invalid_argument(agent: AgentProgram, program: Path) -> None:
    command = [node_js.node(), str(program / "watch.js"), targets(agent)["tcp"], str(ROOT / "protos"), "no/such:1", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    error = json.loads(done.stdout)
    assert (error["kind"], error["code"]) == ("error", "INVALID_ARGUMENT")
    assert "channels" in error["details"]


def test_the_lock_file_names_no_registry() -> None:
    lock = json.loads((SOURCE / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert packages
    assert all("integrity" in package and "resolved" not in package for package in packages.values())

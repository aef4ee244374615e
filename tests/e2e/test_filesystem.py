"""Programs that know only fsspec read what a node's agent has: real hub, real agent, real files."""

from __future__ import annotations

import json
from pathlib import Path

import fsspec
import numpy as np
import pytest
from safetensors.numpy import load, save_file

from tests.e2e.conftest import StartAgent
from tests.e2e.fleet import until_active
from tests.e2e.processes import AgentProgram, HubProgram

pytestmark = pytest.mark.slow
REF = "files/helmet@stable"
WEIGHTS = {"w": np.arange(1_000, dtype=np.float32)}


@pytest.fixture
def agent(
    own_hub: HubProgram, start_agent: StartAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AgentProgram:
    started = start_agent(own_hub, "files-node")
    push(own_hub, tmp_path / "one", 1)
    own_hub.ctl.json("assign", REF, "--node", "files-node")
    until_active(started, REF, 1)
    monkeypatch.setenv("MODELSYNCD_AGENT", str(started.data / "agent.sock"))
    fsspec.filesystem("modelsync", skip_instance_cache=True)
    return started


def push(hub: HubProgram, folder: Path, number: int) -> None:
    (folder / "labels").mkdir(parents=True)
    save_file(WEIGHTS, folder / "model.safetensors")
    (folder / "labels" / "en.json").write_text(json.dumps([f"helmet {number}"]))
    hub.ctl.json("push", str(folder), REF)


def test_files_are_opened_listed_and_fetched_by_name(agent: AgentProgram, tmp_path: Path) -> None:
    assert agent.running
    with fsspec.open(f"modelsync://{REF}/labels/en.json", "rt") as file:
        assert json.load(file) == ["helmet 1"]
    with fsspec.open(f"modelsync://{REF}/model.safetensors") as file:
        assert load(file.read())["w"].tolist() == WEIGHTS["w"].tolist()
        file.seek(8)
        assert file.read(1) == b"{"
    files = fsspec.filesystem("modelsync")
    assert files.ls("files", detail=False) == [REF]
    assert sorted(files.find(REF)) == [f"{REF}/labels/en.json", f"{REF}/model.safetensors"]
    assert files.du(REF) == sum(files.size(path) for path in files.find(REF)) > 4_000
    assert files.isdir(f"{REF}/labels")
    assert files.glob(f"{REF}/**/*.json") == [f"{REF}/labels/en.json"]
    files.get(REF, str(tmp_path / "here"), recursive=True)
    assert json.loads((tmp_path / "here" / "labels" / "en.json").read_text()) == ["helmet 1"]


def test_what_is_open_stays_that_version_through_a_switch(
    agent: AgentProgram, own_hub: HubProgram, tmp_path: Path
) -> None:
    with fsspec.open(f"modelsync://{REF}/labels/en.json", "rt") as file:
        push(own_hub, tmp_path / "two", 2)
        until_active(agent, REF, 2)
        assert json.load(file) == ["helmet 1"]
    with fsspec.open(f"modelsync://{REF}/labels/en.json", "rt") as file:
        assert json.load(file) == ["helmet 2"]


def test_what_is_not_there_and_what_would_write_is_refused_as_programs_expect(agent: AgentProgram) -> None:
    assert agent.running
    files = fsspec.filesystem("modelsync")
    for path in (f"{REF}/none.bin", "files/none@stable/x", f"{REF}/../../../identity/node.key"):
        with pytest.raises(FileNotFoundError):
            files.open(path)
    assert not files.exists(f"{REF}/none.bin")
    with pytest.raises(PermissionError):
        files.open(f"{REF}/labels/en.json", "wb")
    with pytest.raises(PermissionError):
        files.cp_file(f"{REF}/labels/en.json", f"{REF}/x")

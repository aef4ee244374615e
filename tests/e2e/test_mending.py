"""Damage at rest, with real programs: found before use, mended by the chunk, with jobs served meanwhile."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from modelsyncd.client import Client
from tests.e2e.conftest import StartAgent
from tests.e2e.content import folder, tree
from tests.e2e.fleet import channel_path, number_at, standing, until_active, until_fault, until_told
from tests.e2e.processes import BIN, AgentProgram, HubProgram
from tests.e2e.waiting import until
from tests.fakes.oracle import whole_versions

pytestmark = pytest.mark.slow

CHUNK = 1 << 20  # bytes: the largest chunk of opaque bytes, and more than a frame or two around it
REF = "mend/model@stable"


def flip(path: Path, at: int) -> None:
    """Turns one bit."""
    mode = path.stat().st_mode
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 0x10]))
    path.chmod(mode)


def version_folder(agent: AgentProgram, number: int) -> Path:
    (found,) = (agent.data / "models" / "mend" / "model" / "versions").glob(f"{number}-*[0-9a-f]")
    return found


def verify(agent: AgentProgram) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "modelsync-agent"), "verify", "--data", str(agent.data)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@contextmanager
def always(look: Callable[[], bool]) -> Iterator[None]:
    """Looks again and again while the block runs; it must always be so."""
    over, seen = Event(), list[bool]()

    def watch() -> None:
        while not over.is_set():
            seen.append(look())

    thread = Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert seen
    assert all(seen), f"{seen.count(False)} of {len(seen)} looks failed"


@contextmanager
def never_dangling(path: Path) -> Iterator[None]:
    """A job can open a file through the channel's path at any time."""

    def can_open() -> bool:
        try:
            with (path / "weights.bin").open("rb") as file:
                return len(file.read(16)) == 16
        except OSError:
            return False

    with always(can_open):
        yield


def wires(agent: AgentProgram) -> list[int]:
    """Bytes that travelled for each transfer that ended well, as the log has them."""
    return [int(found) for found in re.findall(r" transfer\.settled .*wire=(\d+)", agent.log.read_text())]


@pytest.fixture
def two_versions(own_hub: HubProgram, start_agent: StartAgent, tmp_path: Path) -> tuple[AgentProgram, Path]:
    """An agent that went from version 1 to version 2 of other content, and what version 1 was."""
    first = folder(tmp_path / "first", seed=1, size=4_000_000)
    own_hub.ctl.json("push", str(first), "mend/model", "--channel", "stable")
    agent = start_agent(own_hub, "cam")
    own_hub.ctl.json("assign", REF, "--node", "cam")
    until_active(agent, REF, 1)
    own_hub.ctl.json("push", str(folder(tmp_path / "second", seed=2, size=4_000_000)), "mend/model")
    own_hub.ctl.json("promote", "mend/model:2", "stable")
    until_active(agent, REF, 2)
    until_told(own_hub, agent, REF, 2)
    return agent, first


def test_a_rollback_to_a_version_that_rotted_switches_once_the_bad_chunk_came_again(
    own_hub: HubProgram, two_versions: tuple[AgentProgram, Path]
) -> None:
    agent, first = two_versions
    before = wires(agent)
    flip(version_folder(agent, 1) / "weights.bin", 2_000_000)
    wanted = tree(first)

    def is_sound() -> bool:
        return number_at(agent, REF) == 2 or tree(version_folder(agent, 1)) == wanted

    with always(is_sound), never_dangling(channel_path(agent, REF)):
        own_hub.ctl.json("rollback", "mend/model", "stable")
        until_active(agent, REF, 1)
    assert tree(channel_path(agent, REF)) == tree(first)
    told = until_told(own_hub, agent, REF, 1)
    assert 0 < told["bytes_wire"] <= CHUNK + 4_096
    assert len(wires(agent)) == len(before) + 1
    assert "version.damaged" in agent.log.read_text()
    assert "version.failed" not in agent.log.read_text()
    assert set(whole_versions(agent.data)) == {"mend/model:1", "mend/model:2"}


def test_a_sound_version_is_read_back_before_a_rollback_to_it_and_nothing_travels(
    own_hub: HubProgram, two_versions: tuple[AgentProgram, Path]
) -> None:
    agent, first = two_versions
    before = wires(agent)
    assert " version.read " not in agent.log.read_text(), "what has just been installed is not read twice"
    own_hub.ctl.json("rollback", "mend/model", "stable")
    assert tree(until_active(agent, REF, 1)) == tree(first)
    (line,) = (line for line in agent.log.read_text().splitlines() if " version.read " in line)
    assert "model=mend/model version=1 damaged=0 " in line
    assert wires(agent) == before


def test_verify_has_a_running_agent_mend_the_version_in_use_with_its_path_always_there(
    own_hub: HubProgram, start_agent: StartAgent, tmp_path: Path
) -> None:
    origin = folder(tmp_path / "origin", size=4_000_000)
    own_hub.ctl.json("push", str(origin), "mend/model", "--channel", "stable")
    agent = start_agent(own_hub, "cam")
    own_hub.ctl.json("assign", REF, "--node", "cam")
    path = until_active(agent, REF, 1)
    until_told(own_hub, agent, REF, 1)
    flip(path / "weights.bin", 1_000_000)
    looked = own_hub.ctl.run("verify", "--agent", str(agent.data))
    assert looked.returncode == 8
    assert f"modelsync-agent verify --data {agent.data}" in looked.stderr
    assert verify_changes_nothing(agent), "modelsyncctl only looks"
    with never_dangling(path):
        found = verify(agent)
        assert found.returncode == 8
        assert agent.process is not None
        assert f"the agent (process {agent.process.pid}) was told" in found.stdout
        until(lambda: tree(path) == tree(origin), "the version is mended", pause=0.1)
        until(lambda: len(wires(agent)) == 2, "the transfer is over")
    assert 0 < wires(agent)[-1] <= CHUNK + 4_096
    assert number_at(agent, REF) == 1
    until(lambda: verify(agent).returncode == 0, "verify finds nothing more")
    with Client(agent.data / "agent.sock") as client:
        assert client.get("mend/model", wait=30).number == 1


def verify_changes_nothing(agent: AgentProgram) -> bool:
    return not list((agent.data / "models").rglob("*.damaged"))


def test_a_file_that_was_cut_off_while_the_agent_was_down_is_mended_at_its_start(
    own_hub: HubProgram, start_agent: StartAgent, tmp_path: Path
) -> None:
    origin = folder(tmp_path / "origin", size=4_000_000)
    own_hub.ctl.json("push", str(origin), "mend/model", "--channel", "stable")
    agent = start_agent(own_hub, "cam")
    own_hub.ctl.json("assign", REF, "--node", "cam")
    path = until_active(agent, REF, 1)
    agent.stop()
    weights = path / "weights.bin"
    weights.chmod(0o644)
    with weights.open("r+b") as file:
        file.truncate(3_999_000)
    own_hub.stop()
    agent.start()
    with Client(agent.data / "agent.sock") as client:
        assert [(local.ref, local.active) for local in client.list()] == [(REF, None)]
        assert number_at(agent, REF) == 1
        own_hub.restart()
        assert client.get("mend/model", wait=60).number == 1
    assert tree(path) == tree(origin)
    assert 0 < wires(agent)[-1] <= CHUNK + 4_096


def test_rot_in_a_pack_is_named_in_the_hubs_log_and_mended_by_a_push_while_the_old_version_serves(
    own_hub: HubProgram, start_agent: StartAgent, tmp_path: Path
) -> None:
    old, new = folder(tmp_path / "old", seed=1), folder(tmp_path / "new", seed=2, size=6_000_000)
    own_hub.ctl.json("push", str(old), "mend/model", "--channel", "stable")
    agent = start_agent(own_hub, "cam")
    own_hub.ctl.json("assign", REF, "--node", "cam")
    path = until_active(agent, REF, 1)
    own_hub.ctl.json("push", str(new), "mend/model")
    own_hub.stop()
    pack = max((own_hub.data / "packs").rglob("*.pack"), key=lambda found: found.stat().st_size)
    flip(pack, pack.stat().st_size - 3_000_000)
    own_hub.restart()
    with never_dangling(path):
        own_hub.ctl.json("promote", "mend/model:2", "stable")
        until_fault(own_hub, agent, REF, "damage")
        (line,) = (line for line in own_hub.log.read_text().splitlines() if " chunks.damaged " in line)
        assert re.search(rf" ERROR chunks\.damaged pack={pack.stem} count=1 chunks=[0-9a-f]{{12}}$", line), line
        assert tree(path) == tree(old)
        again = own_hub.ctl.json("push", str(new), "mend/model")
        assert 0 < again["bytes_wire"] <= CHUNK + 4_096
        assert agent.process is not None
        agent.process.send_signal(signal.SIGHUP)
        until_active(agent, REF, 2)
    assert tree(path) == tree(new)
    assert own_hub.ctl.json("verify")["ok"] is True


def test_packs_that_are_not_mounted_cost_nothing_but_the_wait(
    own_hub: HubProgram, start_agent: StartAgent, tmp_path: Path
) -> None:
    origin = folder(tmp_path / "origin", size=3_000_000)
    own_hub.ctl.json("push", str(origin), "mend/model", "--channel", "stable")
    own_hub.stop()
    own_hub.restart()
    (own_hub.data / "packs").rename(own_hub.data / "unmounted")
    (own_hub.data / "packs").mkdir()
    error = own_hub.ctl.error(7, "verify")
    assert "packs.mark is missing" in error["message"]
    assert "mount it" in error["hint"]
    agent = start_agent(own_hub, "cam")
    own_hub.ctl.json("assign", REF, "--node", "cam")
    assert "packs.mark" in until_fault(own_hub, agent, REF, "disk")["error"]["message"]
    own_hub.stop()
    refused = subprocess.run(own_hub.command, capture_output=True, text=True, check=False, timeout=60)
    assert refused.returncode == 7
    assert f"the hub's packs are not at {own_hub.data / 'packs'}" in refused.stderr
    (own_hub.data / "packs").rmdir()
    (own_hub.data / "unmounted").rename(own_hub.data / "packs")
    own_hub.restart()
    assert own_hub.ctl.json("verify")["ok"] is True
    assert tree(until_active(agent, REF, 1)) == tree(origin)
    found = standing(own_hub, "cam", REF)
    assert found is not None


def test_an_address_that_can_not_be_is_said_at_the_start(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(BIN / "modelsync-agent"), "run", "--data", str(tmp_path / "node"), "--hub", "hub.example"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert "'hub.example' is no address" in done.stderr
    assert not (tmp_path / "node").exists()

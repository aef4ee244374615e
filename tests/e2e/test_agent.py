"""The agent as a program: killed, restarted, cut off, looked at, and asked to stop."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from modelsyncd.client import Client, Model
from modelsyncd.errors import RoadError
from tests.e2e.conftest import StartAgent
from tests.e2e.content import change, folder, tree
from tests.e2e.processes import BIN, AgentProgram, HubProgram

pytestmark = pytest.mark.slow


def run_agent(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The program to its end."""
    return subprocess.run(
        [str(BIN / "modelsync-agent"), *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def get(agent: AgentProgram, ref: str) -> Model:
    """What a job gets from this agent, once there is something."""
    with Client(agent.data / "agent.sock") as client:
        return client.get(ref, wait=60)


def wait_for(agent: AgentProgram, ref: str, like: Callable[[Model], bool]) -> Model:
    """The first version that is as asked for."""
    with Client(agent.data / "agent.sock") as client:
        return next(model for model in client.watch(ref) if like(model))


def test_a_killed_agent_serves_again_at_once_with_its_hub_away(
    own_hub: HubProgram, start_agent: StartAgent, tmp_path: Path
) -> None:
    content = folder(tmp_path / "content")
    own_hub.ctl.json("push", str(content), "acme/helmet", "--channel", "stable")
    agent = start_agent(own_hub, "cam")
    own_hub.ctl.json("assign", "acme/helmet@stable", "--node", "cam")
    first = get(agent, "acme/helmet")
    own_hub.kill()
    agent.kill()
    agent.start()
    assert get(agent, "acme/helmet") == first
    assert tree(first.path) == tree(content)
    own_hub.restart()
    own_hub.ctl.json("push", str(change(content)), "acme/helmet", "--channel", "stable")
    second = wait_for(agent, "acme/helmet", lambda model: model.number == 2)
    assert tree(second.path) == tree(content)


def test_an_agent_that_is_killed_again_and_again_still_ends_with_every_byte_right(
    own_hub: HubProgram, start_agent: StartAgent, tmp_path: Path
) -> None:
    content = folder(tmp_path / "content", size=60_000_000)
    own_hub.ctl.json("push", str(content), "acme/big", "--channel", "stable")
    agent = start_agent(own_hub, "killed")
    own_hub.ctl.json("assign", "acme/big@stable", "--node", "killed")
    versions = agent.data / "models" / "acme" / "big" / "versions"
    for _ in range(5):
        _await(lambda: any((agent.data / "staging").iterdir()) or versions.is_dir())
        time.sleep(0.05)  # somewhere in the middle of it: the moment is meant to be any
        agent.kill()
        if versions.is_dir():
            assert [tree(path) for path in versions.iterdir()] == [tree(content)]
        agent.start()
    assert tree(get(agent, "acme/big").path) == tree(content)


def _await(there: Callable[[], bool]) -> None:
    ends = time.monotonic() + 60
    while not there():
        assert time.monotonic() < ends
        time.sleep(0.005)


def test_a_watch_of_a_job_outlives_the_agent(hub: HubProgram, start_agent: StartAgent, tmp_path: Path) -> None:
    content = folder(tmp_path / "content", size=100_000)
    hub.ctl.json("push", str(content), "agent/watched", "--channel", "stable")
    agent = start_agent(hub, "watched")
    hub.ctl.json("assign", "agent/watched@stable", "--node", "watched")
    with Client(agent.data / "agent.sock") as client:
        models = client.watch("agent/watched")
        assert next(models).number == 1
        agent.kill()
        hub.ctl.json("push", str(change(content, at=10)), "agent/watched", "--channel", "stable")
        agent.start()
        assert next(models).number == 2


def test_verify_finds_a_flipped_bit_beside_a_running_agent_which_then_mends_it(
    hub: HubProgram, start_agent: StartAgent, tmp_path: Path
) -> None:
    content = folder(tmp_path / "content")
    hub.ctl.json("push", str(content), "agent/rotten", "--channel", "stable")
    agent = start_agent(hub, "rotten")
    hub.ctl.json("assign", "agent/rotten@stable", "--node", "rotten")
    path = get(agent, "agent/rotten").path / "weights.bin"
    sound = run_agent("verify", "--data", str(agent.data))
    assert (sound.returncode, sound.stdout) == (0, "agent/rotten:1  ok\n")
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(1_500_000)
        byte = file.read(1)[0]
        file.seek(1_500_000)
        file.write(bytes([byte ^ 1]))
    found = run_agent("verify", "--data", str(agent.data))
    assert found.returncode == 8
    assert found.stdout.startswith("agent/rotten:1  damaged\n  weights.bin")
    assert agent.process is not None
    assert f"the agent (process {agent.process.pid}) was told" in found.stdout
    _await(lambda: run_agent("verify", "--data", str(agent.data)).returncode == 0)
    assert tree(path.parent) == tree(content)


def test_two_agents_never_share_a_folder(hub: HubProgram, start_agent: StartAgent) -> None:
    agent = start_agent(hub, "single")
    assert agent.process is not None
    second = run_agent("run", "--data", str(agent.data), "--hub", hub.address)
    assert second.returncode == 5
    assert str(agent.process.pid) in second.stderr


def test_an_agent_ends_in_good_order_though_jobs_are_watching(hub: HubProgram, start_agent: StartAgent) -> None:
    agent = start_agent(hub, "stopped")
    with Client(agent.data / "agent.sock") as client:
        assert client.list() == []
        began = time.monotonic()
        assert agent.stop() == 0
        assert time.monotonic() - began < 10
        with pytest.raises(RoadError):
            client.list()


def test_an_agent_without_an_invite_says_what_to_type(hub: HubProgram, tmp_path: Path) -> None:
    done = run_agent("run", "--data", str(tmp_path / "node"), "--hub", hub.address)
    assert done.returncode == 4
    assert "modelsyncctl node invite" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--jobs-listen", "0.0.0.0:7444"], "reachable from other machines"),
        (["--keep", "0"], "keep must be 1 or more"),
        (["--config", "{config}"], "did you mean keep?"),
    ],
)
def test_settings_that_can_not_be_end_with_2_and_the_right_word(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    (tmp_path / "agent.toml").write_text("kepe = 3\n")
    filled = [argument.format(config=tmp_path / "agent.toml") for argument in arguments]
    done = run_agent("run", "--data", str(tmp_path / "node"), "--hub", "127.0.0.1:1", *filled)
    assert done.returncode == 2
    assert words in done.stderr


def test_verify_of_no_folder_ends_with_3(tmp_path: Path) -> None:
    assert run_agent("verify", "--data", str(tmp_path / "nowhere")).returncode == 3


def test_settings_may_stand_in_a_file_and_the_verb_may_be_left_out(hub: HubProgram, tmp_path: Path) -> None:
    agent = AgentProgram.invited(hub, "filed", tmp_path / "node")
    token = agent.command[agent.command.index("--invite") + 1]
    (tmp_path / "invite").write_text(token + "\n")
    (tmp_path / "agent.toml").write_text(
        f'data = "{agent.data}"\nhub = "{hub.address}"\ninvite_file = "{tmp_path / "invite"}"\nlog_format = "json"\n'
    )
    agent.command = [str(BIN / "modelsync-agent"), "--config", str(tmp_path / "agent.toml")]
    agent.start()
    try:
        events = [json.loads(line)["event"] for line in agent.log.read_text().splitlines()]
        assert "agent.serving" in events
        _await(lambda: '"uplink.up"' in agent.log.read_text())
    finally:
        assert agent.stop() == 0


def test_an_invite_that_was_used_may_be_deleted(hub: HubProgram, tmp_path: Path) -> None:
    agent = AgentProgram.invited(hub, "thrifty", tmp_path / "node")
    place = agent.command.index("--invite")
    (tmp_path / "invite").write_text(agent.command[place + 1])
    agent.command[place:] = ["--invite-file", str(tmp_path / "invite")]
    agent.start()
    try:
        _await(lambda: _heard(agent, "uplink.up") == 1)
        assert agent.stop() == 0
        (tmp_path / "invite").unlink()
        agent.start()
        _await(lambda: _heard(agent, "uplink.up") == 2)
    finally:
        agent.kill()


def test_an_idle_agent_is_small_and_asleep(hub: HubProgram, start_agent: StartAgent, tmp_path: Path) -> None:
    """The goals are 50 MB and 0.1 % of a core; a test on a busy machine leaves some room."""
    hub.ctl.json("push", str(folder(tmp_path / "content", size=100_000)), "agent/idle", "--channel", "stable")
    agent = start_agent(hub, "idle")
    hub.ctl.json("assign", "agent/idle@stable", "--node", "idle")
    get(agent, "agent/idle")
    assert agent.process is not None
    status = Path(f"/proc/{agent.process.pid}/status").read_text()
    resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    assert resident < 64_000  # KiB
    before = _cpu(agent.process.pid)
    time.sleep(5)
    assert _cpu(agent.process.pid) - before <= 0.05


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_a_hangup_makes_an_agent_call_its_hub_without_waiting(own_hub: HubProgram, start_agent: StartAgent) -> None:
    agent = start_agent(own_hub, "hasty")
    assert agent.process is not None
    _await(lambda: _heard(agent, "uplink.up") == 1)
    own_hub.kill()
    _await(lambda: _heard(agent, "uplink.down") >= 2)
    own_hub.restart()
    agent.process.send_signal(signal.SIGHUP)
    _await(lambda: _heard(agent, "uplink.up") == 2)


def _heard(agent: AgentProgram, event: str) -> int:
    return agent.log.read_text().count(f" {event} ")

"""Jobs on a node as real processes: what they hold stays, what they say counts, and a switch reaches them."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from modelsyncd.client import Client
from tests.e2e.content import change, folder, tree
from tests.e2e.fleet import until_active, until_fault, until_told
from tests.e2e.processes import BIN, AgentProgram, Ctl, HubProgram
from tests.e2e.waiting import until
from tests.fakes.other_user import UID, ask, why_not

pytestmark = pytest.mark.slow

HOLD = """
import sys, time
from modelsyncd import client
with client.acquire(sys.argv[1], wait=60, holder="a test") as model:
    print(model.number, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def site() -> Iterator[Path]:
    """A folder that other users may enter, with a path short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="ms-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def agent_at(hub: HubProgram, site: Path, name: str, settings: str = "") -> Iterator[AgentProgram]:
    """An agent with these settings in its file."""
    (site / "agent.toml").write_text(settings)
    agent = AgentProgram.invited(hub, name, site / "node")
    agent.command += ["--config", str(site / "agent.toml")]
    agent.start()
    try:
        yield agent
    finally:
        agent.kill()


def here(agent: AgentProgram) -> Ctl:
    """modelsyncctl as a person on the node runs it: without a context."""
    return Ctl(Path("/nowhere"), {"MODELSYNCD_AGENT": str(agent.data / "agent.sock")})


def push(hub: HubProgram, content: Path, model: str) -> None:
    hub.ctl.json("push", str(content), model, "--channel", "stable")


def holders(agent: AgentProgram, ref: str) -> dict[int, list[str]]:
    """Who holds which version."""
    return {one["number"]: one["holders"] for one in here(agent).json("local", "show", ref)["versions"]}


def test_what_a_job_holds_stays_until_the_job_ends_however_it_ends(hub: HubProgram, site: Path, tmp_path: Path) -> None:
    content = folder(tmp_path / "content", size=200_000)
    push(hub, content, "jobs/held")
    first = tree(content)
    with agent_at(hub, site, "holding", "keep = 1\n") as agent:
        hub.ctl.json("assign", "jobs/held@stable", "--node", "holding")
        job = subprocess.Popen(
            [sys.executable, "-c", HOLD, "jobs/held"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"MODELSYNCD_AGENT": str(agent.data / "agent.sock")},
        )
        try:
            assert job.stdout is not None
            assert job.stdout.readline() == "1\n"
            with Client(agent.data / "agent.sock") as client:
                path = client.get("jobs/held").path
            for number in (2, 3, 4):
                push(hub, change(content, seed=number, at=number * 1_000), "jobs/held")
                until_active(agent, "jobs/held", number)
            until(lambda: holders(agent, "jobs/held").keys() == {4, 3, 1}, "what nobody uses is pruned")
            assert holders(agent, "jobs/held")[1] == [f"a test (root/{job.pid})"] or os.geteuid() != 0
            assert tree(path) == first
            agent.kill()
            agent.start()  # the job's client asks for the same release again
            until(lambda: holders(agent, "jobs/held").get(1), "the hold is there again")
            assert tree(path) == first
        finally:
            job.kill()
            job.communicate()
        until(lambda: 1 not in holders(agent, "jobs/held"), "what nobody holds any more goes", seconds=90)
        assert not path.exists()


@contextmanager
def running(agent: AgentProgram, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """modelsyncctl run."""
    environment = os.environ | {"MODELSYNCD_AGENT": str(agent.data / "agent.sock")}
    command = [str(BIN / "modelsyncctl"), "run", *arguments]
    log = agent.data.with_suffix(".run.log")
    with log.open("ab") as said:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=said, env=environment)
    try:
        yield process
    except AssertionError as error:
        raise AssertionError(f"{error}\n{log.read_text()}\n{agent.log.read_text()[-3000:]}") from error
    finally:
        process.terminate()
        process.wait(60)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_a_shell_job_is_begun_anew_at_each_switch(hub: HubProgram, site: Path, tmp_path: Path) -> None:
    content, said = folder(tmp_path / "content", size=100_000), tmp_path / "said"
    push(hub, content, "jobs/shell")
    with agent_at(hub, site, "shell") as agent:
        hub.ctl.json("assign", "jobs/shell@stable", "--node", "shell")
        script = f'echo "$MODELSYNCD_MODEL_NUMBER {{number}} $1" >> {shlex.quote(str(said))}; exec sleep 1000'
        with running(agent, "jobs/shell", "--", "sh", "-c", script, "sh", "{path}") as process:
            until(lambda: len(lines(said)) == 1, "the job has begun")
            (held,) = [names for names in holders(agent, "jobs/shell").values() if names]
            assert held[0].startswith("modelsyncctl run sh (")
            push(hub, change(content, at=10), "jobs/shell")
            until(lambda: len(lines(said)) == 2, "the job has begun anew")
            assert [line.split()[:2] for line in lines(said)] == [["1", "1"], ["2", "2"]]
            for number, line in enumerate(lines(said), 1):
                assert Path(line.split()[2]).name.startswith(f"{number}-")
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 128 + signal.SIGTERM
        until(lambda: not any(holders(agent, "jobs/shell").values()), "the hold has ended")


def test_a_shell_job_gets_a_signal_instead_and_its_own_exit_code_counts(
    hub: HubProgram, site: Path, tmp_path: Path
) -> None:
    content, said = folder(tmp_path / "content", size=100_000), tmp_path / "said"
    push(hub, content, "jobs/signal")
    with agent_at(hub, site, "signal") as agent:
        hub.ctl.json("assign", "jobs/signal@stable", "--node", "signal")
        program = (
            "import os, signal, sys\n"
            "def tell(*_): print(os.path.realpath(sys.argv[1]), file=open(sys.argv[2], 'a'), flush=True)\n"
            "signal.signal(signal.SIGHUP, tell); signal.signal(signal.SIGUSR1, lambda *_: sys.exit(7)); tell()\n"
            "while True: signal.pause()\n"
        )
        command = [sys.executable, "-c", program, "{channel_path}", str(said)]
        with running(agent, "jobs/signal", "--signal", "HUP", "--", *command) as process:
            until(lambda: len(lines(said)) == 1, "the job has begun")
            push(hub, change(content, at=10), "jobs/signal")
            until(lambda: len(lines(said)) == 2, "the job was told")
            assert [Path(line).name.split("-")[0] for line in lines(said)] == ["1", "2"]
            process.send_signal(signal.SIGUSR1)
            assert process.wait(60) == 7


def test_a_version_with_which_a_job_fails_gives_way_and_the_hub_learns_why(
    hub: HubProgram, site: Path, tmp_path: Path
) -> None:
    content, said = folder(tmp_path / "content", size=100_000), tmp_path / "said"
    push(hub, content, "jobs/tried")
    gate = '[gate."jobs/tried@stable"]\nconfirm = true\ndeadline = 120\n'
    with agent_at(hub, site, "tried", gate) as agent:
        hub.ctl.json("assign", "jobs/tried@stable", "--node", "tried")
        script = f"echo {{number}} >> {shlex.quote(str(said))}; test {{number}} != 2 || exit 3; exec sleep 1000"
        with running(agent, "jobs/tried", "--confirm-after", "0.3", "--", "sh", "-c", script) as process:
            until_told(hub, agent, "jobs/tried@stable", 1)
            push(hub, change(content, at=10), "jobs/tried")
            until(lambda: lines(said) == ["1", "2", "1"], "the first version is back, and the job runs with it")
            assert process.poll() is None
            found = until_fault(hub, agent, "jobs/tried@stable", "gate-failed")
            assert "sh ended with 3" in found["error"]["message"]
            failed = here(agent).json("local", "show", "jobs/tried")["failed"]
            assert (failed["number"], "sh ended with 3" in failed["why"]) == (2, True)
            assert here(agent).json("local", "retry", "jobs/tried")["number"] == 2
            until(lambda: lines(said)[:5] == ["1", "2", "1", "2", "1"], "it was tried again")


def test_another_user_does_what_the_settings_of_a_real_agent_allow(hub: HubProgram, site: Path, tmp_path: Path) -> None:
    if why_not():
        pytest.skip(why_not())
    push(hub, folder(tmp_path / "content", size=100_000), "jobs/rights")
    trained = folder(site / "trained", seed=7, size=50_000)
    with agent_at(hub, site, "rights", f'[rights.{UID}]\npublish = ["jobs/up"]\n') as agent:
        hub.ctl.json("assign", "jobs/rights@stable", "--node", "rights")
        until_active(agent, "jobs/rights", 1)
        socket = agent.data / "agent.sock"
        assert ask(socket, "agent.get('jobs/rights').number") == {"answer": 1}
        publish = "agent.publish({!r}, {!r}, wait=False).size > 50_000"
        assert ask(socket, publish.format(str(trained), "jobs/up")) == {"answer": True}
        refused = [
            ask(socket, publish.format(str(trained), "jobs/rights")),
            ask(socket, publish.format(str(agent.data / "identity"), "jobs/up")),
        ]
        assert [one["error"] for one in refused] == ["refused", "refused"]
        assert f"{UID} may not read" in refused[1]["message"]
        items = here(agent).json("outbox", "list")["items"]
        assert [(one["model"], one["user"]) for one in items] == [("jobs/up", str(UID))]


def test_a_person_on_the_node_publishes_with_and_without_a_hub(own_hub: HubProgram, site: Path, tmp_path: Path) -> None:
    content = folder(tmp_path / "content", size=100_000)
    with agent_at(own_hub, site, "person") as agent:
        own_hub.ctl.json("allow", "person", "jobs/*")
        ctl = here(agent)
        done: dict[str, Any] = ctl.json("publish", str(content), "jobs/person", "--label", "a=b", "--metric", "m=0.5")
        assert (done["model"], done["number"], done["created"]) == ("jobs/person", 1, True)
        assert own_hub.ctl.json("show", "jobs/person:1")["labels"] == {"a": "b"}
        assert "already as jobs/person:1" in ctl.text("publish", str(content), "jobs/person")
        own_hub.kill()
        stored = ctl.json("publish", str(change(content, at=10)), "jobs/person", "--no-wait")
        assert stored["number"] is None
        (item,) = ctl.json("outbox", "list")["items"]
        assert (item["id"], item["model"], item["refused"]) == (stored["id"], "jobs/person", False)
        ctl.json("outbox", "withdraw", item["id"])
        assert ctl.text("outbox", "list") == "Everything is on the hub.\n"
        assert ctl.error(3, "outbox", "withdraw", item["id"])["code"] == "not-found"
        assert ctl.json("local", "list") == {"models": []}
        assert ctl.error(3, "local", "path", "jobs/person")["code"] == "not-found"
    assert ctl.error(6, "local", "list")["code"] == "road"

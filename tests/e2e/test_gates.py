"""Releases that have to prove themselves on a real node: what fails gives way, and the hub knows why."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.conftest import StartAgent
from tests.e2e.content import change, folder
from tests.e2e.fleet import channel_path, number_at, standing, until_active, until_fault, until_told
from tests.e2e.processes import AgentProgram, HubProgram
from tests.e2e.waiting import until
from tests.fakes.oracle import whole_versions
from tests.fault.reach import FULL

CHECK = 'test -e "$2" || ! test -e "$1/broken" || { echo loading; echo "no such layer: encoder.7"; exit 3; }'


def gated(hub: HubProgram, tmp_path: Path, name: str, section: str) -> AgentProgram:
    """An agent whose settings have a gate, that does not run yet."""
    agent = AgentProgram.invited(hub, name, tmp_path / name)
    settings = tmp_path / f"{name}.toml"
    settings.write_text(section)
    agent.command += ["--config", str(settings)]
    return agent


def by_command(ref: str, lenient: Path) -> str:
    """A gate that says no to what has a file `broken`, until somebody makes the file `lenient`."""
    command = json.dumps(["/bin/sh", "-c", CHECK, "check", "{path}", str(lenient)])
    hook = json.dumps(["/bin/sh", "-c", 'echo "$0" >> "$1"', "{number}", str(lenient.with_suffix(".log"))])
    return f'[gate."{ref}"]\ncommand = {command}\ndeadline = 300\n[hook."gate/*"]\nafter_switch = {hook}\n'


@pytest.mark.slow
def test_a_release_whose_gate_fails_gives_way_and_is_tried_again_when_somebody_says_so(
    hub: HubProgram, tmp_path: Path
) -> None:
    ref, lenient = "gate/model@stable", tmp_path / "lenient"
    agent = gated(hub, tmp_path, "gated", by_command(ref, lenient))
    agent.start()
    try:
        hub.ctl.json("assign", ref, "--node", agent.name)
        origin = folder(tmp_path / "origin", size=200_000)
        hub.ctl.json("push", str(origin), "gate/model", "--channel", "stable")
        until_told(hub, agent, ref, 1)
        (origin / "broken").write_text("yes")
        hub.ctl.json("push", str(origin), "gate/model", "--channel", "stable")
        place = until_fault(hub, agent, ref, "gate-failed")
        assert (place["phase"], place["active"], place["desired"]) == ("rolled-back", 1, 2)
        assert "loading | no such layer: encoder.7 (exit status 3)" in place["error"]["message"]
        assert place["error"]["safe"] == "gate/model:1 is active again"
        assert number_at(agent, ref) == 1
        log = lenient.with_suffix(".log")
        until(lambda: log.exists() and log.read_text().split()[-1] == "1", "the hook ran after the way back, too")

        agent.stop()
        lenient.touch()
        agent.start()
        hub.ctl.json("promote", "gate/model:1", "stable")
        until_told(hub, agent, ref, 1)
        hub.ctl.json("promote", "gate/model:2", "stable")
        place = until_fault(hub, agent, ref, "gate-failed")  # nobody said that it may be tried again
        assert (place["phase"], number_at(agent, ref)) == ("rolled-back", 1)

        hub.ctl.json("retry", ref, "--node", agent.name)
        until_told(hub, agent, ref, 2)
    finally:
        agent.kill()


SOME = {True: ("trial-kept", "channel-switched", "trial-waits@2"), False: ("channel-switched", "trial-kept@2")}
EVERY = ("trial-waits", "trial-kept", "link-switched", "channel-switched", "trial-waits@2", "trial-kept@2")
ALL = {True: (*EVERY, "previous-noted", "link-switched@2"), False: (*EVERY, "link-switched@2", "channel-led-back")}
MOMENTS = ALL if FULL else SOME
"""What proves itself, and what fails: `tests/fault/test_killed_trials.py` has every step, without processes."""


@pytest.mark.slow
@pytest.mark.parametrize("works", [True, False], ids=["works", "fails"])
def test_an_agent_that_is_killed_between_any_two_phases_ends_in_a_right_one(
    hub: HubProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, works: bool
) -> None:
    name = f"killed-{'works' if works else 'fails'}"
    ref = f"gate/{name}@stable"
    agent = gated(hub, tmp_path, name, by_command(ref, tmp_path / "lenient"))
    agent.start()
    try:
        hub.ctl.json("assign", ref, "--node", agent.name)
        origin = folder(tmp_path / "origin", size=20_000)
        hub.ctl.json("push", str(origin), f"gate/{name}", "--channel", "stable")
        until_told(hub, agent, ref, 1)
        proven = 1
        if not works:
            (origin / "broken").write_text("yes")
        for number, moment in enumerate(MOMENTS[works], 2):
            agent.stop()
            hub.ctl.json("push", str(change(origin, at=number)), f"gate/{name}", "--channel", "stable")
            with monkeypatch.context() as dying:
                dying.setenv("MODELSYNCD_FAILPOINTS", f"{moment}=kill")
                with suppress(AssertionError):  # it may be killed before it is ready
                    agent.start()
            until(lambda: not agent.running, f"the agent is killed at {moment}")
            assert number_at(agent, ref) in (proven, number), moment
            whole_versions(agent.data)
            agent.start()
            if works:
                until_told(hub, agent, ref, number)
                proven = number
            else:
                place = until_fault_of(hub, agent, ref, number)
                assert place["active"] == proven, moment
                assert number_at(agent, ref) == proven, moment
    finally:
        agent.kill()


def until_fault_of(hub: HubProgram, agent: AgentProgram, ref: str, number: int) -> dict[str, object]:
    """The standing, once the node has told that this release gave way."""

    def look() -> dict[str, object] | None:
        place = standing(hub, agent.name, ref)
        rests = place is not None and (place["phase"], place["desired"]) == ("rolled-back", number)
        return place if rests else None

    return until(look, f"{ref}:{number} gave way on {agent.name}")


def test_an_agent_with_a_gate_that_can_not_be_does_not_start(hub: HubProgram, tmp_path: Path) -> None:
    agent = gated(hub, tmp_path, "wrong-gate", '[gate."gate/model"]\ncomand = ["/bin/true"]\n')
    with pytest.raises(AssertionError, match=r"did you mean gate\.\"gate/model\"\.command"):
        agent.start()


@pytest.mark.slow
def test_without_a_gate_a_release_is_active_at_once(hub: HubProgram, start_agent: StartAgent, tmp_path: Path) -> None:
    agent = start_agent(hub, "ungated")
    hub.ctl.json("assign", "gate/free@stable", "--node", agent.name)
    origin = folder(tmp_path / "origin", size=20_000)
    (origin / "broken").write_text("yes")
    hub.ctl.json("push", str(origin), "gate/free", "--channel", "stable")
    until_active(agent, "gate/free@stable", 1)
    assert channel_path(agent, "gate/free@stable").is_dir()
    assert not (agent.data / "trials.json").exists()

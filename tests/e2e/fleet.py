"""What end-to-end tests look at from outside: a node's channels as its jobs see them, and what the hub was told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from modelsyncd.trust import context
from modelsyncd.trust.identity import Identity
from tests.e2e.processes import AgentProgram, HubProgram
from tests.e2e.waiting import PATIENCE, until
from tests.fakes.link.relay import TcpLink

Standing = dict[str, Any]


def channel_path(agent: AgentProgram, ref: str) -> Path:
    """Where a job finds the channel "namespace/name@channel"."""
    model, _, channel = ref.partition("@")
    return agent.data / "models" / model / (channel or "stable")


def number_at(agent: AgentProgram, ref: str) -> int:
    """The number that the channel's path leads to; 0 while there is no such path."""
    link = channel_path(agent, ref)
    if not link.is_symlink():
        return 0
    found = re.match(r"versions/(\d+)-", str(link.readlink()))
    assert found, link.readlink()
    return int(found[1])


def until_active(agent: AgentProgram, ref: str, number: int, seconds: float = PATIENCE) -> Path:
    """The channel's path, once it leads to this number."""

    def look() -> bool:
        assert agent.running, f"{agent.name} ended:\n{agent.log.read_text()}"
        return number_at(agent, ref) == number

    try:
        until(look, f"{ref} leads to {number} on {agent.name}", seconds=seconds)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{agent.log.read_text()[-4000:]}") from error
    return channel_path(agent, ref)


def standing(hub: HubProgram, node: str, ref: str) -> Standing | None:
    """What the hub shows of a channel on a node; None when it knows of no such place."""
    model, _, channel = ref.partition("@")
    for place in hub.ctl.json("status", "--node", node)["places"]:
        if (place["model"], place["channel"]) == (model, channel or "stable"):
            assert isinstance(place, dict)
            return place
    return None


def until_told(hub: HubProgram, agent: AgentProgram, ref: str, number: int) -> Standing:
    """The standing, once the node has told the hub that this number is active."""

    def look() -> Standing | None:
        found = standing(hub, agent.name, ref)
        return found if found is not None and found["active"] == number and found["phase"] == "active" else None

    return until(look, f"the hub was told that {agent.name} has {ref} at {number}")


def until_fault(hub: HubProgram, agent: AgentProgram, ref: str, code: str, seconds: float = PATIENCE) -> Standing:
    """The standing, once the node has told the hub of this error."""

    def look() -> Standing | None:
        found = standing(hub, agent.name, ref)
        return found if found is not None and (found["error"] or {}).get("code") == code else None

    return until(look, f"the hub was told of {code} of {ref} on {agent.name}", seconds=seconds)


def through(agent: AgentProgram, link: TcpLink) -> AgentProgram:
    """Makes an agent that does not run yet reach its hub over this link."""
    agent.command[agent.command.index("--hub") + 1] = link.address
    return agent


def admin(hub: HubProgram) -> Identity:
    """The identity in the context that the hub wrote."""
    return context.read(hub.context).identity

"""Real hubs and agents for end-to-end tests, ended with the test that started them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.processes import AgentProgram, HubProgram


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProgram]:
    """A hub that many tests share: each uses models and nodes of its own names."""
    program = HubProgram.at(tmp_path_factory.mktemp("shared") / "hub")
    program.start()
    yield program
    if program.running:
        assert program.stop() == 0, program.log.read_text()


@pytest.fixture
def own_hub(tmp_path: Path) -> Iterator[HubProgram]:
    """A hub of the test's own, to be killed, restarted and damaged."""
    program = HubProgram.at(tmp_path / "hub")
    program.start()
    yield program
    program.kill()


StartAgent = Callable[..., AgentProgram]


@pytest.fixture
def start_agent(tmp_path: Path) -> Iterator[StartAgent]:
    """start_agent(hub, name, *labels): an agent that is enrolled and runs."""
    agents: list[AgentProgram] = []

    def start(hub: HubProgram, name: str, *labels: str) -> AgentProgram:
        agent = AgentProgram.invited(hub, name, tmp_path / name, *labels)
        agents.append(agent)
        agent.start()
        return agent

    yield start
    for agent in agents:
        agent.kill()

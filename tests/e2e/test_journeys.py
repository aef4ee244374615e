"""The main jobs from end to end, with real programs: what is published reaches nodes, and their jobs are told."""

from __future__ import annotations

import queue
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from modelsyncd.client import Client
from modelsyncd.client.model import Model
from modelsyncd.errors import NotFoundError
from tests.e2e.conftest import StartAgent
from tests.e2e.content import change, folder, tree
from tests.e2e.fleet import channel_path, number_at, standing, through, until_active, until_told
from tests.e2e.processes import AgentProgram, HubProgram
from tests.e2e.waiting import PATIENCE, until
from tests.fakes.link.relay import tcp_link
from tests.fakes.link.shape import Way
from tests.fakes.oracle import whole_versions

SIZE = 8_000_000  # bytes of a test model
CHANGED = 2 << 20  # bytes: what a change of a kilobyte may cost at most, in chunks cut by content
WORDS = 64 << 10  # bytes: control messages of both sides, TLS and all


@pytest.fixture
def agent(hub: HubProgram, start_agent: StartAgent, request: pytest.FixtureRequest) -> AgentProgram:
    """An agent of the test's own at the shared hub."""
    return start_agent(hub, f"journey-{zlib.crc32(request.node.name.encode())}")


@contextmanager
def a_job(agent: AgentProgram, ref: str) -> Iterator[queue.Queue[Model]]:
    """A job that watches a channel; what it is told stands in the queue."""
    told: queue.Queue[Model] = queue.Queue()
    with Client(agent.data / "agent.sock") as client:

        def watch() -> None:
            for model in client.watch(ref):
                told.put(model)

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield told
        finally:
            client.close()
            thread.join(PATIENCE)


def next_told(told: queue.Queue[Model]) -> Model:
    return told.get(timeout=PATIENCE)


def test_a_push_reaches_the_node_verified_and_its_job_is_told(
    hub: HubProgram, agent: AgentProgram, tmp_path: Path
) -> None:
    ref = "journey/first@stable"
    origin = folder(tmp_path / "origin", size=SIZE)
    hub.ctl.json("assign", ref, "--node", agent.name)
    with a_job(agent, ref) as told:
        hub.ctl.json("push", str(origin), "journey/first", "--channel", "stable", "--label", "task=detect")
        model = next_told(told)
        assert (model.ref, model.number, model.labels) == (ref, 1, {"task": "detect"})
        assert tree(model.path) == tree(origin)
        assert model.channel_path == channel_path(agent, ref)
        assert model.channel_path.resolve() == model.path
    assert set(whole_versions(agent.data)) == {"journey/first:1"}
    assert until_told(hub, agent, ref, 1)["bytes_wire"] >= SIZE


def test_an_update_travels_as_its_changed_chunks_and_a_rollback_as_no_byte(
    hub: HubProgram, start_agent: StartAgent, tmp_path: Path
) -> None:
    ref = "journey/update@stable"
    origin = folder(tmp_path / "origin", size=SIZE)
    before = tree(origin)
    with tcp_link(hub.address) as link:
        agent = through(AgentProgram.invited(hub, "journey-update", tmp_path / "journey-update"), link)
        agent.start()
        try:
            hub.ctl.json("assign", ref, "--node", agent.name)
            hub.ctl.json("push", str(origin), "journey/update", "--channel", "stable")
            with a_job(agent, ref) as told:
                assert next_told(told).number == 1
                carried = link.carried(Way.DOWN)
                pushed = hub.ctl.json("push", str(change(origin)), "journey/update", "--channel", "stable")
                assert pushed["bytes_wire"] <= CHANGED
                model = next_told(told)
                assert (model.number, model.previous) == (2, 1)
                assert tree(model.path) == tree(origin)
                assert until_told(hub, agent, ref, 2)["bytes_wire"] <= CHANGED
                assert link.carried(Way.DOWN) - carried <= CHANGED + WORDS

                carried = link.carried(Way.DOWN)
                hub.ctl.json("rollback", "journey/update", "stable")
                model = next_told(told)
                assert (model.number, model.previous) == (1, 2)
                assert tree(model.path) == before
                assert until_told(hub, agent, ref, 1)["bytes_wire"] == 0
                hub.ctl.json("promote", "journey/update:2", "stable")
                assert next_told(told).number == 2
                assert until_told(hub, agent, ref, 2)["bytes_done"] == pushed["bytes"]
                assert link.carried(Way.DOWN) - carried <= WORDS
            assert set(whole_versions(agent.data)) == {"journey/update:1", "journey/update:2"}
        finally:
            agent.kill()


def test_unassigning_takes_the_path_away_and_leaves_other_models_alone(
    hub: HubProgram, agent: AgentProgram, tmp_path: Path
) -> None:
    refs = ["journey/gone@stable", "journey/stays@stable"]
    for seed, ref in enumerate(refs, 10):
        hub.ctl.json("push", str(folder(tmp_path / str(seed), seed=seed)), ref)
        hub.ctl.json("assign", ref, "--node", agent.name)
    for ref in refs:
        until_active(agent, ref, 1)
    hub.ctl.json("unassign", refs[0], "--node", agent.name)
    until(lambda: not channel_path(agent, refs[0]).is_symlink(), "the path is gone")
    with Client(agent.data / "agent.sock") as client:
        with pytest.raises(NotFoundError):
            client.get(refs[0])
        assert client.get(refs[1]).number == 1
    assert "journey/stays:1" in whole_versions(agent.data)
    until(lambda: standing(hub, agent.name, refs[0]) is None, "the hub shows no such place")


def test_what_was_unassigned_comes_back_without_travelling(
    hub: HubProgram, start_agent: StartAgent, tmp_path: Path
) -> None:
    agent = start_agent(hub, "journey-back")
    ref = "journey/back@stable"
    hub.ctl.json("push", str(folder(tmp_path / "origin", seed=14)), ref)
    hub.ctl.json("assign", ref, "--node", agent.name)
    until_active(agent, ref, 1)
    hub.ctl.json("unassign", ref, "--node", agent.name)
    until(lambda: not channel_path(agent, ref).is_symlink(), "the path is gone")
    hub.ctl.json("assign", ref, "--node", agent.name)
    until_active(agent, ref, 1)
    assert until_told(hub, agent, ref, 1)["bytes_wire"] == 0


def test_a_selector_reaches_the_nodes_with_the_label_and_no_others(
    hub: HubProgram, start_agent: StartAgent, tmp_path: Path
) -> None:
    ref = "journey/selected@canary"
    north = [start_agent(hub, name, "site=journey-north") for name in ("journey-n1", "journey-n2")]
    south = start_agent(hub, "journey-s1", "site=journey-south")
    origin = folder(tmp_path / "origin", seed=11)
    hub.ctl.json("push", str(origin), ref)
    made = hub.ctl.json("assign", ref, "--selector", "site=journey-north")
    assert sorted(made["assignment"]["nodes"]) == ["journey-n1", "journey-n2"]
    for agent in north:
        assert tree(until_active(agent, ref, 1)) == tree(origin)
        assert set(whole_versions(agent.data)) == {"journey/selected:1"}
    assert number_at(south, ref) == 0
    hub.ctl.json("node", "label", "journey-s1", "site=journey-north")
    until_active(south, ref, 1)
    hub.ctl.json("node", "label", "journey-s1", "site=journey-south")
    until(lambda: not channel_path(south, ref).is_symlink(), "the label is gone, and the path with it")


def test_two_channels_of_one_model_lead_to_two_versions_on_one_node(
    hub: HubProgram, agent: AgentProgram, tmp_path: Path
) -> None:
    origin = folder(tmp_path / "origin", seed=12, size=SIZE)
    first = tree(origin)
    hub.ctl.json("push", str(origin), "journey/two", "--channel", "stable")
    hub.ctl.json("push", str(change(origin)), "journey/two", "--channel", "canary")
    for channel in ("stable", "canary"):
        hub.ctl.json("assign", f"journey/two@{channel}", "--node", agent.name)
    assert tree(until_active(agent, "journey/two@stable", 1)) == first
    assert tree(until_active(agent, "journey/two@canary", 2)) == tree(origin)
    wire = sum(
        until_told(hub, agent, f"journey/two@{channel}", number)["bytes_wire"]
        for channel, number in (("stable", 1), ("canary", 2))
    )
    assert wire <= SIZE + 2 * CHANGED, "what the two share travelled once"


def test_a_release_is_pulled_straight_from_the_hub_without_an_agent(hub: HubProgram, tmp_path: Path) -> None:
    origin = folder(tmp_path / "origin", seed=13)
    hub.ctl.json("push", str(origin), "journey/pulled", "--channel", "stable")
    hub.ctl.json("pull", "journey/pulled@stable", str(tmp_path / "dest"))
    assert tree(tmp_path / "dest") == tree(origin)


def test_with_the_hub_away_jobs_are_answered_also_after_the_agent_was_restarted(
    own_hub: HubProgram, start_agent: StartAgent, tmp_path: Path
) -> None:
    ref = "journey/offline@stable"
    agent = start_agent(own_hub, "journey-offline")
    origin = folder(tmp_path / "origin", size=SIZE)
    own_hub.ctl.json("push", str(origin), "journey/offline", "--channel", "stable")
    own_hub.ctl.json("assign", ref, "--node", agent.name)
    until_active(agent, ref, 1)
    own_hub.kill()
    with Client(agent.data / "agent.sock") as client:
        assert client.get(ref).number == 1
    assert agent.stop() == 0
    agent.start()
    with Client(agent.data / "agent.sock") as client:
        model = client.get(ref, wait=PATIENCE)
        assert tree(model.path) == tree(origin)
        assert [(local.ref, local.phase) for local in client.list()] == [(ref, "active")]
    own_hub.restart()
    with a_job(agent, ref) as told:
        assert next_told(told).number == 1
        own_hub.ctl.json("push", str(change(origin)), "journey/offline", "--channel", "stable")
        assert next_told(told).number == 2

"""What jobs publish on a node reaches the hub: once, in order, and whole, whatever happens to either on the way."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from modelsyncd.client import Client
from tests.e2e.conftest import StartAgent
from tests.e2e.content import change, folder, tree
from tests.e2e.fleet import through, until_active
from tests.e2e.processes import AgentProgram, HubProgram
from tests.e2e.travel import RATE, WORDS, allowed
from tests.e2e.waiting import until
from tests.fakes.link.relay import TcpLink, tcp_link
from tests.fakes.link.shape import Way
from tests.fakes.trained import saved, trained, weights
from tests.fault.reach import FULL

pytestmark = pytest.mark.slow

LAYERS = 8  # MiB of the model that is trained further


def publish(agent: AgentProgram, path: Path, model: str, *, wait: bool = False) -> str:
    """Stores it; its id."""
    with Client(agent.data / "agent.sock") as client:
        return client.publish(path, model, wait=wait).id


def releases(hub: HubProgram, model: str) -> list[dict[str, Any]]:
    """Oldest first; none while the model is unknown."""
    done = hub.ctl.run("history", model, "--json")
    return (
        sorted(hub.ctl.json("history", model)["releases"], key=lambda one: one["number"]) if not done.returncode else []
    )


def until_there(hub: HubProgram, agent: AgentProgram, model: str, count: int, seconds: float = 90.0) -> None:
    """Returns once the hub has so many releases, and nothing waits at the node."""

    def look() -> bool:
        waits = [path for path in (agent.data / "outbox").iterdir() if path.is_dir() and "." not in path.name]
        return len(releases(hub, model)) >= count and not waits

    try:
        until(look, f"{count} releases of {model} from {agent.name}", seconds=seconds, pause=0.2)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{agent.log.read_text()[-6000:]}") from error


def pulled(hub: HubProgram, ref: str, dest: Path) -> dict[str, tuple[bytes, bool]]:
    hub.ctl.json("pull", ref, str(dest))
    return tree(dest)


def test_what_was_published_with_the_hub_away_arrives_once_after_a_restart(
    own_hub: HubProgram, start_agent: StartAgent, tmp_path: Path
) -> None:
    agent = start_agent(own_hub, "cam")
    own_hub.ctl.json("allow", "cam", "acme/*", "--channel", "stable")
    own_hub.kill()
    origins = {name: folder(tmp_path / name, seed=at) for at, name in enumerate(("helmet", "vest", "glove"), 1)}
    expected = {name: tree(path) for name, path in origins.items()}
    for name, path in origins.items():
        publish(agent, path, f"acme/{name}@stable")
    later = tree(change(origins["helmet"]))
    publish(agent, origins["helmet"], "acme/helmet@stable")
    for path in origins.values():
        change(path, seed=9)  # the copies count from now on
    agent.kill()
    agent.start()
    own_hub.restart()
    until_there(own_hub, agent, "acme/helmet", 2)
    assert pulled(own_hub, "acme/helmet:1", tmp_path / "first") == expected.pop("helmet")
    assert pulled(own_hub, "acme/helmet@stable", tmp_path / "second") == later
    assert [one["number"] for one in releases(own_hub, "acme/helmet")] == [1, 2]
    for name, content in expected.items():
        assert [(one["number"], one["producer"]) for one in releases(own_hub, f"acme/{name}")] == [(1, "node/cam")]
        assert pulled(own_hub, f"acme/{name}@stable", tmp_path / f"pulled-{name}") == content


def test_a_node_fetches_no_byte_of_what_it_published_itself(
    own_hub: HubProgram, start_agent: StartAgent, tmp_path: Path
) -> None:
    origin = folder(tmp_path / "origin", size=6_000_000)
    with tcp_link(own_hub.address) as link:
        agent = through(AgentProgram.invited(own_hub, "cam", tmp_path / "cam"), link)
        own_hub.ctl.json("allow", "cam", "acme/*", "--channel", "stable")
        own_hub.ctl.json("assign", "acme/helmet@stable", "--node", "cam")
        agent.start()
        try:
            publish(agent, origin, "acme/helmet@stable", wait=True)
            path = until_active(agent, "acme/helmet@stable", 1)
            assert tree(path) == tree(origin)
            assert link.carried(Way.UP) >= 6_000_000
            assert link.carried(Way.DOWN) <= WORDS
        finally:
            agent.kill()


def test_what_is_refused_waits_for_a_right_and_holds_up_no_other_model(
    own_hub: HubProgram, start_agent: StartAgent, tmp_path: Path
) -> None:
    agent = start_agent(own_hub, "cam")
    own_hub.ctl.json("allow", "cam", "acme/vest")
    publish(agent, folder(tmp_path / "one", seed=1), "acme/helmet")
    publish(agent, folder(tmp_path / "two", seed=2), "acme/vest", wait=True)
    (waiting,) = [path for path in (agent.data / "outbox").iterdir() if path.is_dir() and "." not in path.name]
    assert releases(own_hub, "acme/helmet") == []
    own_hub.ctl.json("allow", "cam", "acme/helmet")
    until_there(own_hub, agent, "acme/helmet", 1)
    assert not waiting.exists()


def test_numbers_that_were_recorded_with_the_hub_away_arrive_once(
    own_hub: HubProgram, start_agent: StartAgent, tmp_path: Path
) -> None:
    origin = folder(tmp_path / "origin")
    own_hub.ctl.json("push", str(origin), "acme/helmet@stable")
    agent = start_agent(own_hub, "cam")
    own_hub.ctl.json("assign", "acme/helmet@stable", "--node", "cam")
    until_active(agent, "acme/helmet@stable", 1)
    own_hub.kill()
    with Client(agent.data / "agent.sock") as client:
        client.record("acme/helmet:1", {"recall": 0.71, "map": 0.5}, stage="eval")
    agent.kill()
    agent.start()
    own_hub.restart()
    told = until(
        lambda: own_hub.ctl.json("metrics", "acme/helmet")["numbers"], "numbers of acme/helmet", seconds=90, pause=0.2
    )
    assert sorted((one["name"], one["value"], one["who"]) for one in told) == [
        ("map", 0.5, "node/cam"),
        ("recall", 0.71, "node/cam"),
    ]


def test_what_was_trained_further_travels_as_the_difference_to_what_the_node_has(
    own_hub: HubProgram, tmp_path: Path
) -> None:
    model = weights(tmp_path.name, LAYERS)
    old, new = saved(model, tmp_path / "old"), saved(trained(model), tmp_path / "new")
    newer = saved(trained(trained(model), seed=2), tmp_path / "newer")
    own_hub.ctl.json("push", str(old), "lab/net@stable")
    with tcp_link(own_hub.address, RATE) as link:
        agent = through(AgentProgram.invited(own_hub, "lab-node", tmp_path / "lab-node"), link)
        own_hub.ctl.json("allow", "lab-node", "lab/*")
        own_hub.ctl.json("assign", "lab/net@stable", "--node", agent.name)
        agent.start()
        try:
            until_active(agent, "lab/net@stable", 1)
            before = link.carried(Way.UP)
            publish(agent, new, "lab/net", wait=True)
            first = link.carried(Way.UP) - before
            publish(agent, newer, "lab/net", wait=True)  # against what it published itself, which no channel names
            second = link.carried(Way.UP) - before - first
        finally:
            agent.kill()
    assert pulled(own_hub, "lab/net:2", tmp_path / "second") == tree(new)
    assert pulled(own_hub, "lab/net:3", tmp_path / "third") == tree(newer)
    assert max(first, second) < 0.5 * (LAYERS << 20), (first, second)


CUTS = 5
COUNT, SIZE, SPEED = (3, 100_000_000, 10_000_000) if FULL else (2, 16_000_000, RATE)


def test_nodes_publish_through_links_that_are_cut_five_times_and_send_at_most_a_window_again(
    own_hub: HubProgram, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        links: list[TcpLink] = []
        agents: list[AgentProgram] = []
        for number in range(COUNT):
            link = stack.enter_context(tcp_link(own_hub.address, SPEED))
            name = f"cut-{number}"
            agent = through(AgentProgram.invited(own_hub, name, tmp_path / name), link)
            own_hub.ctl.json("allow", name, f"round/update-{number}")
            for cut in range(1, CUTS + 1):
                link.cut_at(Way.UP, cut * SIZE // (CUTS + 1))
            agent.start()
            stack.callback(agent.kill)
            origin = folder(tmp_path / f"origin-{number}", seed=number, size=SIZE)
            publish(agent, origin, f"round/update-{number}")
            links.append(link)
            agents.append(agent)
        for number, agent in enumerate(agents):
            until_there(own_hub, agent, f"round/update-{number}", 1, seconds=300)
    for number, link in enumerate(links):
        assert [one["number"] for one in releases(own_hub, f"round/update-{number}")] == [1]
        assert link.cuts == CUTS
        again = link.carried(Way.UP) - SIZE
        assert again <= allowed(CUTS, SIZE) - SIZE - CUTS * (RATE - SPEED), f"{again} bytes were sent again"
        dest = tmp_path / f"pulled-{number}"
        assert pulled(own_hub, f"round/update-{number}:1", dest) == tree(tmp_path / f"origin-{number}")

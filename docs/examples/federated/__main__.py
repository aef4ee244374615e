"""Five rounds of federated learning over a hub and three agents; one of the nodes is away for a round.

    python -m docs.examples.federated [--rounds N] [--hidden UNITS]

Everything that was promised is checked: the accuracy grows, each node trains from what was published to the byte, each
update arrives once, and each aggregate names the updates that it was made from.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from docs.demo.fleet import PATIENCE, DemoError, Fleet, fleet
from docs.examples.federated.aggregator import Aggregator, Round
from docs.examples.federated.model import Net, judge_points
from docs.examples.federated.node import GLOBAL, UPDATES
from modelsyncd.client import HubClient, Release

NODES = ("cairo", "lima", "oslo")
AWAY, AWAY_ROUND = "lima", 3
HIDDEN = 64


@dataclass
class Job:
    """A node's job, and what it has told so far, by round."""

    process: subprocess.Popen[str]
    told: dict[int, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def await_end(self) -> None:
        """Returns once the job has done its last round."""
        self.process.wait(PATIENCE)
        self._listener.join()

    def end(self) -> None:
        """Ends it, if it still runs."""
        self.process.terminate()
        self.process.wait()
        self._listener.join()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said = json.loads(line)
            self.told[said["round"]] = said


@dataclass
class Node:
    """A node: its agent and its job."""

    name: str
    agent: subprocess.Popen[bytes]
    job: Job


def start(here: Fleet, address: str, rounds: int) -> dict[str, Node]:
    """Lets the nodes in, and says what they follow and what they may publish."""
    found = {}
    for index, name in enumerate(NODES):
        agent = here.start_agent(name, address)
        here.ctl("assign", GLOBAL, "--node", name)
        here.ctl("allow", name, UPDATES)
        command = [sys.executable, "-m", "docs.examples.federated.node", f"unix:{here.root / name / 'agent.sock'}"]
        arguments = [name, str(index), str(len(NODES)), str(rounds)]
        job = Job(subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True))
        here.stack.callback(job.end)
        found[name] = Node(name, agent, job)
    return found


def run(here: Fleet, rounds: int, hidden: int) -> list[Round]:
    """All rounds. Raises AssertionError when a promise was not kept."""
    address = here.start_hub()
    nodes = start(here, address, rounds)
    with HubClient(here.context, cache=here.root / "cache", keep=len(NODES)) as hub:
        cloud = Aggregator(hub, here.root / "global", judge_points())
        await_online(cloud, NODES)
        done = [cloud.begin(Net.fresh(hidden))]
        print(f"round 0: accuracy {done[0].accuracy:.3f}, {done[0].published.size:,} bytes of weights", flush=True)
        for number in range(1, rounds + 1):
            expected = cloud.online()
            began = time.monotonic()
            updates = cloud.gather(number, expected)
            if number == AWAY_ROUND - 1:
                end(nodes[AWAY].agent)
            done.append(cloud.aggregate(number, updates))
            if number == AWAY_ROUND - 1:
                await_offline(cloud, AWAY)
            if number == AWAY_ROUND:
                nodes[AWAY].agent = here.start_again(AWAY, address)
                await_online(cloud, [AWAY])
            said = f"accuracy {done[-1].accuracy:.3f} from {', '.join(one.labels['node'] for one in updates)}"
            print(f"round {number}: {said}, {time.monotonic() - began:.1f} s", flush=True)
        for node in nodes.values():
            node.job.await_end()
        check(hub, done, nodes)
    return done


def check(hub: HubClient, done: list[Round], nodes: dict[str, Node]) -> None:
    """What was promised. Raises AssertionError."""
    accuracies = [one.accuracy for one in done if one.number != AWAY_ROUND]  # what only one saw is missing in that one
    assert accuracies == sorted(accuracies), accuracies
    assert accuracies[-1] > accuracies[0] + 0.15, accuracies
    updates = list(hub.releases(UPDATES, wait=1.0))
    arrived = [(int(one.labels["round"]), one.labels["node"]) for one in updates]
    assert len(set(arrived)) == len(arrived), arrived
    for each, after in pairwise(done):
        took_part = {one.labels["node"] for one in after.parents}
        assert took_part == {name for number, name in arrived if number == after.number}, took_part
        assert took_part == set(NODES) - ({AWAY} if after.number == AWAY_ROUND else set()), took_part
        described = hub.release(f"{after.published.model}:{after.published.number}")
        assert [(one.ref, one.role) for one in described.parents] == [
            (one.ref, "aggregated-from") for one in after.parents
        ]
        for update in after.parents:
            follows(hub, each, update, nodes[update.labels["node"]].job.told[after.number])


def follows(hub: HubClient, before: Round, update: Release, told: dict[str, Any]) -> None:
    """An update is what its job published, which began with the very bytes of the round before."""
    assert told["got"] == before.published.manifest, told
    assert told["published"] == update.manifest, told
    assert [(one.ref, one.role) for one in update.parents] == [
        (f"{before.published.model}:{before.published.number}", "fine-tuned-from")
    ]
    assert update.producer == f"node/{update.labels['node']}", update.producer


def await_online(cloud: Aggregator, names: tuple[str, ...] | list[str]) -> None:
    """Returns once the hub has heard of them."""
    _until(lambda: set(names) <= set(cloud.online()), f"{', '.join(names)} did not come")


def await_offline(cloud: Aggregator, name: str) -> None:
    """Returns once the hub knows that it is away."""
    _until(lambda: name not in cloud.online(), f"{name} did not go")


def _until(look: Any, what: str) -> None:
    ends = time.monotonic() + PATIENCE
    while not look():
        if time.monotonic() > ends:
            raise DemoError(what)
        time.sleep(0.05)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends an agent, as for a truck that leaves the garage."""
    process.terminate()
    process.wait(PATIENCE)


def main() -> int:
    """Runs the example in a temporary folder; 0 when all of it worked."""
    parser = argparse.ArgumentParser(prog="python -m docs.examples.federated", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--hidden", type=int, default=HIDDEN, help="units of the hidden layer: 172 bytes of weights each"
    )
    asked = parser.parse_args()
    began = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="modelsyncd-") as root, fleet(Path(root)) as here:
            run(here, asked.rounds, asked.hidden)
    except DemoError as error:
        print(f"The example stopped: {error}")
        return 1
    print(f"Done in {time.monotonic() - began:.0f} s; every digest, every parent and every update is right.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

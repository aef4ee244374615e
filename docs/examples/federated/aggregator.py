"""The job in the cloud: waits for a round's updates, averages them, and publishes what they know together.

It uses the same client as the nodes' jobs, against the hub.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from docs.examples.federated.model import Net, Points, average
from docs.examples.federated.node import GLOBAL, UPDATES
from modelsyncd.client import HubClient, Published, Release

PATIENCE = 90.0  # seconds without an update after which a round goes on without the rest


@dataclass(frozen=True, slots=True)
class Round:
    """What came of a round; `parents` are the updates that went in."""

    number: int
    parents: tuple[Release, ...]
    published: Published
    accuracy: float


class Aggregator:
    """Federated averaging: each update counts by the samples that it was learned from."""

    def __init__(self, hub: HubClient, folder: Path, judge: Points, patience: float = PATIENCE) -> None:
        self._hub = hub
        self._folder = folder
        self._judge = judge
        self._patience = patience
        self._after = 0

    def begin(self, net: Net) -> Round:
        """Publishes what all begin from."""
        return self._publish(0, net, ())

    def online(self) -> list[str]:
        """The nodes that can be expected to take part now."""
        return [node.name for node in self._hub.nodes() if node.online]

    def gather(self, number: int, expected: Collection[str]) -> list[Release]:
        """The round's updates, one of each expected node; without those that stay away for too long."""
        found: dict[str, Release] = {}
        for update in self._hub.releases(
            UPDATES, labels={"round": str(number)}, after=self._after, wait=self._patience
        ):
            if update.labels["node"] in expected:
                found[update.labels["node"]] = update
            if len(found) == len(expected):
                break
        self._after = min((one.number for one in found.values()), default=self._after + 1) - 1
        return [found[name] for name in sorted(found)]

    def aggregate(self, number: int, updates: list[Release]) -> Round:
        """Averages the updates, publishes that, and moves the channel to it, so that all nodes fetch it."""
        nets = []
        for update in updates:
            with self._hub.acquire(update) as model:
                nets.append((Net.load(model.path), int(update.labels["samples"])))
        return self._publish(number, average(nets), tuple(updates))

    def _publish(self, number: int, net: Net, parents: tuple[Release, ...]) -> Round:
        accuracy = net.accuracy(self._judge)
        done = self._hub.publish(
            net.save(self._folder),
            GLOBAL,
            parents=[(one.ref, "aggregated-from") for one in parents],
            labels={"round": str(number)},
            metrics={"accuracy": accuracy},
        )
        self._hub.record(f"{done.model}:{done.number}", {"accuracy": accuracy}, dataset="all classes", stage="eval")
        return Round(number, parents, done, accuracy)

"""A node's job: acquires each global model, trains it on what only this node sees, and publishes what it learned.

It knows nothing of a hub. Started with the agent's socket, its name, its index, how many nodes there are and how many
rounds; prints one JSON line for each round that it took part in.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from docs.examples.federated.model import Net, points_of
from modelsyncd import client

GLOBAL, UPDATES = "plant/digits@stable", "plant/digits-updates"
EPOCHS = 1


def main(target: str, name: str, index: int, nodes: int, rounds: int) -> None:
    """Runs until the last round is over."""
    seen = points_of(index, nodes)
    with client.Client(target) as here, tempfile.TemporaryDirectory(prefix="federated-") as scratch:
        for model in here.follow(GLOBAL):
            number = int(model.labels["round"]) + 1
            if number > rounds:
                return
            net = Net.load(model.path)
            loss = net.train(seen, EPOCHS, seed=index + 100 * number)
            done = here.publish(
                net.save(Path(scratch)),
                UPDATES,
                parents=[model],
                labels={"round": str(number), "node": name, "samples": str(len(seen.classes))},
                metrics={"loss": loss},
                wait=False,  # it is durable on this machine: the link may be away for a week
            )
            told = {"round": number, "from": model.number, "got": model.manifest, "published": done.manifest}
            print(json.dumps(told | {"loss": loss}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6]))

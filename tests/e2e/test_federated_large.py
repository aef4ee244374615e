"""A round of federated learning with weights that no message could carry: nothing on the way has a cap of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from modelsyncd.client import Client, HubClient
from tests.e2e.conftest import StartAgent
from tests.e2e.fleet import until_active
from tests.e2e.processes import HubProgram

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

GLOBAL, UPDATES = "big/model", "big/updates"
SHAPE = (6_250, 4_000)  # float32: 100 MB
NODES = ("east", "west")
PATIENCE = 240.0

Weights = npt.NDArray[np.float32]


def weights(folder: Path, values: Weights) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "weights.npy", values)
    (folder / "config.json").write_text("{}")
    return folder


def read(folder: Path) -> Weights:
    found: Weights = np.load(folder / "weights.npy")
    return found


def test_a_round_with_a_hundred_megabytes_of_weights_is_whole_at_every_step(
    own_hub: HubProgram, start_agent: StartAgent, tmp_path: Path
) -> None:
    chance = np.random.default_rng(5)
    first = chance.standard_normal(SHAPE, dtype=np.float32)
    agents = {name: start_agent(own_hub, name) for name in NODES}
    with HubClient(own_hub.context, cache=tmp_path / "cache") as cloud:
        cloud.publish(weights(tmp_path / "global", first), f"{GLOBAL}@stable", labels={"round": "0"})
        learned = {}
        for name, agent in agents.items():
            own_hub.ctl.json("assign", f"{GLOBAL}@stable", "--node", name)
            own_hub.ctl.json("allow", name, UPDATES)
            with Client(agent.data / "agent.sock") as here, here.acquire(GLOBAL, wait=PATIENCE) as model:
                learned[name] = read(model.path)
                assert np.array_equal(learned[name], first)
                learned[name][: SHAPE[0] // 10] += chance.standard_normal((SHAPE[0] // 10, SHAPE[1]), dtype=np.float32)
                folder = weights(tmp_path / f"{name}-learned", learned[name])
                here.publish(folder, UPDATES, parents=[model], labels={"round": "1", "node": name}, wait=False)
        updates = {}
        for update in cloud.releases(UPDATES, labels={"round": "1"}, wait=PATIENCE):
            assert update.size > 100_000_000
            updates[update.labels["node"]] = update
            with cloud.acquire(update) as model:
                assert np.array_equal(read(model.path), learned[update.labels["node"]])
            if len(updates) == len(NODES):
                break
        assert {one.producer for one in updates.values()} == {f"node/{name}" for name in NODES}
        mean = np.asarray(np.mean(list(learned.values()), axis=0, dtype=np.float32))
        parents = [(one.ref, "aggregated-from") for one in updates.values()]
        done = cloud.publish(weights(tmp_path / "global", mean), f"{GLOBAL}@stable", parents=parents)
        for name, agent in agents.items():
            assert np.array_equal(read(until_active(agent, f"{GLOBAL}@stable", done.number, seconds=PATIENCE)), mean), (
                name
            )

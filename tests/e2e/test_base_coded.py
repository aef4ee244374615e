"""Models that were trained further, over a slow link: the difference travels, and every byte is right all the same."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.e2e.conftest import StartAgent
from tests.e2e.content import tree
from tests.e2e.fleet import Standing, through, until_active, until_told
from tests.e2e.processes import AgentProgram, Ctl, HubProgram
from tests.e2e.travel import OVERHEAD, WORDS
from tests.fakes.link.relay import TcpLink, tcp_link
from tests.fakes.link.shape import Way
from tests.fakes.oracle import whole_versions
from tests.fakes.trained import saved, trained, weights

RATE = 2_000_000  # bytes per second each way
LAYERS = 24  # MiB of the model
SIZE = LAYERS << 20
REF = "lab/net@stable"


@dataclass
class Lab:
    """A hub with two releases, the second one coded against the first, and a node that has the first."""

    hub: HubProgram
    agent: AgentProgram
    old: Path
    new: Path
    pushed: dict[str, object] = field(default_factory=dict)

    @property
    def version(self) -> Path:
        """The folder of the first release on the node."""
        return next((self.agent.data / "models" / "lab" / "net" / "versions").glob("1-*"))

    def check(self, *, harmed: bool = False) -> Standing:
        """Waits until the second release is active, and judges all that is shown; what the hub was told of it.

        `harmed` says that the first one was harmed by the test, so it is not judged.
        """
        path = until_active(self.agent, REF, 2)
        assert tree(path) == tree(self.new)
        assert harmed or set(whole_versions(self.agent.data)) == {"lab/net:1", "lab/net:2"}
        return until_told(self.hub, self.agent, REF, 2)


@pytest.fixture
def lab(own_hub: HubProgram, start_agent: StartAgent, tmp_path: Path) -> Lab:
    model = weights(tmp_path.name, LAYERS)
    old, new = saved(model, tmp_path / "old"), saved(trained(model), tmp_path / "new")
    agent = start_agent(own_hub, "lab-node")
    own_hub.ctl.json("assign", REF, "--node", agent.name)
    own_hub.ctl.json("push", str(old), "lab/net", "--channel", "stable")
    until_active(agent, REF, 1)
    assert agent.stop() == 0
    pushed = own_hub.ctl.json(
        *("push", str(new), "lab/net", "--channel", "stable", "--base", str(old), "--coding", "smallest")
    )
    return Lab(own_hub, agent, old, new, pushed)


@contextmanager
def fetching(lab: Lab) -> Iterator[TcpLink]:
    """The node begins to fetch the second release over a slow link."""
    with tcp_link(lab.hub.address, RATE) as link:
        through(lab.agent, link).start()
        try:
            yield link
        finally:
            lab.agent.kill()


def reach(lab: Lab, link: TcpLink, share: float) -> None:
    """Returns once so much of the coded release was carried."""
    link.reach(Way.DOWN, int(share * int(str(lab.pushed["bytes_wire"]))))


def check_cost(lab: Lab, link: TcpLink, faults: int = 0, plainly: int = 0) -> None:
    """Raises AssertionError when more came than the coded release, a window for each fault, and what came anew."""
    coded = int(str(lab.pushed["bytes_wire"])) * OVERHEAD
    assert link.carried(Way.DOWN) <= coded + (faults + 1) * WORDS + faults * RATE + plainly


@pytest.mark.slow
def test_a_model_that_was_trained_further_goes_up_and_down_as_the_difference(lab: Lab) -> None:
    assert lab.pushed["bases"][0]["held"] is True  # type: ignore[index]
    assert int(str(lab.pushed["bytes_wire"])) < SIZE / 2
    assert int(str(lab.pushed["bytes_coded"])) > 0.99 * SIZE
    assert int(str(lab.pushed["bytes_coded"])) + int(str(lab.pushed["bytes_plain"])) + int(
        str(lab.pushed["bytes_had"])
    ) == int(str(lab.pushed["bytes"]))
    assert float(str(lab.pushed["giver_cpu"])) > 0
    assert float(str(lab.pushed["taker_cpu"])) > 0
    with fetching(lab) as link:
        told = lab.check()
        check_cost(lab, link)
    assert told["bytes_wire"] < SIZE / 2
    assert told["bytes_coded"] > 0.99 * SIZE
    assert told["bytes_had"] + told["bytes_coded"] + told["bytes_plain"] == told["bytes_total"]
    assert told["taker_cpu"] > 0
    text = lab.hub.ctl.text("status")
    assert "CODED" in text


@pytest.mark.slow
def test_a_killed_agent_goes_on_with_the_difference_and_sends_for_nothing_twice(lab: Lab) -> None:
    with fetching(lab) as link:
        reach(lab, link, random.Random(1).uniform(0.5, 0.8))
        lab.agent.kill()
        assert set(whole_versions(lab.agent.data)) == {"lab/net:1"}
        lab.agent.start()
        told = lab.check()
        check_cost(lab, link, faults=1)
    assert told["bytes_had"] > SIZE / 4
    assert told["bytes_coded"] > 0


@pytest.mark.slow
def test_a_killed_hub_is_waited_for_and_goes_on_with_the_difference(lab: Lab) -> None:
    with fetching(lab) as link:
        reach(lab, link, 0.6)
        lab.hub.kill()
        lab.hub.restart()
        told = lab.check()
        check_cost(lab, link, faults=1)
    assert told["bytes_coded"] > 0.75 * SIZE, "what came before the hub was killed counts, too"
    assert told["bytes_plain"] < SIZE / 50


@pytest.mark.slow
def test_chunks_whose_base_was_damaged_meanwhile_come_plainly_and_only_they(lab: Lab) -> None:
    with fetching(lab) as link:
        reach(lab, link, 0.3)
        base = lab.version / "model.safetensors"
        base.chmod(0o644)
        with base.open("r+b") as file:
            file.seek(SIZE - (2 << 20))
            file.write(random.Random(2).randbytes(300_000))
        told = lab.check(harmed=True)
        check_cost(lab, link, plainly=6 * (256 << 10))
    assert 0 < told["bytes_plain"] <= 6 * (256 << 10)


@pytest.mark.slow
def test_when_the_base_is_deleted_meanwhile_the_rest_comes_plainly(lab: Lab) -> None:
    with fetching(lab) as link:
        reach(lab, link, 0.5)
        (lab.version / "model.safetensors").unlink()
        told = lab.check(harmed=True)
        check_cost(lab, link, faults=1, plainly=int(0.65 * SIZE))
    assert told["bytes_coded"] > SIZE / 4
    assert told["bytes_plain"] > SIZE / 8


@pytest.mark.slow
def test_a_node_without_numpy_gets_every_byte_without_bases(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text("import sys\nsys.modules['numpy'] = None\n")
    monkeypatch.setenv("PYTHONPATH", str(hidden))
    lab.agent.start()
    monkeypatch.delenv("PYTHONPATH")
    told = lab.check()
    assert told["bytes_coded"] == 0
    assert told["bytes_plain"] > 0.9 * SIZE


def far(hub: HubProgram, link: TcpLink) -> Ctl:
    return Ctl(hub.context, {"MODELSYNCD_HUB": link.address})


def a_pair(tmp_path: Path, layers: int = 6) -> tuple[Path, Path]:
    model = weights(tmp_path.name, layers)
    return saved(model, tmp_path / "old"), saved(trained(model), tmp_path / "new")


def push_both(hub: HubProgram, old: Path, new: Path, model: str) -> None:
    hub.ctl.json("push", str(old), model)
    hub.ctl.json("push", str(new), model, "--base", str(old))


Into = Callable[[HubProgram, Path, str], list[str]]


def beside(_hub: HubProgram, old: Path, _model: str) -> list[str]:
    return ["--base", str(old)]


def over(hub: HubProgram, old: Path, model: str) -> list[str]:
    hub.ctl.json("pull", f"{model}:1", str(old.parent / "dest"))
    (old.parent / "dest" / "notes.txt").write_text("")
    (old.parent / "dest" / "notes.txt").unlink()
    return ["--force"]


@pytest.mark.parametrize("into", [beside, over])
def test_a_pull_fetches_the_difference_to_a_base_or_to_what_lies_there(
    hub: HubProgram, tmp_path: Path, into: Into
) -> None:
    model = f"coded/pull-{into.__name__}"
    old, new = a_pair(tmp_path)
    push_both(hub, old, new, model)
    options = into(hub, old, model)
    with tcp_link(hub.address, 4 * RATE) as link:
        done = far(hub, link).json("pull", model, str(tmp_path / "dest"), *options)
    assert tree(tmp_path / "dest") == tree(new)
    assert done["bytes_wire"] < done["bytes"] / 2
    assert done["bytes_coded"] > 0.9 * done["bytes"]
    assert done["bytes_had"] + done["bytes_coded"] + done["bytes_plain"] == done["bytes"]
    assert done["taker_cpu"] > 0


def test_a_push_against_a_base_that_the_hub_does_not_have_says_so_and_publishes(
    hub: HubProgram, tmp_path: Path
) -> None:
    old, new = a_pair(tmp_path)
    done = hub.ctl.json("push", str(new), "coded/unknown", "--base", str(old))
    assert done["number"] == 1
    assert [base["held"] for base in done["bases"]] == [False]
    assert done["bytes_coded"] == 0
    newer = saved(trained(weights(tmp_path.name, 6), 2), tmp_path / "newer")
    told = hub.ctl.text("push", str(newer), "coded/unknown", "--base", str(old))
    assert f"The hub does not hold {old} as it is" in told
    hub.ctl.json("pull", "coded/unknown", str(tmp_path / "dest"))
    assert tree(tmp_path / "dest") == tree(newer)


def test_a_push_without_a_base_says_when_one_would_have_helped(hub: HubProgram, tmp_path: Path) -> None:
    old, new = a_pair(tmp_path)
    assert hub.ctl.json("push", str(old), "coded/hint")["hint"] is None
    assert "--base" in hub.ctl.text("push", str(new), "coded/hint")


def test_a_base_that_is_not_there_is_told_before_anything_is_sent(hub: HubProgram, tmp_path: Path) -> None:
    old, _ = a_pair(tmp_path, layers=1)
    error = hub.ctl.error(3, "push", str(old), "coded/nothing", "--base", str(tmp_path / "nothing"))
    assert str(tmp_path / "nothing") in error["message"]
    assert hub.ctl.error(3, "show", "coded/nothing")["code"] == "not-found"


def test_the_coding_can_be_chosen(hub: HubProgram, tmp_path: Path) -> None:
    old, new = a_pair(tmp_path)
    hub.ctl.json("push", str(old), "coded/chosen")
    plainly = hub.ctl.json("push", str(new), "coded/chosen", "--base", str(old), "--coding", "plain")
    assert plainly["bytes_coded"] == 0
    newer = saved(trained(weights(tmp_path.name, 6), 3), tmp_path / "newer")
    fast = hub.ctl.json("push", str(newer), "coded/chosen", "--base", str(old), "--coding", "fast")
    assert fast["bytes_coded"] > 0.9 * fast["bytes"]
    assert fast["bytes_wire"] < plainly["bytes_wire"]

"""Incremental learning as Sedna does it, with a real hub, a real node, and workers that know nothing of either."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.fleet import number_at, standing, until_active, until_told
from tests.e2e.processes import HubProgram
from tests.e2e.sedna import BETTER, CANDIDATE, MODEL, STABLE, plant, serving
from tests.e2e.waiting import until
from tests.fakes.sedna_job import digest, model_bytes

MEGABYTE = 1_000_000


def published(folder: Path, precision: float, size: int) -> Path:
    folder.mkdir(parents=True)
    path = folder / "model.pth"
    path.write_bytes(model_bytes(precision, size) if precision >= 0 else b"no model" * (size // 8))
    return path


def _measured(hub: HubProgram, number: int) -> dict[str, float]:
    """Since it was published: what training said of it then has no stage."""
    numbers = hub.ctl.json("metrics", f"{MODEL}:{number}")["numbers"]
    return {one["name"]: one["value"] for one in numbers if one["stage"]}


def _failure(hub: HubProgram) -> str:
    found = standing(hub, "edge-1", STABLE)
    error = (found or {}).get("error") or {}
    return str(error.get("message", ""))


def _moves(hub: HubProgram) -> list[tuple[int, str]]:
    """Where stable was moved, the first one first, and what a rule compared for it."""
    moves = [move for move in hub.ctl.json("history", MODEL)["moves"] if move["channel"] == "stable"]
    return [(move["to"], move["why"].removeprefix(f"rule: {BETTER} ")) for move in reversed(moves)]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_is_trained_is_evaluated_promoted_when_better_and_loaded_and_what_can_not_be_loaded_gives_way(
    own_hub: HubProgram, tmp_path: Path
) -> None:
    hub = own_hub
    first = published(tmp_path / "1", 0.8, 10 * MEGABYTE)
    with plant(hub, "edge-1", tmp_path) as site:
        hub.ctl.json("push", str(first), MODEL, "--channel", "stable")
        assert site.promote_better() == "none"
        site.until_told(1)
        with serving(site) as worker:
            worker.until_loaded(digest(first))
            for number, precision, size in ((2, 0.85, 6), (3, 0.9, 12)):
                trained = site.train(number, precision, size * MEGABYTE)
                until_active(site.agent, CANDIDATE, number)
                site.until_candidate(number)
                if number == 3:
                    hub.kill()  # what is measured meanwhile waits, and is judged when it comes
                site.evaluate()
                if number == 3:
                    hub.restart()
                worker.until_loaded(trained)
                until_told(hub, site.agent, STABLE, number)
            assert worker.written_in(looks=10) < MEGABYTE  # of a model with 12
            site.train(4, 0.9, MEGABYTE)  # as good, and not better
            site.until_candidate(4)
            site.evaluate()
            kept = {"precision": 0.9, "precision_delta": 0.0}
            until(lambda: _measured(hub, 4) == kept, "the hub knows what the fourth was like")
            assert site.promote_better() == "fails"
            before = len(worker.said)
            site.train(5, -1, MEGABYTE)  # looks best, and can't be loaded
            site.until_candidate(5)
            site.evaluate()
            worker.until_failed()
            worker.until_loaded(trained, before)
            until(lambda: "could not load it" in _failure(hub), "the hub knows why the fifth gave way")
            assert number_at(site.agent, STABLE) == 3
            until(lambda: _measured(hub, 5).get("loaded") == 0.0, "the hub knows that the fifth was not loaded")
            assert _measured(hub, 3)["loaded"] == 1.0
            # The channel names the fifth still, with which no other can compare; a person takes it back.
            hub.ctl.json("rollback", MODEL, "stable")
            trained = site.train(6, 0.95, MEGABYTE)
            site.until_candidate(6)
            site.evaluate()
            worker.until_loaded(trained)
            until_told(hub, site.agent, STABLE, 6)
            compared = "[precision of :{} = {}, precision of :{} = {}]".format
            moves = _moves(hub)
            assert [number for number, _ in moves] == [1, 2, 3, 5, 3, 6]
            assert moves[1] == (2, compared(2, 0.85, 1, 0.8))
            assert moves[2] == (3, compared(3, 0.9, 2, 0.85))
            assert moves[3] == (5, compared(5, 1, 3, 0.9))
            assert moves[5] == (6, compared(6, 0.95, 3, 0.9))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_agent_that_is_killed_between_two_phases_shows_the_right_version_when_it_runs_again(
    own_hub: HubProgram, tmp_path: Path
) -> None:
    hub = own_hub
    with plant(hub, "edge-1", tmp_path, gate="") as site:
        # before the job's folder is written; between its file and its name; between its name and its word
        points = ("channel-switched=kill", "link-switched=kill@3", "link-switched=kill@4", "")
        for number, point in enumerate(points, 1):
            path = published(tmp_path / str(number), 0.8, MEGABYTE + number)
            hub.ctl.json("push", str(path), MODEL, "--channel", "stable")
            if number > 1:
                site.until_killed()
                site.agent.start()
            site.until_told(number)
            assert digest(site.folder / "model.pth") == digest(path)
            site.agent.kill()
            if point:
                site.start_with(point)

"""Incremental learning as Sedna does it, with a real hub, a real node, and workers that know nothing of either."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.fleet import standing, until_active, until_told
from tests.e2e.processes import HubProgram
from tests.e2e.sedna import MODEL, STABLE, plant, serving
from tests.e2e.waiting import until
from tests.fakes.sedna_job import digest, model_bytes

MEGABYTE = 1_000_000


def published(folder: Path, precision: float, size: int) -> Path:
    folder.mkdir(parents=True)
    path = folder / "model.pth"
    path.write_bytes(model_bytes(precision, size) if precision >= 0 else b"no model" * (size // 8))
    return path


@pytest.mark.slow
def test_workers_load_each_published_model_whole_and_one_that_can_not_be_loaded_gives_way(
    own_hub: HubProgram, tmp_path: Path
) -> None:
    hub = own_hub
    first = published(tmp_path / "1", 0.8, 10 * MEGABYTE)
    with plant(hub, "edge-1", tmp_path) as site:
        hub.ctl.json("push", str(first), MODEL, "--channel", "stable")
        site.until_told(1)
        with serving(site) as worker:
            worker.until_loaded(digest(first))
            until_told(hub, site.agent, STABLE, 1)
            for number, size in ((2, 6), (3, 12)):
                path = published(tmp_path / str(number), 0.8 + number / 100, size * MEGABYTE)
                hub.ctl.json("push", str(path), MODEL, "--channel", "stable")
                worker.until_loaded(digest(path))
                until_told(hub, site.agent, STABLE, number)
            good, before = digest(path), len(worker.said)
            hub.ctl.json("push", str(published(tmp_path / "4", -1, MEGABYTE)), MODEL, "--channel", "stable")
            worker.until_failed()
            worker.until_loaded(good, before)
            until_active(site.agent, STABLE, 3)
            until(lambda: _failure(hub), "the hub knows why the fourth gave way")
            assert "serve of default/helmet-detection could not load it" in _failure(hub)


def _failure(hub: HubProgram) -> str:
    found = standing(hub, "edge-1", STABLE)
    error = (found or {}).get("error") or {}
    return str(error.get("message", ""))

"""`modelsyncctl query`, and what `show` says of a release's files, against a real hub."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from tests.e2e.processes import HubProgram

CARD = """---
license: apache-2.0
pipeline_tag: helmet-detection
datasets: [acme/heads]
---
# Helmets
Sees who wears one.
"""


def _model(folder: Path, seed: int) -> Path:
    folder.mkdir()
    values = np.random.default_rng(seed).normal(size=(64, 32)).astype(np.float32)
    save_file({"w": values, "b": values[0].copy()}, folder / "model.safetensors", {"format": "pt"})
    (folder / "README.md").write_text(CARD)
    (folder / "config.json").write_text('{"model_type": "bert"}')
    return folder


def _names(document: dict[str, list[dict[str, object]]]) -> list[str]:
    return [f"{one['model']}:{one['number']}" for one in document["releases"]]


def test_releases_are_found_by_what_their_files_say_right_after_the_push(hub: HubProgram, tmp_path: Path) -> None:
    for number in (1, 2):
        folder = _model(tmp_path / f"{number}", number)
        hub.ctl.json("push", str(folder), "query/helmet", "--label", "site=oslo", "--metric", f"precision=0.{number}")
    query = "namespace = query and "
    assert _names(hub.ctl.json("query", query + "format = safetensors")) == ["query/helmet:2", "query/helmet:1"]
    assert _names(hub.ctl.json("query", query + "metrics.precision > 0.15")) == ["query/helmet:2"]
    assert _names(hub.ctl.json("query", query + "task = helmet-detection and licence = apache-2.0 and site = oslo"))
    assert _names(hub.ctl.json("query", query + "parameters = 2080 and dtype = f32 and architecture = bert"))
    found = hub.ctl.text("query", query + "framework = pytorch", "--sort", "metrics.precision", "--show", "licence")
    assert found.index("query/helmet:1") < found.index("query/helmet:2")
    assert "apache-2.0" in found
    assert "METRICS.PRECISION" in found


def test_a_query_that_finds_nothing_or_can_not_be_read_says_what_may_have_been_meant(hub: HubProgram) -> None:
    assert "did you mean the field format?" in hub.ctl.text("query", "formt = onnx")
    error = hub.ctl.error(2, "query", "size > > 3")
    assert "▸" in error["message"]
    assert "is a size" in hub.ctl.error(2, "query", "size > heavy")["message"]


def test_more_than_the_limit_is_said_and_had(hub: HubProgram, tmp_path: Path) -> None:
    for number in range(1, 4):
        hub.ctl.json("push", str(_model(tmp_path / f"{number}", 10 + number)), "query/many")
    some = hub.ctl.json("query", "model = query/many", "--limit", "2")
    assert (len(some["releases"]), some["more"]) == (2, True)
    assert "There are more" in hub.ctl.text("query", "model = query/many", "--limit", "2")
    everything = hub.ctl.json("query", "model = query/many", "--all")
    assert (len(everything["releases"]), everything["more"]) == (3, False)

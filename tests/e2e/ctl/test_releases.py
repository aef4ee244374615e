"""`modelsyncctl list`, `show`, `history`, `diff`, `promote` and `rollback` against a real hub."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.e2e.content import change, folder
from tests.e2e.processes import HubProgram


@pytest.fixture(scope="module")
def two(hub: HubProgram, tmp_path_factory: pytest.TempPathFactory) -> HubProgram:
    """A hub with rel/helmet:1 on stable and rel/helmet:2 on canary."""
    origin = folder(tmp_path_factory.mktemp("two") / "origin", seed=40, size=4_000_000)
    hub.ctl.json("push", str(origin), "rel/helmet", "--channel", "stable", "--note", "the first")
    change(origin)
    (origin / "deep" / "config.json").unlink()
    (origin / "new.txt").write_text("new")
    hub.ctl.json("push", str(origin), "rel/helmet", "--channel", "canary")
    return hub


def test_list_shows_models_with_their_channels_and_newest_release(two: HubProgram) -> None:
    (model,) = two.ctl.json("list", "rel/helmet")["models"]
    assert (model["model"], model["releases"], model["newest"]["number"]) == ("rel/helmet", 2, 2)
    assert {channel["name"]: channel["number"] for channel in model["channels"]} == {"canary": 2, "stable": 1}
    title, line = two.ctl.text("list", "rel/helmet").splitlines()
    assert title.split() == ["MODEL", "NEWEST", "SIZE", "AGE", "CHANNELS"]
    assert line.startswith("rel/helmet")
    assert line.endswith("canary=2, stable=1")


def test_list_of_nothing_says_how_to_begin(two: HubProgram) -> None:
    assert two.ctl.json("list", "nobody/")["models"] == []
    assert "modelsyncctl push" in two.ctl.text("list", "nobody/")


def test_show_tells_every_file(two: HubProgram) -> None:
    shown = two.ctl.json("show", "rel/helmet:1")
    files = {file["path"]: file for file in shown["contents"]}
    assert sorted(files) == ["deep/config.json", "run.sh", "weights.bin"]
    assert files["weights.bin"]["bytes"] == 4_000_000
    assert files["run.sh"]["executable"] is True
    assert shown["channels"] == ["stable"]
    assert shown["release_digest"].startswith("b3:")
    told = two.ctl.text("show", "rel/helmet:1")
    assert "the first" in told
    assert "3.8 MiB" in told


def test_show_tells_formats_and_tensors(hub: HubProgram, tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    origin.mkdir()
    save_file({"a": np.zeros((4, 4), np.float32), "b": np.ones(3, np.float16)}, origin / "model.safetensors")
    hub.ctl.json("push", str(origin), "rel/tensors")
    (file,) = hub.ctl.json("show", "rel/tensors")["contents"]
    assert (file["format"], file["tensors"], file["dtypes"]) == ("safetensors", 2, ["f16", "f32"])


def test_a_card_reaches_a_terminal_without_what_could_steer_it_and_a_program_as_it_is(
    hub: HubProgram, tmp_path: Path
) -> None:
    origin, card = tmp_path / "origin", "# Helmet\n\n\tsafe \x1b]0;owned\x07\x1b[2J and \x9b31m red"
    origin.mkdir()
    (origin / "README.md").write_text(card)
    hub.ctl.json("push", str(origin), "rel/card", "--note", "\x1b[8mhidden")
    assert hub.ctl.json("show", "rel/card", "--card")["card"]["text"] == card
    told = hub.ctl.text("show", "rel/card", "--card")
    assert told == "# Helmet\n\n\tsafe \\x1b]0;owned\\x07\\x1b[2J and \\x9b31m red\n"
    assert r"\x1b[8mhidden" in hub.ctl.text("history", "rel/card")


def test_diff_tells_files_chunks_and_bytes_that_would_travel(two: HubProgram) -> None:
    found = two.ctl.json("diff", "rel/helmet:1", "rel/helmet:2")
    assert found["files"] == {
        "added": ["new.txt"],
        "removed": ["deep/config.json"],
        "changed": ["weights.bin"],
        "same": ["run.sh"],
    }
    assert 0 < found["travel_bytes"] <= 2 << 20
    assert found["chunks"] - found["chunks_shared"] == found["travel_chunks"]
    told = two.ctl.text("diff", "rel/helmet@stable", "rel/helmet@canary")
    assert "+ new.txt" in told
    assert "- deep/config.json" in told
    assert "~ weights.bin" in told
    assert "would travel" in told


def test_what_diff_says_would_travel_is_what_a_pull_fetches(two: HubProgram, tmp_path: Path) -> None:
    said = two.ctl.json("diff", "rel/helmet:1", "rel/helmet:2")["travel_bytes"]
    two.ctl.json("pull", "rel/helmet:1", str(tmp_path / "dest"))
    done = two.ctl.json("pull", "rel/helmet:2", str(tmp_path / "dest"), "--force")
    assert done["bytes"] - done["bytes_had"] == said


def test_history_tells_releases_and_moves_newest_first(two: HubProgram) -> None:
    found = two.ctl.json("history", "rel/helmet")
    assert [release["number"] for release in found["releases"]] == [2, 1]
    assert {(move["channel"], move["from"], move["to"]) for move in found["moves"]} >= {
        ("canary", None, 2),
        ("stable", None, 1),
    }
    assert found["more"] is False
    assert "the first" in two.ctl.text("history", "rel/helmet")
    assert two.ctl.text("history", "rel/helmet", "--limit", "1").endswith("There are more: --limit 2, or --all.\n")


def test_promote_and_rollback_move_a_channel_there_and_back(hub: HubProgram, tmp_path: Path) -> None:
    origin = folder(tmp_path / "origin", seed=41)
    hub.ctl.json("push", str(origin), "rel/moves", "--channel", "stable")
    hub.ctl.json("push", str(change(origin)), "rel/moves")
    moved = hub.ctl.json("promote", "rel/moves:2", "stable", "--note", "looks good")["move"]
    assert (moved["from"], moved["to"], moved["who"]) == (1, 2, "admin/admin")
    again = hub.ctl.text("promote", "rel/moves:2", "stable")
    assert "already" in again
    back = hub.ctl.json("rollback", "rel/moves", "stable")["move"]
    assert (back["from"], back["to"]) == (2, 1)
    assert hub.ctl.json("show", "rel/moves@stable")["number"] == 1
    assert "looks good" in hub.ctl.text("history", "rel/moves")


def test_a_channel_can_be_promoted_to_another(two: HubProgram) -> None:
    assert two.ctl.json("promote", "rel/helmet@canary", "next")["move"]["to"] == 2


def test_promote_without_a_number_asks_which(two: HubProgram) -> None:
    error = two.ctl.error(2, "promote", "rel/helmet", "stable")
    assert error["hint"] == "modelsyncctl promote rel/helmet:NUMBER stable"


def test_rollback_without_a_past_is_told(hub: HubProgram, tmp_path: Path) -> None:
    hub.ctl.json("push", str(folder(tmp_path / "origin", seed=42)), "rel/young", "--channel", "stable")
    done = hub.ctl.run("rollback", "rel/young", "stable")
    assert done.returncode in (3, 5)
    assert done.stderr.startswith("error: ")


@pytest.mark.parametrize(
    "arguments", [("show", "rel/helmett"), ("show", "rel/helmet@stabel"), ("history", "rel/helme")]
)
def test_unknown_names_give_the_nearest(two: HubProgram, arguments: tuple[str, str]) -> None:
    error = two.ctl.error(3, *arguments)
    assert "did you mean" in error["hint"]

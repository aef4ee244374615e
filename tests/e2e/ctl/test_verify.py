"""`modelsyncctl verify` at a hub, and of a folder that was pulled."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.content import folder, tree
from tests.e2e.processes import HubProgram


def flip(path: Path, at: int) -> None:
    """Turns one byte over."""
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 0xFF]))


def test_a_sound_hub_is_told_to_be_sound(own_hub: HubProgram, tmp_path: Path) -> None:
    own_hub.ctl.json("push", str(folder(tmp_path / "origin", seed=60)), "verify/sound")
    found = own_hub.ctl.json("verify")
    assert found["ok"] is True
    assert found["damaged"] == []
    assert found["bytes"] > 2_000_000
    assert own_hub.ctl.json("verify", "verify/sound")["chunks"] <= found["chunks"]
    assert "all as their digests say" in own_hub.ctl.text("verify")


def test_rot_at_the_hub_is_found_and_the_same_push_heals_it(own_hub: HubProgram, tmp_path: Path) -> None:
    origin = folder(tmp_path / "origin", seed=61)
    own_hub.ctl.json("push", str(origin), "verify/rot")
    own_hub.stop()
    (pack,) = (own_hub.data / "packs").rglob("*.pack")
    flip(pack, 1_000_000)
    own_hub.restart()
    error = own_hub.ctl.error(8, "verify", "verify/rot")
    assert error["code"] == "damage"
    assert "push the same content again" in error["hint"]
    own_hub.ctl.json("push", str(origin), "verify/rot")
    assert own_hub.ctl.json("verify", "verify/rot")["ok"] is True
    own_hub.ctl.json("pull", "verify/rot", str(tmp_path / "dest"))
    assert tree(tmp_path / "dest") == tree(origin)


def test_a_folder_is_held_against_its_release_and_mended_by_a_pull(hub: HubProgram, tmp_path: Path) -> None:
    origin = folder(tmp_path / "origin", seed=62)
    hub.ctl.json("push", str(origin), "verify/folder")
    dest = tmp_path / "dest"
    hub.ctl.json("pull", "verify/folder", str(dest))
    assert hub.ctl.json("verify", "verify/folder", "--folder", str(dest))["ok"] is True
    flip(dest / "weights.bin", 500_000)
    (dest / "run.sh").unlink()
    done = hub.ctl.run("verify", "verify/folder", "--folder", str(dest))
    assert done.returncode == 8
    assert "weights.bin is different" in done.stdout
    assert "run.sh is absent" in done.stdout
    hub.ctl.json("pull", "verify/folder", str(dest), "--force")
    assert tree(dest) == tree(origin)


def test_a_folder_needs_a_release_to_be_held_against(hub: HubProgram, tmp_path: Path) -> None:
    assert hub.ctl.error(2, "verify", "--folder", str(tmp_path))["code"] == "bad-input"


def test_a_folder_that_is_no_agents_store_is_told(hub: HubProgram, tmp_path: Path) -> None:
    assert hub.ctl.error(3, "verify", "--agent", str(tmp_path))["code"] == "not-found"

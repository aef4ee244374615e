"""`modelsyncctl pull` against a real hub."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.content import change, folder, tree
from tests.e2e.cutter import cutting
from tests.e2e.processes import HubProgram


def test_a_pull_brings_every_byte_by_number_channel_or_newest(hub: HubProgram, tmp_path: Path) -> None:
    origin = folder(tmp_path / "origin", seed=30)
    hub.ctl.json("push", str(origin), "pull/bytes", "--channel", "stable")
    first = tree(origin)
    hub.ctl.json("push", str(change(origin)), "pull/bytes")
    second = tree(origin)
    for ref, expected in (("pull/bytes:1", first), ("pull/bytes@stable", first), ("pull/bytes", second)):
        dest = tmp_path / ref.replace("/", "-")
        done = hub.ctl.json("pull", ref, str(dest))
        assert done["bytes_had"] == 0
        assert tree(dest) == expected


def test_a_pull_of_an_update_fetches_only_what_changed(hub: HubProgram, tmp_path: Path) -> None:
    origin = folder(tmp_path / "origin", seed=31, size=8_000_000)
    hub.ctl.json("push", str(origin), "pull/update")
    hub.ctl.json("pull", "pull/update", str(tmp_path / "dest"))
    hub.ctl.json("push", str(change(origin)), "pull/update")
    done = hub.ctl.json("pull", "pull/update", str(tmp_path / "dest"), "--force")
    assert tree(tmp_path / "dest") == tree(origin)
    assert done["files_placed"] == 1
    assert done["bytes"] - done["bytes_had"] <= 2 << 20
    assert done["bytes_wire"] <= (2 << 20) + 10_000


def test_a_pull_of_what_is_there_says_so(hub: HubProgram, tmp_path: Path) -> None:
    origin = folder(tmp_path / "origin", seed=32)
    hub.ctl.json("push", str(origin), "pull/again")
    hub.ctl.json("pull", "pull/again", str(tmp_path / "dest"))
    told = hub.ctl.text("pull", "pull/again", str(tmp_path / "dest"))
    assert "already" in told
    assert "every byte of it is right" in told


def test_files_that_differ_are_kept_unless_force_is_given(hub: HubProgram, tmp_path: Path) -> None:
    origin = folder(tmp_path / "origin", seed=33)
    hub.ctl.json("push", str(origin), "pull/differ")
    dest = folder(tmp_path / "dest", seed=34)
    before = tree(dest)
    error = hub.ctl.error(5, "pull", "pull/differ", str(dest))
    assert "weights.bin" in error["message"]
    assert "--force" in error["hint"]
    assert tree(dest) == before
    hub.ctl.json("pull", "pull/differ", str(dest), "--force")
    assert tree(dest) == tree(origin)


async def test_a_pull_over_a_link_that_breaks_goes_on_by_itself(hub: HubProgram, tmp_path: Path) -> None:
    origin = folder(tmp_path / "origin", seed=35, size=12_000_000)
    hub.ctl.json("push", str(origin), "pull/cut")
    async with cutting(hub.address, [4_000_000, 4_000_000]) as link:
        ctl = replace(hub.ctl, environment={"MODELSYNCD_HUB": link.address})
        done = await asyncio.to_thread(ctl.run, "pull", "pull/cut", str(tmp_path / "dest"), "--json")
        assert done.returncode == 0, done.stderr
        assert link.cut == 2
    assert tree(tmp_path / "dest") == tree(origin)
    assert json.loads(done.stdout)["bytes_had"] == 0


async def test_a_pull_that_was_killed_goes_on_from_what_was_written(hub: HubProgram, tmp_path: Path) -> None:
    origin = folder(tmp_path / "origin", seed=36, size=12_000_000)
    hub.ctl.json("push", str(origin), "pull/killed")
    dest = tmp_path / "dest"
    async with cutting(hub.address, [6_000_000, 0, 0, 0, 0, 0, 0, 0]) as link:
        process = await asyncio.create_subprocess_exec(
            *hub.ctl.command("pull", "pull/killed", str(dest)),
            stderr=asyncio.subprocess.PIPE,
            env=os.environ | {"MODELSYNCD_HUB": link.address},
        )
        assert process.stderr is not None
        async with asyncio.timeout(30):
            while "trying again" not in (await process.stderr.readline()).decode():
                pass
            process.kill()
            await process.communicate()
    assert not await asyncio.to_thread(dest.exists)
    done = await asyncio.to_thread(hub.ctl.json, "pull", "pull/killed", str(dest))
    assert done["bytes_had"] > 0
    assert done["bytes_had"] + done["bytes_wire"] < done["bytes"] + 100_000
    assert tree(dest) == tree(origin)


def test_an_unknown_release_gets_the_nearest_name(hub: HubProgram, tmp_path: Path) -> None:
    hub.ctl.json("push", str(folder(tmp_path / "origin", seed=37)), "pull/nearby")
    error = hub.ctl.error(3, "pull", "pull/nearbi", str(tmp_path / "dest"))
    assert error["code"] == "not-found"
    assert "pull/nearby" in error["hint"]


@pytest.mark.parametrize("dest", ["/dev/null/x", "file"])
def test_a_place_that_is_no_folder_is_told(hub: HubProgram, tmp_path: Path, dest: str) -> None:
    hub.ctl.json("push", str(folder(tmp_path / "origin", seed=38)), "pull/nowhere")
    (tmp_path / "file").write_text("x")
    done = hub.ctl.run("pull", "pull/nowhere", str(tmp_path / dest), "--json")
    assert done.returncode in (2, 7)
    assert json.loads(done.stderr.splitlines()[-1])["error"]["message"]
    assert (tmp_path / "file").read_text() == "x"

"""`modelsyncctl push` against a real hub."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.content import change, folder
from tests.e2e.cutter import cutting
from tests.e2e.processes import HubProgram


def test_a_push_makes_a_release_with_its_labels_metrics_note_and_channel(hub: HubProgram, tmp_path: Path) -> None:
    origin = folder(tmp_path / "origin")
    done = hub.ctl.json(
        *("push", str(origin), "push/full", "--channel", "canary"),
        *("--label", "arch=arm64", "--metric", "accuracy=0.93", "--note", "first night"),
    )
    assert (done["number"], done["created"], done["channel"], done["files"]) == (1, True, "canary", 3)
    assert done["bytes_had"] == 0
    assert done["bytes_wire"] >= 2_000_000
    shown = hub.ctl.json("show", "push/full@canary")
    assert shown["labels"] == {"arch": "arm64"}
    assert shown["metrics"] == {"accuracy": 0.93}
    assert shown["note"] == "first night"
    assert shown["producer"] == "admin/admin"


def test_an_update_sends_only_what_changed(hub: HubProgram, tmp_path: Path) -> None:
    origin = folder(tmp_path / "origin", size=8_000_000)
    first = hub.ctl.json("push", str(origin), "push/update")
    second = hub.ctl.json("push", str(change(origin)), "push/update")
    assert second["number"] == 2
    assert second["bytes"] == first["bytes"]
    assert second["bytes"] - second["bytes_had"] <= 2 << 20
    assert second["bytes_wire"] < first["bytes_wire"] / 3


def test_the_same_content_again_makes_no_release_and_moves_the_channel(hub: HubProgram, tmp_path: Path) -> None:
    origin = folder(tmp_path / "origin", seed=7)
    hub.ctl.json("push", str(origin), "push/same")
    again = hub.ctl.json("push", str(origin), "push/same", "--channel", "stable")
    assert (again["number"], again["created"], again["bytes_wire"]) == (1, False, 0)
    assert hub.ctl.json("show", "push/same@stable")["number"] == 1


def test_a_person_is_told_what_came_of_it_and_what_to_type_next(hub: HubProgram, tmp_path: Path) -> None:
    origin = folder(tmp_path / "origin", seed=8)
    told = hub.ctl.text("push", str(origin), "push/told")
    assert "Published push/told:1: 3 files, 1.9 MiB; none of it was there" in told
    assert "Next: modelsyncctl promote push/told:1 stable" in told


def test_two_pushes_at_once_get_two_numbers(hub: HubProgram, tmp_path: Path) -> None:
    async def both() -> list[int]:
        async def one(seed: int) -> int:
            origin = folder(tmp_path / f"origin{seed}", seed=seed)
            process = await asyncio.create_subprocess_exec(
                *hub.ctl.command("push", str(origin), "push/race", "--json"), stdout=asyncio.subprocess.PIPE
            )
            out, _ = await process.communicate()
            return int(json.loads(out)["number"])

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(seed)) for seed in (20, 21, 22)]
        return sorted(task.result() for task in tasks)

    assert asyncio.run(both()) == [1, 2, 3]


async def test_a_push_over_a_link_that_breaks_goes_on_by_itself_and_sends_nothing_twice(
    hub: HubProgram, tmp_path: Path
) -> None:
    origin = folder(tmp_path / "origin", seed=9, size=12_000_000)
    async with cutting(hub.address, [4_000_000, 4_000_000]) as link:
        ctl = replace(hub.ctl, environment={"MODELSYNCD_HUB": link.address})
        done = await asyncio.to_thread(ctl.run, "push", str(origin), "push/cut", "--json")
        assert done.returncode == 0, done.stderr
        assert link.cut == 2
    pushed = json.loads(done.stdout)
    assert (pushed["number"], pushed["created"]) == (1, True)
    assert pushed["bytes_had"] == 0
    in_flight = 2 * (4 << 20)  # two cuts cost what was on its way each time
    assert pushed["bytes_wire"] < pushed["bytes"] + in_flight


async def test_a_push_says_that_the_link_broke_and_ends_with_no_retry(hub: HubProgram, tmp_path: Path) -> None:
    origin = folder(tmp_path / "origin", seed=10, size=6_000_000)
    async with cutting(hub.address, [3_000_000]) as link:
        ctl = replace(hub.ctl, environment={"MODELSYNCD_HUB": link.address})
        ended = await asyncio.to_thread(ctl.error, 6, "push", str(origin), "push/once", "--no-retry")
        assert ended["retryable"] is True
        assert "kept" in ended["safe"]
        done = await asyncio.to_thread(ctl.run, "push", str(origin), "push/once")
    assert "was there already" in done.stdout


def test_what_is_wrong_with_the_folder_is_told_before_anything_is_sent(hub: HubProgram, tmp_path: Path) -> None:
    origin = folder(tmp_path / "origin")
    (origin / "outside").symlink_to("/etc/hostname")
    error = hub.ctl.error(2, "push", str(origin), "push/hostile")
    assert error["code"] == "hostile-path"
    assert hub.ctl.error(3, "show", "push/hostile")["code"] == "not-found"


def test_a_folder_that_is_not_there_is_not_found(hub: HubProgram, tmp_path: Path) -> None:
    assert hub.ctl.error(3, "push", str(tmp_path / "nothing"), "push/nothing")["code"] == "not-found"


def test_a_hub_that_does_not_answer_is_told_at_once(hub: HubProgram, tmp_path: Path) -> None:
    error = hub.ctl.error(6, "--hub", "127.0.0.1:9", "push", str(folder(tmp_path / "origin")), "push/away")
    assert "127.0.0.1:9" in error["message"]


@pytest.mark.slow
async def test_ctrl_c_ends_a_push_with_a_word_on_what_is_safe(hub: HubProgram, tmp_path: Path) -> None:
    origin = folder(tmp_path / "origin", seed=11, size=6_000_000)
    async with cutting(hub.address, [2_000_000, 0, 0, 0, 0, 0, 0, 0]) as link:
        process = await asyncio.create_subprocess_exec(
            *hub.ctl.command("push", str(origin), "push/stopped"),
            stderr=asyncio.subprocess.PIPE,
            env=os.environ | {"MODELSYNCD_HUB": link.address},
        )
        assert process.stderr is not None
        async with asyncio.timeout(30):
            while "trying again" not in (await process.stderr.readline()).decode():
                pass
            process.send_signal(2)
            _, err = await process.communicate()
    assert process.returncode == 130, err.decode()
    assert b"the same command goes on from it" in err

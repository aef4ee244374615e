"""The folders of a job of Sedna follow what is active: file, name and word, in that order, over restarts."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.sedna.settings import JobSettings
from modelsyncd.store import durable
from modelsyncd.store.version import Version
from tests.fakes.memory_disk import memory_disk
from tests.fakes.sedna_job import HotUpdate
from tests.fakes.sedna_node import CANDIDATE, Node


def word(node: Node, folder: Path | None = None) -> str:
    path = (folder or node.folder) / "model_config.json"
    if not path.exists():
        return ""
    return str(json.loads(path.read_text())["model_config"]["model_update_time"])


def _device(path: Path) -> int:
    return path.stat().st_dev


def _content(path: str) -> bytes:
    return Path(path).read_bytes()


def shows(node: Node, version: Version, suffix: str = "") -> bool:
    return word(node) == version.folder_name + suffix


def worker(node: Node, folder: Path | None = None) -> tuple[HotUpdate, list[bytes]]:
    loaded: list[bytes] = []
    folder = folder or node.folder
    thread = HotUpdate(
        folder / "model_config.json", folder, lambda path: loaded.append(path.read_bytes()), lambda _status: None
    )
    return thread, loaded


async def test_a_job_finds_the_active_version_and_each_one_after_it(tmp_path: Path) -> None:
    node = Node(tmp_path)
    one, two = node.channels.put(1), node.channels.put(2)
    node.channels.switch(one)
    async with node.live():
        await node.until(lambda: shows(node, one))
        thread, loaded = worker(node)
        thread.poll()
        node.channels.switch(two)
        await node.until(lambda: shows(node, two))
        thread.poll()
        thread.poll()
    assert loaded == [b"1", b"2"]
    assert (node.folder / "model.pth").read_bytes() == b"2"
    assert thread.copied == 3 * (node.folder / "model_config.json").stat().st_size  # and no byte of a model


async def test_links_go_along_when_the_agents_folder_is_mounted_elsewhere(tmp_path: Path) -> None:
    node = Node(tmp_path / "data")
    one = node.channels.put(1)
    node.channels.switch(one)
    async with node.live():
        await node.until(lambda: shows(node, one))
    (tmp_path / "data").rename(tmp_path / "moved")
    assert (tmp_path / "moved/sedna/default/helmet/model.pth").read_bytes() == b"1"


async def test_a_job_that_sees_one_folder_only_gets_second_names(tmp_path: Path) -> None:
    hot = tmp_path / "hot"
    node = Node(tmp_path / "data", JobSettings("acme/helmet", folders=(f"{hot}=/model-hot-update",)))
    one, two = node.channels.put(1), node.channels.put(2)
    for version in (one, two):
        node.channels.switch(version)
        async with node.live():
            await node.until(lambda version=version: shows(node, version))  # type: ignore[misc]
        versioned = f"model.{version.folder_name}"
        said = json.loads((hot / "model_config.json").read_text())
        assert said["model_config"]["model_path"] == f"/model-hot-update/{versioned}"
        for name in (versioned, "model.pth"):
            assert (hot / name).samefile(node.channels.folder(version) / "model.pth")
            assert not (hot / name).is_symlink()


def _refuse(*_: object, **__: object) -> None:
    raise PermissionError(1, "Operation not permitted")


async def test_where_second_names_can_not_be_had_there_are_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hot = tmp_path / "hot"
    node = Node(tmp_path / "data", JobSettings("acme/helmet", folders=(f"{hot}=/model-hot-update",)))

    monkeypatch.setattr(os, "link", _refuse)
    one, two = node.channels.put(1), node.channels.put(2)
    node.channels.switch(one)
    async with node.live():
        await node.until(lambda: shows(node, one))
        node.channels.switch(two)
        await node.until(lambda: shows(node, two))
    assert (hot / "model.pth").read_bytes() == b"2"
    assert not (hot / "model.pth").samefile(node.channels.folder(two) / "model.pth")


@pytest.mark.parametrize("there", ["a link", "another file of its size"])
async def test_what_only_looks_like_a_copy_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str
) -> None:
    hot = tmp_path / "hot"
    node = Node(tmp_path / "data", JobSettings("acme/helmet", folders=(f"{hot}=/model-hot-update",)))
    monkeypatch.setattr(os, "link", _refuse)
    one = node.channels.put(1)
    node.channels.switch(one)
    async with node.live():
        await node.until(lambda: shows(node, one))
    (copy := hot / f"model.{one.folder_name}").unlink()
    if there == "a link":
        (tmp_path / "other").write_bytes(b"x")
        copy.symlink_to(tmp_path / "other")
    else:
        copy.write_bytes(b"x")
        os.utime(copy, (1e9, 1e9))
    async with node.live():
        await node.until(lambda: not copy.is_symlink() and copy.read_bytes() == b"1")
        inode = copy.stat().st_ino
        node.channels.switch(one)
        await node.until(lambda: shows(node, one))
    assert copy.stat().st_ino == inode, "what is there already was copied again"


async def test_a_folder_on_another_file_system_gets_copies(tmp_path: Path) -> None:
    with memory_disk() as elsewhere:
        if _device(elsewhere) == _device(tmp_path):
            pytest.skip("there is one file system here")
        hot = elsewhere / "hot"
        node = Node(tmp_path / "data", JobSettings("acme/helmet", folders=(f"{hot}=/model-hot-update",)))
        one, two = node.channels.put(1), node.channels.put(2)
        for version, content in ((one, b"1"), (two, b"2")):
            node.channels.switch(version)
            async with node.live():
                await node.until(lambda version=version: shows(node, version))  # type: ignore[misc]
            for name in (f"model.{version.folder_name}", "model.pth"):
                assert not (hot / name).is_symlink()
                assert (hot / name).read_bytes() == content


async def test_a_mended_file_is_shown_in_the_place_of_the_damaged_one(tmp_path: Path) -> None:
    hot = tmp_path / "hot"
    node = Node(tmp_path / "data", JobSettings("acme/helmet", folders=(f"{hot}=/model-hot-update",)))
    one = node.channels.put(1)
    node.channels.switch(one)
    async with node.live():
        await node.until(lambda: shows(node, one))
        durable.write_file(node.channels.folder(one) / "model.pth", b"mended")
        node.channels.switch(one)
        await node.until(lambda: (hot / "model.pth").read_bytes() == b"mended")
    assert (hot / f"model.{one.folder_name}").read_bytes() == b"mended"


async def test_a_version_that_could_not_be_loaded_gets_a_new_word_when_it_is_tried_again(tmp_path: Path) -> None:
    node = Node(tmp_path)
    one = node.channels.put(1)
    node.channels.switch(one)
    async with node.live():
        await node.until(lambda: shows(node, one))
        for suffix in ("", "-r2"):
            node.keeper._failures.add("default/helmet", one.folder_name + suffix)
            changed = node.keeper.changed
            node.keeper._kicked.set()
            await changed.wait()
            assert shows(node, one, suffix)  # not by itself: the worker would try for ever
            node.keeper.again()
            await node.until(lambda suffix=suffix: not shows(node, one, suffix))  # type: ignore[misc]
    async with node.live():
        await node.until(lambda: node.keeper.words("default/helmet").last)
        assert shows(node, one, "-r3")
        thread, loaded = worker(node)
        thread.poll()
        assert loaded == [b"1"]
        node.channels.switch(one)
        changed = node.keeper.changed
        await changed.wait()
        assert shows(node, one, "-r3")  # nothing failed since


async def test_what_changed_while_no_agent_ran_is_shown_at_the_next_start(tmp_path: Path) -> None:
    node = Node(tmp_path)
    one, two = node.channels.put(1), node.channels.put(2)
    node.channels.switch(one)
    async with node.live():
        await node.until(lambda: shows(node, one))
    node.channels.switch(two)
    async with node.live():
        await node.until(lambda: shows(node, two))


async def test_old_files_stay_for_a_while_and_their_versions_are_held_as_long(tmp_path: Path) -> None:
    node = Node(tmp_path, JobSettings("acme/helmet", grace_seconds=100))
    one, two = node.channels.put(1), node.channels.put(2)
    old = node.folder / f"model.{one.folder_name}"
    node.channels.switch(one)
    async with node.live():
        await node.until(lambda: shows(node, one))
        node.channels.switch(two)
        await node.until(lambda: shows(node, two) and node.keeper._kept["default/helmet"].unnamed)
        node.time = 99.0
        node.keeper.again()
        changed = node.keeper.changed
        await changed.wait()
        assert old.exists()
        assert node.leases.held() == {one, two}
        node.time = 100.0
        node.keeper.again()
        await node.until(lambda: node.leases.held() == {two})
        assert not old.is_symlink()
        assert (node.folder / f"model.{two.folder_name}").exists()


@pytest.mark.parametrize("mounted", [False, True])
async def test_the_two_models_to_evaluate_are_named_by_files_that_never_change(tmp_path: Path, mounted: bool) -> None:
    hot = tmp_path / "hot"
    node = Node(tmp_path, JobSettings("acme/helmet", folders=(f"{hot}=/models",) if mounted else ()))
    one, two = node.channels.put(1), node.channels.put(2)
    node.channels.switch(one)
    node.channels.switch(two, CANDIDATE)
    async with node.live():
        await node.until((node.folder / "candidate/evaluate.env").exists)
    line = (node.folder / "candidate/evaluate.env").read_text()
    urls = line.removeprefix("MODEL_URLS='").removesuffix("'\n").split(";")
    if mounted:
        assert urls == [f"/models/candidate/model.{two.folder_name}", f"/models/model.{one.folder_name}"]
    else:
        assert urls == [str(node.channels.folder(version) / "model.pth") for version in (two, one)]
    assert [_content(url.replace("/models/", f"{hot}/") if mounted else url) for url in urls] == [b"2", b"1"]
    assert (node.folder / "candidate/model.pth").read_bytes() == b"2"


async def test_one_file_of_many_is_the_model_when_the_settings_say_which(tmp_path: Path) -> None:
    node = Node(tmp_path, JobSettings("acme/helmet", file="saved.pb"))
    one = node.channels.put(1, saved__pb=b"graph", labels__txt=b"cat")
    node.channels.switch(one)
    async with node.live():
        await node.until(lambda: shows(node, one))
    assert (node.folder / "model.pb").read_bytes() == b"graph"
    assert node.channels.said == []


@pytest.mark.parametrize("file", ["", "other.pb"])
async def test_a_version_without_the_models_file_does_not_work_and_workers_keep_what_they_have(
    tmp_path: Path, file: str
) -> None:
    node = Node(tmp_path)
    one, two = node.channels.put(1), node.channels.put(2, saved__pb=b"graph", labels__txt=b"cat")
    node.channels.switch(one)
    async with node.live():
        await node.until(lambda: shows(node, one))
    node.settings = replace(node.settings, file=file)
    node.channels.switch(two)
    async with node.live():
        await node.until(lambda: node.channels.said)
    assert node.channels.said == [("acme/helmet@stable", 2, False)]
    assert shows(node, one)


async def test_what_workers_leave_in_their_tmpdir_is_removed_and_nothing_else(tmp_path: Path) -> None:
    node = Node(tmp_path, JobSettings("acme/helmet", shared=True))
    one, two = node.channels.put(1), node.channels.put(2)
    node.channels.switch(one)
    async with node.live():
        await node.until(lambda: shows(node, one))
        assert node.folder.stat().st_mode & 0o7777 == 0o1777
        for _ in range(3):
            worker(node)[0].poll()
        left = [path for path in node.folder.iterdir() if path.name.startswith("tmp")]
        assert len(left) == 3
        others = [node.folder / name for name in ("tmpabcdefgh", "tmp12345678", "notes")]
        others[0].write_bytes(b"{}")
        others[1].write_bytes(left[0].read_bytes() + b"x" * 9_000)
        others[2].write_bytes(left[0].read_bytes())
        for path in (*left[:2], *others):
            os.utime(path, (1_000, 1_000))
        node.channels.switch(two)
        await node.until(lambda: not left[0].exists())
    assert [path.exists() for path in (*left, *others)] == [False, False, True, True, True, True]


async def test_a_link_that_a_job_put_in_the_place_of_the_config_is_not_followed(tmp_path: Path) -> None:
    node = Node(tmp_path)
    one, two = node.channels.put(1), node.channels.put(2)
    node.channels.switch(one)
    async with node.live():
        await node.until(lambda: shows(node, one))
        secret = tmp_path / "secret"
        secret.write_bytes(b"secret")
        (node.folder / "model_config.json").unlink()
        (node.folder / "model_config.json").symlink_to(secret)
        (node.folder / ".model_config.json.new").symlink_to(secret)
        node.channels.switch(two)
        await node.until(lambda: not (node.folder / "model_config.json").is_symlink())
    assert secret.read_bytes() == b"secret"
    assert shows(node, two)


async def test_a_folder_that_can_not_be_written_is_tried_again_later(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.write_bytes(b"in the way")
    node = Node(tmp_path / "data", JobSettings("acme/helmet", folders=(str(place / "x"),)))
    one = node.channels.put(1)
    node.channels.switch(one)
    async with node.live():
        changed = node.keeper.changed
        await changed.wait()
        place.unlink()
        node.time = 30.0
        node.keeper._kicked.set()
        await node.until(lambda: shows(node, one))


async def test_a_worker_that_started_before_there_was_a_model_is_not_in_the_way(tmp_path: Path) -> None:
    node = Node(tmp_path)
    (node.folder / "model.pth").mkdir(parents=True)
    one = node.channels.put(1)
    node.channels.switch(one)
    async with node.live():
        await node.until(lambda: shows(node, one))
    assert (node.folder / "model.pth").read_bytes() == b"1"

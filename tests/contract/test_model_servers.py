"""What model servers find in their folders: whole versions, the right one, and nothing taken away that is in use."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from edge_agent.layouts.folder import Shelf
from edge_agent.layouts.settings import LayoutSettings, Way
from modelsyncd.digest import digest_of
from modelsyncd.store import failpoints
from modelsyncd.store.failpoints import Point
from tests.fakes.laid_node import LaidNode
from tests.fakes.model_server import model_server

FILES = {"model.onnx": b"weights", "vocab/words.txt": b"one\ntwo\n"}


def laid_node(tmp_path: Path, server: str = "triton", **more: object) -> LaidNode:
    settings = LayoutSettings(server, tmp_path / "served", **({"grace_seconds": 0.0} | more))  # type: ignore[arg-type]
    return LaidNode(tmp_path / "node", settings)


async def test_a_version_is_shown_whole_under_its_number_without_taking_its_bytes_twice(tmp_path: Path) -> None:
    node = laid_node(tmp_path)
    async with node.live():
        version = node.switch(3, FILES)
        await node.until_shown(version)
        for path, content in FILES.items():
            assert (node.folder / "3" / path).read_bytes() == content
            assert (node.folder / "3" / path).samefile(node.store.tree.layout.version(version) / path)


@pytest.mark.parametrize("way", [Way.SYMLINK, Way.COPY])
async def test_files_get_there_the_way_that_was_chosen(tmp_path: Path, way: Way) -> None:
    node = laid_node(tmp_path, files=way.value)
    async with node.live():
        await node.until_shown(node.switch(1, FILES))
        shown = node.folder / "1/model.onnx"
        assert shown.read_bytes() == b"weights"
        assert shown.is_symlink() is (way is Way.SYMLINK)
        assert shown.stat().st_nlink == 1


async def test_where_no_second_name_can_be_had_there_is_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    node = laid_node(tmp_path)
    async with node.live():
        await node.until_shown(node.switch(1, FILES))
        assert (node.folder / "1/vocab/words.txt").read_bytes() == b"one\ntwo\n"


async def test_a_version_has_its_number_only_when_all_of_it_is_there(tmp_path: Path) -> None:
    node, seen = laid_node(tmp_path), []

    def look(_: Point) -> None:
        if (node.folder / "1").exists():
            seen.append(sorted(path.name for path in (node.folder / "1").rglob("*") if path.is_file()))

    async with node.live():
        failpoints.watch(look)
        try:
            await node.until_shown(node.switch(1, FILES))
        finally:
            failpoints.watch(None)
    assert seen
    assert {tuple(one) for one in seen} == {(".modelsyncd", "model.onnx", "words.txt")}


@pytest.mark.parametrize("server", ["triton", "tensorflow-serving"])
async def test_after_going_back_the_active_version_is_the_highest(tmp_path: Path, server: str) -> None:
    node = laid_node(tmp_path, server)
    async with node.live():
        for number in (1, 2, 1):
            await node.until_shown(node.switch(number))
        assert node.numbers == [1]


async def test_the_link_of_a_plain_folder_leads_to_what_is_active(tmp_path: Path) -> None:
    node = laid_node(tmp_path, "onnxruntime")
    async with node.live():
        for number in (1, 2, 1):
            version = node.switch(number)
            await node.until_shown(version)
            assert (node.folder / "current/model.onnx").read_bytes() == b"%d" % number


async def test_older_versions_stay_until_they_are_too_many_and_their_grace_is_over(tmp_path: Path) -> None:
    node = laid_node(tmp_path, keep=2, grace_seconds=60.0)
    async with node.live():
        for number in (1, 2, 3):
            await node.until_shown(node.switch(number))
        await node.until(lambda: node.spare == [1])
        assert node.numbers == [1, 2, 3]
        node.time = 61.0
        node.layouts.again()
        await node.until(lambda: node.numbers == [2, 3])


async def test_a_version_that_somebody_holds_stays(tmp_path: Path) -> None:
    node = laid_node(tmp_path, keep=1)
    async with node.live():
        first = node.switch(1)
        await node.until_shown(first)
        with node.store.leases.hold(first, "a job"):
            await node.until_shown(node.switch(2))
            await node.until(lambda: node.spare == [1])
            assert node.numbers == [1, 2]
        node.layouts.again()
        await node.until(lambda: node.numbers == [2])


async def test_what_lies_there_is_held_so_that_the_node_keeps_it(tmp_path: Path) -> None:
    node = laid_node(tmp_path, keep=2)
    async with node.live():
        versions = []
        for number in (1, 2, 3):
            versions.append(node.switch(number))
            await node.until_shown(versions[-1])
        await node.until(lambda: node.numbers == [2, 3])
        await node.until(lambda: node.store.leases.held() == set(versions[1:]))


async def test_a_file_that_was_mended_is_replaced(tmp_path: Path) -> None:
    node = laid_node(tmp_path)
    async with node.live():
        version = node.switch(1, FILES)
        await node.until_shown(version)
        path = node.store.tree.layout.version(version) / "model.onnx"
        path.with_name("mended").write_bytes(b"weights")
        path.with_name("mended").rename(path)
        assert not path.samefile(node.folder / "1/model.onnx")
        node.tell()
        await node.until(lambda: path.samefile(node.folder / "1/model.onnx"))


async def test_what_is_not_ours_is_not_touched_and_that_is_said(tmp_path: Path) -> None:
    node = laid_node(tmp_path)
    (node.folder / "1").mkdir(parents=True)
    (node.folder / "1/model.onnx").write_bytes(b"somebody's")
    async with node.live():
        node.switch(1)
        await node.until(lambda: "not put there by modelsyncd" in node.standing.why)
        assert (node.folder / "1/model.onnx").read_bytes() == b"somebody's"
        await node.until_shown(node.switch(2))
        assert node.numbers == [1, 2]


async def test_a_server_is_asked_once_for_each_switch_and_again_until_it_has_loaded(tmp_path: Path) -> None:
    async with model_server() as server:
        server.refuses = 1
        node = laid_node(tmp_path, reload=server.url)
        async with node.live():
            first = node.switch(1)
            await node.until(lambda: node.standing.why.endswith("answered 400: no such backend"))
            assert json.loads((node.data / "layouts.json").read_text())["acme/helmet@stable"]["loaded"] == ""
            await node.until_loaded(first)
            assert not node.standing.why
            await node.until_loaded(node.switch(2))
        assert server.asked == ["/v2/repository/models/helmet/load"] * 3


async def test_a_server_that_has_loaded_is_not_asked_again_by_the_agents_next_life(tmp_path: Path) -> None:
    async with model_server() as server:
        node = laid_node(tmp_path, reload=server.url)
        async with node.live():
            version = node.switch(1)
            await node.until_loaded(version)
        async with node.live():
            await node.until_loaded(version)
            await node.until_loaded(node.switch(2))
        assert len(server.asked) == 2


async def test_an_agent_that_ended_before_the_server_answered_asks_again(tmp_path: Path) -> None:
    async with model_server() as server:
        server.stuck = True
        node = laid_node(tmp_path, reload=server.url)
        async with node.live():
            version = node.switch(1)
            await node.until(lambda: server.asked or node.standing.shown)
        server.stuck = False
        async with node.live():
            await node.until_loaded(version)


async def test_older_versions_stay_while_the_server_has_not_loaded_the_new_one(tmp_path: Path) -> None:
    async with model_server() as server:
        node = laid_node(tmp_path, keep=1, reload=server.url)
        async with node.live():
            await node.until_loaded(node.switch(1))
            server.refuses = 1
            await node.until_shown(second := node.switch(2))
            assert node.numbers == [1, 2]
            await node.until_loaded(second)
            await node.until(lambda: node.numbers == [2])


async def test_going_back_does_not_wait_for_a_server_that_hangs(tmp_path: Path) -> None:
    async with model_server() as server:
        node = laid_node(tmp_path, reload=server.url)
        async with node.live():
            first = node.switch(1)
            await node.until_loaded(first)
            server.stuck = True
            await node.until_shown(node.switch(2))
            server.stuck = False
            async with asyncio.timeout(60):
                await node.until_loaded(node.switch(1))
        assert node.standing.loaded == first.folder_name


POINTS = [Point.FILE_WRITTEN, Point.FILE_RENAMED, Point.NAME_WAITS, Point.NAME_GIVEN, Point.TREE_DOOMED]


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("server", ["triton", "mlserver", "tensorflow-serving"])
async def test_whatever_a_kill_leaves_the_next_life_ends_with_what_is_active(
    tmp_path: Path, server: str, point: Point
) -> None:
    """A kill is an exception here that nothing of ours catches; what lies on the disk is the same."""

    class KilledError(BaseException):
        pass

    def kill(met: Point) -> None:
        if met is point and armed:
            armed.clear()
            raise KilledError

    more = {"implementation": "some.Runtime"} if server == "mlserver" else {}
    node, armed = laid_node(tmp_path, server, keep=1, **more), [True]
    async with node.live():
        await node.until_shown(node.switch(1, FILES))
    second = node._shown.put(2, FILES | {"more": b"2"}, "stable")
    failpoints.watch(kill)
    try:
        with pytest.RaisesGroup(KilledError, allow_unwrapped=True, flatten_subgroups=True):
            async with asyncio.timeout(60), node.live():
                await asyncio.Event().wait()
    finally:
        failpoints.watch(None)
    for number in node.numbers:
        expected = FILES if number == 1 else FILES | {"more": b"2"}
        assert all((node.folder / str(number) / path).read_bytes() == data for path, data in expected.items())
    async with node.live():
        await node.until_shown(second)
        await node.until(lambda: node.numbers == [2])
        assert not [path for path in node.folder.rglob(".*") if path.name != ".modelsyncd"]


def test_a_shelf_knows_its_own_after_a_restart(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a b").write_bytes(b"1")
    shelf = Shelf(tmp_path / "served", Way.AUTO)
    shelf.prepare()
    assert shelf.lay(7, digest_of(b"7"), source, ["a b"])
    again = Shelf(tmp_path / "served", Way.AUTO)
    assert not again.lay(7, digest_of(b"7"), source, ["a b"])
    assert {number: one.manifest for number, one in again.laid().items()} == {7: digest_of(b"7")}

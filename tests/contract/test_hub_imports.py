"""The hub fetches a model from a real web server, and only from where its settings allow."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from cloud_hub import imports
from cloud_hub.imports import check_allowed
from modelsyncd.errors import (
    BadInputError,
    DamageError,
    LimitError,
    LockedError,
    NotFoundError,
    RefusedError,
    RoadError,
)
from modelsyncd.link.channel import open_channel
from modelsyncd.store.blobs import Blob
from modelsyncd.wire.nouns import decode_release
from modelsyncd.wire.status import translated
from modelsyncd.wire.v1 import catalog_pb2
from modelsyncd.wire.v1 import imports_pb2 as pb
from modelsyncd.wire.v1.imports_pb2_grpc import ImportServiceStub
from tests.fakes.hub import Hub, running_hub
from tests.fakes.ranged_server import RangedServer, ranged_server

CONTENT = Random(3).randbytes(700_000)


@asynccontextmanager
async def hub_with(folder: Path, *allowed: str) -> AsyncIterator[Hub]:
    async with running_hub(folder, imports=allowed) as hub:
        yield hub


async def bring(hub: Hub, url: str, **more: object) -> Sequence[pb.ImportResponse]:
    async with open_channel(hub.address, hub.admin()) as channel:
        with translated(hub.address):
            request = pb.ImportRequest(url=url, model="acme/helmet", **more)  # type: ignore[arg-type]
            return [answer async for answer in ImportServiceStub(channel).Import(request)]


def contents_asked(server: RangedServer) -> list[int]:
    """Where each answer began that brought content; a question about the size asks for the first byte."""
    return [first for _, first, last in server.asked if last > 0]


async def test_a_file_becomes_a_release_with_its_origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "PIECE", 100_000)
    with ranged_server({"/models/helmet.bin": CONTENT}) as server:
        async with hub_with(tmp_path, f"{server.address}/models") as hub:
            url = f"{server.address}/models/helmet.bin"
            more = {"labels": {"site": "oslo"}, "licence": "apache-2.0", "datasets": ["helmets", "vests"]}
            *steps, last = await bring(hub, url, channel="candidate", **more)
            assert [one.bytes for one in steps][-1] == steps[0].bytes_total == len(CONTENT)
            assert len(steps) >= 7
            assert (last.done.number, last.done.created, last.done.files) == (1, True, 1)
            (*_, again) = await bring(hub, url)
            assert (again.done.number, again.done.created) == (1, False)
            async with hub.catalog() as catalog:
                view = (await catalog.GetRelease(catalog_pb2.GetReleaseRequest(ref="acme/helmet@candidate"))).release
            release = decode_release(view.signed.release)
            assert release.labels == {"site": "oslo", "imported-from": url}
            assert (release.licence, release.datasets) == ("apache-2.0", ("helmets", "vests"))
            assert release.producer == "admin/tester"
            with pytest.raises(LimitError, match="licence"):
                await bring(hub, url, licence="x" * 1_000)
            assert not list((tmp_path / "imports").rglob("*.bin"))


async def test_what_was_fetched_before_a_failure_is_not_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "PIECE", 100_000)
    with ranged_server({"/m.bin": CONTENT}) as server:
        server.cut_after = 350_000
        async with hub_with(tmp_path, server.address) as hub:
            with pytest.raises(RoadError):
                await bring(hub, f"{server.address}/m.bin")
            server.cut_after = 1 << 60
            await bring(hub, f"{server.address}/m.bin")
    assert contents_asked(server) == [0, 300_000], "what follows comes in one answer, and whole pieces are kept"


async def test_nothing_is_fetched_from_where_no_setting_allows(tmp_path: Path) -> None:
    with ranged_server({"/secret": b"x", "/models/m": b"y"}) as server:
        async with hub_with(tmp_path, f"{server.address}/models") as hub:
            for url in (f"{server.address}/secret", f"{server.address}/models-of-others/m", "file:///etc/passwd"):
                with pytest.raises(RefusedError, match="fetches nothing"):
                    await bring(hub, url)
            with pytest.raises(BadInputError, match=r"no \.\."):
                await bring(hub, f"{server.address}/models/../secret")
            with pytest.raises(NotFoundError):
                await bring(hub, f"{server.address}/models/none")
            with pytest.raises(BadInputError, match="can't be listed"):
                await bring(hub, f"{server.address}/models/")
    assert server.asked == []


@pytest.mark.parametrize(
    ("url", "allowed", "fits"),
    [
        ("s3://models/helmet/7/", ["s3://models/"], True),
        ("s3://models/helmet/7/", ["s3://models"], True),
        ("s3://models-of-others/x", ["s3://models"], False),
        ("https://host/x", [], False),
        ("https://host/x", [""], False),
        ("https://host.evil/x", ["https://host"], False),
        ("https://host@evil/x", ["https://host@evil"], False),
        ("https://host/x?y", ["https://host"], False),
        ("https://host/a/%2e%2e/x", ["https://host/a"], False),
        ("https://host/a/.%2E/x", ["https://host/a"], False),
        ("https://host/a/%2e%2e%2fx", ["https://host/a"], False),
        ("https://host/a/..\\x", ["https://host/a"], False),
        ("https://host/a/..%5Cx", ["https://host/a"], False),
        ("https://host/a/b%20c", ["https://host/a"], True),
    ],
)
def test_a_url_is_allowed_by_whole_parts_of_its_beginning(url: str, allowed: list[str], fits: bool) -> None:
    if fits:
        check_allowed(url, allowed)
        return
    with pytest.raises((RefusedError, BadInputError)):
        check_allowed(url, allowed)


def test_a_server_says_what_it_has(tmp_path: Path) -> None:
    with ranged_server({"/m.bin": CONTENT}) as server:
        fetching = imports.Fetching(f"{server.address}/m.bin", tmp_path, [])
        origin, found = fetching.look()
        assert [(name, one.size) for name, one in found.items()] == [("m.bin", len(CONTENT))]
        assert list(fetching.fetch(origin, found))[-1] == (len(CONTENT), len(CONTENT))
        assert (fetching.files / "m.bin").read_bytes() == CONTENT
        assert list(fetching.fetch(origin, found)) == [(len(CONTENT), len(CONTENT))]
        origin.close()
    assert isinstance(server, RangedServer)


async def test_what_was_fetched_of_an_earlier_state_is_fetched_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "PIECE", 100_000)
    with ranged_server({"/m.bin": CONTENT}) as server:
        server.cut_after = 350_000
        async with hub_with(tmp_path, server.address) as hub:
            with pytest.raises(RoadError):
                await bring(hub, f"{server.address}/m.bin")
            server.files, server.cut_after = {"/m.bin": bytes(reversed(CONTENT))}, 1 << 60
            await bring(hub, f"{server.address}/m.bin")
    assert contents_asked(server) == [0, 0]


async def test_what_changes_while_it_is_fetched_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ranged_server({"/m.bin": CONTENT}) as server:
        really = imports.Fetching.fetch

        def fetch(
            self: imports.Fetching, origin: imports.Origin, found: Mapping[str, Blob]
        ) -> Iterator[tuple[int, int]]:
            yield from really(self, origin, found)
            server.files = {"/m.bin": bytes(reversed(CONTENT))}

        monkeypatch.setattr(imports.Fetching, "fetch", fetch)
        async with hub_with(tmp_path, server.address) as hub:
            with pytest.raises(DamageError, match="changed while it was fetched"):
                await bring(hub, f"{server.address}/m.bin")
            assert hub.stores.catalog.models.list() == []


def test_files_that_are_gone_where_they_came_from_are_gone_here(tmp_path: Path) -> None:
    with ranged_server({"/m.bin": CONTENT}) as server:
        fetching = imports.Fetching(f"{server.address}/m.bin", tmp_path, [])
        origin, found = fetching.look()
        fetching.files.mkdir(parents=True)
        (fetching.files / "gone.bin").write_bytes(b"of an earlier state")
        list(fetching.fetch(origin, found))
        assert [path.name for path in fetching.files.iterdir()] == ["m.bin"]
        origin.close()


async def test_an_import_that_is_cut_at_its_beginning_leaves_nothing_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking, go = threading.Event(), threading.Event()
    really = imports.Fetching.look

    def look(self: imports.Fetching) -> tuple[imports.Origin, dict[str, Blob]]:
        looking.set()
        go.wait(60)
        return really(self)

    with ranged_server({"/m.bin": CONTENT}) as server:
        async with hub_with(tmp_path, server.address) as hub:
            with monkeypatch.context() as slow:
                slow.setattr(imports.Fetching, "look", look)
                async with open_channel(hub.address, hub.admin()) as channel:
                    request = pb.ImportRequest(url=f"{server.address}/m.bin", model="acme/helmet")
                    call = ImportServiceStub(channel).Import(request)
                    async with asyncio.TaskGroup() as group:
                        reading = group.create_task(call.read())
                        await asyncio.to_thread(looking.wait, 60)
                        with pytest.raises(LockedError):
                            await bring(hub, f"{server.address}/m.bin")
                        reading.cancel()
                go.set()
            async with asyncio.timeout(60):
                while True:
                    try:
                        (*_, last) = await bring(hub, f"{server.address}/m.bin")
                        break
                    except LockedError:
                        await asyncio.sleep(0.02)
            assert last.done.created


async def test_what_nobody_goes_on_with_for_a_week_is_forgotten(tmp_path: Path) -> None:
    with ranged_server({"/old.bin": CONTENT, "/young.bin": CONTENT, "/m.bin": CONTENT}) as server:
        urls = {name: f"{server.address}/{name}.bin" for name in ("old", "young", "m")}
        old, young, _ = (imports.Fetching(url, tmp_path / "imports", []).folder for url in urls.values())
        async with hub_with(tmp_path, server.address) as hub:
            for name in ("old", "young"):
                server.cut_after = 50_000
                with pytest.raises(RoadError):
                    await bring(hub, urls[name])
            server.cut_after = 1 << 60
            for path in (old, *old.rglob("*")):
                os.utime(path, (0, time.time() - imports.ABANDONED - 60))
            assert imports.forget_abandoned(tmp_path / "imports", time.time(), [urls["old"]]) == 0, "it is under way"
            await bring(hub, urls["m"])
        assert not old.exists()
        assert young.exists()

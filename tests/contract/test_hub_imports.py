"""The hub fetches a model from a real web server, and only from where its settings allow."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from cloud_hub import imports
from cloud_hub.imports import check_allowed
from modelsyncd.errors import BadInputError, ModelsyncError, NotFoundError, RefusedError
from modelsyncd.link.channel import open_channel
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


async def test_a_file_becomes_a_release_with_its_origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "PIECE", 100_000)
    with ranged_server({"/models/helmet.bin": CONTENT}) as server:
        async with hub_with(tmp_path, f"{server.address}/models") as hub:
            url = f"{server.address}/models/helmet.bin"
            *steps, last = await bring(hub, url, channel="candidate", labels={"site": "oslo"})
            assert [one.bytes for one in steps][-1] == steps[0].bytes_total == len(CONTENT)
            assert len(steps) >= 7
            assert (last.done.number, last.done.created, last.done.files) == (1, True, 1)
            (*_, again) = await bring(hub, url)
            assert (again.done.number, again.done.created) == (1, False)
            async with hub.catalog() as catalog:
                view = (await catalog.GetRelease(catalog_pb2.GetReleaseRequest(ref="acme/helmet@candidate"))).release
            release = decode_release(view.signed.release)
            assert release.labels == {"site": "oslo", "imported-from": url}
            assert release.producer == "admin/tester"
            assert not list((tmp_path / "imports").rglob("*.bin"))


async def test_what_was_fetched_before_a_failure_is_not_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "PIECE", 100_000)
    with ranged_server({"/m.bin": CONTENT}) as server:
        server.fail_after = 3
        async with hub_with(tmp_path, server.address) as hub:
            with pytest.raises(ModelsyncError):
                await bring(hub, f"{server.address}/m.bin")
            server.fail_after = 1_000
            await bring(hub, f"{server.address}/m.bin")
    firsts = [first for _, first, _ in server.asked]
    assert firsts == list(range(0, len(CONTENT), 100_000)), "each piece once"


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
        fetching = imports.Fetching(f"{server.address}/m.bin", tmp_path)
        origin, found = fetching.look()
        assert [(name, one.size) for name, one in found.items()] == [("m.bin", len(CONTENT))]
        assert list(fetching.fetch(origin, found))[-1] == (len(CONTENT), len(CONTENT))
        assert (fetching.files / "m.bin").read_bytes() == CONTENT
        assert list(fetching.fetch(origin, found)) == [(len(CONTENT), len(CONTENT))]
        origin.close()
    assert isinstance(server, RangedServer)

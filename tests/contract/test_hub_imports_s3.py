"""The hub fetches a model from a store that speaks S3, with the credentials of its environment."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from cloud_hub import imports
from modelsyncd.errors import BadInputError, DamageError, NotFoundError, RefusedError
from modelsyncd.wire.nouns import decode_release
from modelsyncd.wire.v1 import catalog_pb2
from tests.contract.test_hub_imports import bring, hub_with
from tests.fakes.hub import Hub
from tests.fakes.s3_server import S3Server, s3_server
from tests.fakes.s3_signing import SECRET

PIECE = 100_000
CONTENT = Random(5).randbytes(7 * PIECE)
OTHER = bytes(reversed(CONTENT))
FILES = {
    "empty": b"",
    "model.bin": CONTENT,
    "tokens/50% & more+.txt": b"of words\n" * 5_000,
    "tokens/deep/er/x": b"x",
    "tokens/ünïcode.json": b"{}",
}


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    monkeypatch.setattr(imports, "PIECE", PIECE)
    with s3_server() as server:
        yield server


async def files_of(hub: Hub, number: int = 1) -> dict[str, bytes]:
    """What the hub gives of a release, by path."""
    async with hub.catalog() as catalog:
        view = (await catalog.GetRelease(catalog_pb2.GetReleaseRequest(ref=f"acme/helmet:{number}"))).release
    (variant,) = decode_release(view.signed.release).variants
    content = await asyncio.to_thread(hub.stores.contents.get, variant.manifest)

    def read(at: int, size: int) -> bytes:
        return bytes(content.read(at, 0, size)) if size else b""

    files = content.manifest.files
    return {file.path: await asyncio.to_thread(read, at, file.size) for at, file in enumerate(files)}


def pieces(*starts: int) -> list[str]:
    return [f"bytes={start}-{start + PIECE - 1}" for start in starts]


async def test_a_file_becomes_a_release_of_the_same_bytes(s3: S3Server, tmp_path: Path) -> None:
    s3.put("helmet/7/model.bin", CONTENT)
    s3.put("helmet/7/model.bin.old", OTHER)
    async with hub_with(tmp_path, "s3://models/helmet") as hub:
        *steps, last = await bring(hub, "s3://models/helmet/7/model.bin")
        assert [one.bytes for one in steps][-1] == steps[0].bytes_total == len(CONTENT)
        assert (last.done.number, last.done.created, last.done.files) == (1, True, 1)
        assert await files_of(hub) == {"model.bin": CONTENT}
    assert s3.ranges("helmet/7/model.bin") == pieces(*range(0, len(CONTENT), PIECE))
    assert {one.status for one in s3.asked} == {200, 206}, "all that was asked for was signed"


async def test_a_folder_of_more_than_one_page_becomes_a_release_of_the_same_files(s3: S3Server, tmp_path: Path) -> None:
    for name, content in FILES.items():
        s3.put(f"helmet/7/{name}", content)
    for mark in ("helmet/7/", "helmet/7/tokens/"):
        s3.put(mark, b"")
    for beside in ("helmet/70/model.bin", "helmet/7.txt", "helmet/8/model.bin"):
        s3.put(beside, b"another's")
    async with hub_with(tmp_path, "s3://models/") as hub:
        (*_, last) = await bring(hub, "s3://models/helmet/7/")
        assert (last.done.files, last.done.bytes) == (len(FILES), sum(map(len, FILES.values())))
        assert await files_of(hub) == FILES
    lists = [one.query.get("continuation-token") for one in s3.asked if "list-type" in one.query]
    assert len(lists) == 2 * 4, "seven keys of two a page, looked at before and after"
    assert lists.count(None) == 2


@pytest.mark.parametrize("url", ["s3://models/helmet/7/model.bin", "s3://models/helmet/7/"])
@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
async def test_wrong_credentials_are_refused_with_nothing_published_and_no_secret_told(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, url: str
) -> None:
    s3.put("helmet/7/model.bin", CONTENT)
    monkeypatch.setenv(name, "of-somebody-else")
    async with hub_with(tmp_path, "s3://models/") as hub:
        with pytest.raises(RefusedError, match="the blob store refuses") as refused:
            await bring(hub, url)
        assert hub.stores.catalog.models.list() == []
    told = refused.value.message + refused.value.hint + refused.value.safe
    assert "credentials" in refused.value.hint
    assert "of-somebody-else" not in told
    assert SECRET not in told
    assert [one.status for one in s3.asked] == [403]


async def test_what_is_not_there_is_not_found(s3: S3Server, tmp_path: Path) -> None:
    s3.put("helmet/7/model.bin", CONTENT)
    async with hub_with(tmp_path, "s3://models/", "s3://others/") as hub:
        with pytest.raises(NotFoundError, match=r"there is no blob none\.bin"):
            await bring(hub, "s3://models/helmet/7/none.bin")
        with pytest.raises(BadInputError, match="there is nothing at s3://models/helmet/6/"):
            await bring(hub, "s3://models/helmet/6/")
        with pytest.raises(NotFoundError):
            await bring(hub, "s3://others/model.bin")
        assert hub.stores.catalog.models.list() == []


async def test_nothing_is_asked_of_a_store_that_no_setting_allows(s3: S3Server, tmp_path: Path) -> None:
    s3.put("secret.bin", CONTENT)
    async with hub_with(tmp_path, "s3://models/helmet/") as hub:
        for url in ("s3://models/secret.bin", "s3://models/helmets/", "s3://models-of-others/helmet/", "s3://models/"):
            with pytest.raises(RefusedError, match="fetches nothing"):
                await bring(hub, url)
        for url in ("s3://models/helmet/../secret.bin", "s3://key:word@models/helmet/", "s3://models/helmet/x?y"):
            with pytest.raises(BadInputError, match=r"no \.\."):
                await bring(hub, url)
        assert s3.asked == []
        s3.put("helmet/model.bin", CONTENT)
        await bring(hub, "s3://models/helmet/")
    assert s3.asked != [], "the same hub asks for what is allowed"


async def test_an_object_that_changes_while_it_is_fetched_is_not_published(s3: S3Server, tmp_path: Path) -> None:
    s3.put("model.bin", CONTENT)

    def change(method: str, key: str) -> None:
        if len(s3.ranges("model.bin")) == 3:
            s3.put("model.bin", OTHER)

    s3.meanwhile = change
    async with hub_with(tmp_path, "s3://models/") as hub:
        with pytest.raises(DamageError, match="changed while it was fetched"):
            await bring(hub, "s3://models/model.bin")
        assert hub.stores.catalog.models.list() == []
        await bring(hub, "s3://models/model.bin")
        assert await files_of(hub) == {"model.bin": OTHER}, "one version, and nothing of the other"


async def test_a_file_that_comes_or_goes_while_a_folder_is_fetched_is_a_change(s3: S3Server, tmp_path: Path) -> None:
    for name in ("a", "b"):
        s3.put(f"helmet/{name}", name.encode())

    def change(method: str, key: str) -> None:
        if key == "helmet/b":
            s3.put("helmet/c", b"c")

    s3.meanwhile = change
    async with hub_with(tmp_path, "s3://models/") as hub:
        with pytest.raises(DamageError, match="changed while it was fetched"):
            await bring(hub, "s3://models/helmet/")
        assert hub.stores.catalog.models.list() == []


async def test_a_cut_answer_goes_on_from_its_last_byte(s3: S3Server, tmp_path: Path) -> None:
    s3.put("model.bin", CONTENT)
    s3.cut_after = 250_000
    async with hub_with(tmp_path, "s3://models/") as hub:
        await bring(hub, "s3://models/model.bin")
        assert await files_of(hub) == {"model.bin": CONTENT}
    before, after = range(0, 3 * PIECE, PIECE), range(3 * PIECE, len(CONTENT), PIECE)
    assert s3.ranges("model.bin") == [*pieces(*before), "bytes=250000-299999", *pieces(*after)]


async def test_what_was_fetched_before_a_failure_is_not_fetched_again(s3: S3Server, tmp_path: Path) -> None:
    s3.put("helmet/a.bin", OTHER[:PIECE])
    s3.put("helmet/model.bin", CONTENT)

    def shut(method: str, key: str) -> None:
        if len(s3.ranges("helmet/model.bin")) == 4:
            s3.denied = "helmet/"

    s3.meanwhile = shut
    async with hub_with(tmp_path, "s3://models/") as hub:
        with pytest.raises(RefusedError, match=r"refuses model\.bin"):
            await bring(hub, "s3://models/helmet/")
        s3.meanwhile, s3.denied = (lambda method, key: None), "secret/"
        s3.asked.clear()
        await bring(hub, "s3://models/helmet/")
        assert await files_of(hub) == {"a.bin": OTHER[:PIECE], "model.bin": CONTENT}
    assert s3.ranges("helmet/a.bin") == []
    assert s3.ranges("helmet/model.bin") == pieces(400_000, 500_000, 600_000)


async def test_what_changed_and_was_put_back_meanwhile_is_a_change(s3: S3Server, tmp_path: Path) -> None:
    s3.put("model.bin", CONTENT)

    def change(method: str, key: str) -> None:
        read = len(s3.ranges("model.bin"))
        if read in (2, 4):
            s3.put("model.bin", OTHER if read == 2 else CONTENT)

    s3.meanwhile = change
    async with hub_with(tmp_path, "s3://models/") as hub:
        with pytest.raises(DamageError, match="changed while it was fetched"):
            await bring(hub, "s3://models/model.bin")
        assert hub.stores.catalog.models.list() == []
        s3.meanwhile = lambda method, key: None
        await bring(hub, "s3://models/model.bin")
        assert await files_of(hub) == {"model.bin": CONTENT}, "no part of what was fetched in between"


@pytest.mark.parametrize(
    "url",
    [
        "s3://models/of a/50% more.bin",
        "s3://models/of%20a/50%25%20more.bin",
        "s3://models/of a/",
        "s3://models/of%20a/",
    ],
)
async def test_a_url_says_a_file_as_it_says_a_folder_plainly_or_escaped(s3: S3Server, tmp_path: Path, url: str) -> None:
    s3.put("of a/50% more.bin", CONTENT)
    async with hub_with(tmp_path, "s3://models/") as hub:
        await bring(hub, url)
        assert await files_of(hub) == {"50% more.bin": CONTENT}

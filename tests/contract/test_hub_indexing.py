"""Releases that were there before become findable after a start of the hub: real hub, real files; and pages."""

from __future__ import annotations

import asyncio
import base64
import math
from dataclasses import replace
from pathlib import Path

import pytest

from cloud_hub import indexing, search_api
from cloud_hub.catalog import Stale
from cloud_hub.indexing import Indexer
from modelsyncd.errors import BadInputError, DamageError, RefusedError
from modelsyncd.link.channel import open_channel
from modelsyncd.release import Release, SignedRelease
from modelsyncd.trust.identity import Identity
from modelsyncd.wire.nouns import encode_release
from modelsyncd.wire.status import translated
from modelsyncd.wire.v1 import search_pb2 as pb
from modelsyncd.wire.v1.search_pb2_grpc import SearchServiceStub
from tests.fakes.hub import Hub, running_hub
from tests.fakes.publisher import publication

CARD = b"---\nlicense: mit\ntags: [small]\n---\nSees little.\n"
WAIT = 60.0


async def _push(hub: Hub, count: int) -> None:
    for number in range(1, count + 1):
        await hub.push(publication({"README.md": CARD, "m.bin": bytes([number]) * 9}, number=number))


async def _ask(hub: Hub, query: str, size: int = 0, token: str = "", who: Identity | None = None) -> pb.QueryResponse:
    async with open_channel(hub.address, who or hub.admin()) as channel:
        with translated(hub.address):
            request = pb.QueryRequest(query=query, page_size=size, page_token=token)
            return await SearchServiceStub(channel).Query(request)


async def _numbers(hub: Hub) -> list[int]:
    return [one.number for one in (await _ask(hub, "licence = mit and tag = small")).releases]


async def _until(hub: Hub, numbers: list[int]) -> None:
    async with asyncio.timeout(WAIT):
        while await _numbers(hub) != numbers:  # noqa: ASYNC110  nothing tells of it
            await asyncio.sleep(0.02)


def _leave_it(self: Indexer, release: Release) -> None:
    """As a hub that knew of no traits, or was killed right before."""


async def test_a_hub_goes_on_after_a_start_with_what_it_has_not_indexed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(Indexer, "index", _leave_it)
        async with running_hub(tmp_path) as hub:
            await _push(hub, 4)
            assert await _numbers(hub) == []
    monkeypatch.setattr(indexing, "AT_ONCE", 2)
    with monkeypatch.context() as stopped:
        stopped.setattr(indexing, "PAUSE", 3_600.0)
        async with running_hub(tmp_path) as hub:
            await _until(hub, [4])  # the newest first, and then it is stopped
            await hub.push(publication({"README.md": CARD, "m.bin": b"while it is at it"}, number=5))
            assert await _numbers(hub) == [5, 4], "a push does not wait for the others"
    async with running_hub(tmp_path) as hub:
        await _until(hub, [5, 4, 3, 2, 1])
        assert hub.stores.catalog.traits.stale(10) == []


@pytest.mark.parametrize("kind", [DamageError, RuntimeError])
async def test_a_release_that_can_not_be_read_holds_up_no_other_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(Indexer, "index", _leave_it)
        async with running_hub(tmp_path) as hub:
            await _push(hub, 3)
    really, tried = Indexer.again, list[int]()

    def again(self: Indexer, stale: Stale) -> None:
        tried.append(stale.number)
        if stale.number == 3 and tried.count(3) == 1:
            raise kind("a chunk is not what it was")
        really(self, stale)

    monkeypatch.setattr(Indexer, "again", again)
    monkeypatch.setattr(indexing, "AGAIN", 0.01)
    monkeypatch.setattr(indexing, "AT_ONCE", 1)
    async with running_hub(tmp_path) as hub:
        await _until(hub, [3, 2, 1])
    assert tried == [3, 2, 1, 3]


async def test_pages_of_a_query_are_the_whole_and_only_admins_ask(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as hub:
        await _push(hub, 3)
        first = await _ask(hub, "licence = mit", size=2)
        second = await _ask(hub, "licence = mit", size=2, token=first.next_page_token)
        assert [one.number for one in [*first.releases, *second.releases]] == [3, 2, 1]
        assert not second.next_page_token
        huge = base64.urlsafe_b64encode(b"[1%s, 1]" % (b"0" * 400)).decode()
        for token in ("x", "bnVsbA==", "WzEsIC0xXQ==", "[[]]", "é", huge):
            with pytest.raises(BadInputError, match="nothing that this hub said"):
                await _ask(hub, "", token=token)
        with pytest.raises(RefusedError):
            await _ask(hub, "", who=await hub.node("n1"))


async def test_a_card_that_no_reader_expects_neither_fails_a_push_nor_ends_the_hub(tmp_path: Path) -> None:
    odd = b"---\ntags: !!bool x\n---\nhi\n"
    async with running_hub(tmp_path) as hub:
        await hub.push(publication({"README.md": odd, "m.bin": b"x"}))
        assert hub.stores.catalog.traits.stale(10) == []


async def test_a_metric_that_is_no_finite_number_is_refused_with_its_release(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as hub:
        for value in (math.inf, math.nan):
            sound = publication({"m.bin": b"x"})
            release = encode_release(replace(sound.release, metrics={"loss": value}))
            odd = replace(sound, offer=replace(sound.offer, release=SignedRelease(release)))
            with pytest.raises(BadInputError, match="only finite numbers"):
                await hub.push(odd)
        assert hub.stores.catalog.models.list() == []


async def test_pages_of_long_values_are_shorter_and_still_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_api, "ANSWER_BYTES", 300)
    async with running_hub(tmp_path) as hub:
        await _push(hub, 7)
        seen, token = list[int](), ""
        while True:
            page = await _ask(hub, "licence = mit", token=token)
            assert page.ByteSize() <= 300
            seen += [one.number for one in page.releases]
            token = page.next_page_token
            if not token:
                break
        assert seen == [7, 6, 5, 4, 3, 2, 1]

"""What nodes publish and say, and what they hear: real gRPC over loopback mutual TLS and a real catalogue."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloud_hub import app
from modelsyncd.codec.registry import Codec
from modelsyncd.digest import Digest, digest_of
from modelsyncd.errors import BadInputError, LimitError, NotFoundError, NumberTakenError, RefusedError
from modelsyncd.link.channel import open_channel
from modelsyncd.session.events import Encoded, Settled
from modelsyncd.session.frames import Part
from modelsyncd.trust.identity import Identity
from modelsyncd.wire.nouns import decode_release
from modelsyncd.wire.status import translated
from modelsyncd.wire.v1 import catalog_pb2, limits_pb2, records_pb2, rights_pb2
from modelsyncd.wire.v1.limits_pb2_grpc import LimitServiceStub
from modelsyncd.wire.v1.records_pb2_grpc import RecordServiceStub
from modelsyncd.wire.v1.rights_pb2_grpc import RightServiceStub
from tests.fakes.hub import Hub, running_hub
from tests.fakes.publisher import STEP, Publication, Puller, publication, weights

if TYPE_CHECKING:
    from modelsyncd.wire.v1.records_pb2_grpc import RecordServiceAsyncStub
    from modelsyncd.wire.v1.rights_pb2_grpc import RightServiceAsyncStub


@pytest.fixture
async def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hub]:
    monkeypatch.setattr(app, "FOLLOW", 3_600.0)  # what this process changes must reach its nodes without it
    async with running_hub(tmp_path) as running:
        yield running


@asynccontextmanager
async def rights_of(hub: Hub, identity: Identity | None = None) -> AsyncIterator[RightServiceAsyncStub]:
    async with open_channel(hub.address, identity or hub.admin()) as channel:
        with translated(hub.address):
            yield RightServiceStub(channel)


@asynccontextmanager
async def records_of(hub: Hub, identity: Identity) -> AsyncIterator[RecordServiceAsyncStub]:
    async with open_channel(hub.address, identity) as channel:
        with translated(hub.address):
            yield RecordServiceStub(channel)


async def allow(hub: Hub, node: str, models: str, *channels: str) -> None:
    right = rights_pb2.RightView(whom=limits_pb2.Whom(node=node), models=models, channels=channels)
    async with rights_of(hub) as rights:
        await rights.Allow(rights_pb2.AllowRequest(right=right))


def from_node(
    seed: int, number: int, *, channel: str = "", chunks: int = 20, model: str = "acme/helmet"
) -> Publication:
    content = {"model.bin": weights(seed, chunks * STEP - 7)}
    return publication(content, number=number, producer="node/n1", channel=channel, model=model)


async def test_a_node_publishes_through_its_session_while_it_fetches_and_everybody_hears_who_it_was(hub: Hub) -> None:
    node = await hub.node("n1")
    base = publication({"base": weights(1, 60 * STEP)}, model="acme/base", channel="stable")
    await hub.push(base)
    await allow(hub, "n1", "acme/helmet", "candidate")
    async with hub.catalog() as catalog:
        wanted = catalog_pb2.AssignmentView(model="acme/base", channel="stable", node="n1")
        await catalog.Assign(catalog_pb2.AssignRequest(assignment=wanted))
        call = catalog.WatchEvents(catalog_pb2.WatchEventsRequest(model="acme/helmet"))
        await call.initial_metadata()
        mine, puller = from_node(2, 1, channel="candidate", chunks=60), Puller()
        async with hub.talk(node, giver=mine, taker=puller) as talk:
            talk.take(base.offer)
            talk.say(mine.offer)
            assert await talk.outcome(mine.offer) == Settled(1, True, _digest(mine))
            assert isinstance(await talk.outcome(base.offer), Settled)
        assert puller.content(base.offer) == b"".join(base.chunks)
        async with asyncio.timeout(60):
            events = aiter(call)
            released, moved = await anext(events), await anext(events)
        call.cancel()
    assert (released.released.model, released.released.number) == ("acme/helmet", 1)
    assert (moved.moved.move.who, moved.moved.move.channel) == ("node/n1", "candidate")
    assert await hub.pull(mine.offer, hub.admin()) == b"".join(mine.chunks)
    with pytest.raises(RefusedError, match="not assigned"):
        await hub.pull(mine.offer, node)


def _digest(what: Publication) -> Digest:
    return digest_of(what.offer.release.release)


async def test_a_right_that_ends_in_mid_push_ends_the_push_and_what_came_is_kept_for_the_next(hub: Hub) -> None:
    node = await hub.node("n1")
    await allow(hub, "n1", "acme/*")
    mine = from_node(3, 1, chunks=300)
    mine.stall_after = 50
    async with hub.talk(node, giver=mine) as talk:
        talk.say(mine.offer)
        async with asyncio.timeout(60):
            await mine.stalled.wait()
        async with rights_of(hub) as rights:
            await rights.Disallow(rights_pb2.DisallowRequest(whom=limits_pb2.Whom(node="n1"), models="acme/*"))
    mine.stall_after = None
    with pytest.raises(RefusedError, match="n1 has no right to publish acme/helmet"):
        await hub.push(mine, node)
    await allow(hub, "n1", "acme/*")
    assert (await hub.push(mine, node)).created
    sent = [ordinal for _, ordinal in mine.given]
    assert len(sent) < 2 * 301


class Waiting:
    """Gives what a publication gives, and waits for `go` before the chunks after the first few."""

    def __init__(self, publication: Publication) -> None:
        self.what = publication
        self.reached, self.go = asyncio.Event(), asyncio.Event()

    async def load(
        self,
        manifest: Digest,
        part: Part,
        ordinals: Sequence[int],
        codecs: frozenset[Codec],
        bases: Sequence[Digest],
        *,
        rate: float = 0.0,
    ) -> Sequence[Encoded]:
        if part is Part.CONTENT and len(self.what.given) > 10:
            self.reached.set()
            await self.go.wait()
        return await self.what.load(manifest, part, ordinals, codecs, bases, rate=rate)


async def test_what_arrives_after_the_right_has_ended_fails_that_transfer_and_not_the_session(hub: Hub) -> None:
    node = await hub.node("n1")
    await allow(hub, "n1", "acme/*")
    mine = Waiting(from_node(4, 1, chunks=300))
    base = publication({"base": weights(5, 5 * STEP)}, model="acme/base", channel="stable")
    await hub.push(base)
    puller = Puller()
    async with hub.talk(node, giver=mine, taker=puller) as talk:
        talk.say(mine.what.offer)
        async with asyncio.timeout(60):
            await mine.reached.wait()
        async with rights_of(hub) as rights:
            await rights.Disallow(rights_pb2.DisallowRequest(whom=limits_pb2.Whom(node="n1"), models="acme/*"))
        mine.go.set()
        outcome = await talk.outcome(mine.what.offer)
        assert isinstance(outcome, RefusedError)
        assert outcome.hint == "modelsyncctl allow n1 acme/helmet"
        async with hub.catalog() as catalog:
            wanted = catalog_pb2.AssignmentView(model="acme/base", channel="stable", node="n1")
            await catalog.Assign(catalog_pb2.AssignRequest(assignment=wanted))
        talk.take(base.offer)
        assert isinstance(await talk.outcome(base.offer), Settled)
    assert puller.content(base.offer) == b"".join(base.chunks)


async def test_a_right_is_given_listed_and_taken_back_by_admins_only(hub: Hub) -> None:
    node = await hub.node("n1")
    await allow(hub, "n1", "acme/helmet-*", "edge-*")
    async with rights_of(hub) as rights:
        (right,) = (await rights.ListRights(rights_pb2.ListRightsRequest(node="n1"))).rights
        assert (right.models, list(right.channels), right.who) == ("acme/helmet-*", ["edge-*"], "admin/tester")
        assert list(right.nodes) == ["n1"]
    for wrong in ("*/*", "acme", "acme/a*b"):
        with pytest.raises(BadInputError):
            await allow(hub, "n1", wrong)
    with pytest.raises(BadInputError):
        await allow(hub, "n1", "acme/helmet", "versions")
    with pytest.raises(NotFoundError):
        await allow(hub, "n9", "acme/helmet")
    with pytest.raises(RefusedError, match="node/n1 may not do this"):
        async with rights_of(hub, node) as rights:
            await rights.Allow(rights_pb2.AllowRequest(right=right))
    with pytest.raises(RefusedError, match="node/n1 may not do this"):
        async with rights_of(hub, node) as rights:
            await rights.Disallow(rights_pb2.DisallowRequest(models="acme/*"))
    with pytest.raises(RefusedError, match="node/n1 may not do this"):
        async with rights_of(hub, node) as rights:
            await rights.ListRights(rights_pb2.ListRightsRequest())


async def test_a_node_in_session_hears_at_once_that_it_should_try_again_and_watchers_hear_who_said_so(hub: Hub) -> None:
    node = await hub.node("n1")
    await hub.push(publication({"m": weights(1, STEP)}, channel="stable"))
    async with hub.catalog() as catalog, hub.talk(node) as talk:
        wanted = catalog_pb2.AssignmentView(model="acme/helmet", channel="stable", node="n1")
        await catalog.Assign(catalog_pb2.AssignRequest(assignment=wanted))
        first = await talk.desired(lambda said: bool(said.assignments))
        call = catalog.WatchEvents(catalog_pb2.WatchEventsRequest(node="n1"))
        await call.initial_metadata()
        async with open_channel(hub.address, hub.admin()) as channel:
            request = limits_pb2.RetryVersionRequest(whom=limits_pb2.Whom(node="n1"), ref="acme/helmet")
            assert list((await LimitServiceStub(channel).RetryVersion(request)).nodes) == ["n1"]
        again = await talk.desired(lambda said: said.assignments[0].retry > 0 if said.assignments else False)
        assert (first.assignments[0].retry, again.generation > first.generation) == (0, True)
        async with asyncio.timeout(60):
            async for event in call:
                if event.WhichOneof("event") == "retried":
                    break
                assert event.node.name == "n1"
        assert (event.retried.channel, list(event.retried.nodes), event.retried.who) == (
            "stable",
            ["n1"],
            "admin/tester",
        )
        call.cancel()


async def test_of_many_nodes_that_publish_at_once_each_gets_its_number_and_sends_each_chunk_once(hub: Hub) -> None:
    names = [f"n{place}" for place in range(1, 6)]
    identities = {name: await hub.node(name, site="oslo") for name in names}
    right = rights_pb2.RightView(whom=limits_pb2.Whom(selector={"site": "oslo"}), models="acme/update")
    async with rights_of(hub) as rights:
        await rights.Allow(rights_pb2.AllowRequest(right=right))
    given: dict[str, list[int]] = {name: [] for name in names}

    async def publish(name: str) -> int:
        for number in range(1, 100):  # as a node does: the same content under the next number
            content = {"m": weights(int(name[1:]), 5 * STEP)}
            mine = publication(content, number=number, producer=f"node/{name}", model="acme/update")
            try:
                settled = await hub.push(mine, identities[name])
            except NumberTakenError:
                continue
            finally:
                given[name] += [ordinal for part, ordinal in mine.given if part is Part.CONTENT]
            assert settled.created
            return settled.number
        raise AssertionError(f"{name} had no luck")

    async with asyncio.TaskGroup() as group:
        tasks = {name: group.create_task(publish(name)) for name in names}
    numbers = {task.result(): name for name, task in tasks.items()}
    assert sorted(numbers) == [1, 2, 3, 4, 5]
    async with hub.catalog() as catalog:
        history = await catalog.GetHistory(catalog_pb2.GetHistoryRequest(model="acme/update"))
    producers = {one.number: decode_release(one.signed.release).producer for one in history.releases}
    assert producers == {number: f"node/{name}" for number, name in numbers.items()}
    assert all(sorted(ordinals) == list(range(5)) for ordinals in given.values())


# --- numbers ---


def number(key: str, model: str = "acme/helmet", of: int = 1, **fields: object) -> records_pb2.Number:
    given = {"name": "precision", "value": 0.9, "at": 5.0} | fields
    return records_pb2.Number(model=model, number=of, key=key.encode(), **given)  # type: ignore[arg-type]


async def test_a_node_says_numbers_of_what_it_follows_or_may_publish_and_each_counts_once(hub: Hub) -> None:
    node = await hub.node("n1")
    for place, model in enumerate(("acme/helmet", "acme/vest", "acme/secret")):
        await hub.push(publication({"m": weights(place, STEP)}, model=model, channel="stable"))
    async with hub.catalog() as catalog:
        wanted = catalog_pb2.AssignmentView(model="acme/helmet", channel="stable", node="n1")
        await catalog.Assign(catalog_pb2.AssignRequest(assignment=wanted))
    await allow(hub, "n1", "acme/ve*")
    said = [
        number("a"),
        number("b", "acme/vest"),
        number("c", "acme/secret"),
        number("d", of=7),
        number("e", value=math.nan),
        number("f", name=""),
        number("", name="no key"),
        number("g", "nonsense"),
        number("h", at=-1.0),
        number("i", dataset="a\0b"),
        number("j", stage="s" * 257),
    ]
    async with records_of(hub, node) as records:
        for added in (2, 0):
            answer = await records.RecordNumbers(records_pb2.RecordNumbersRequest(numbers=said))
            assert answer.added == added
            why = {one.key: one.why for one in answer.refused}
            assert set(why) == {b"c", b"d", b"e", b"f", b"", b"g", b"h", b"i", b"j"}
            assert why[b"c"] == "node/n1 neither follows acme/secret nor may publish it"
            assert why[b"d"] == "there is no release acme/helmet:7"
    async with records_of(hub, hub.admin()) as records:
        answer = await records.RecordNumbers(records_pb2.RecordNumbersRequest(numbers=[number("a", value=0.5, at=0.0)]))
        assert (answer.added, list(answer.refused)) == (1, [])
        listed = await records.ListNumbers(records_pb2.ListNumbersRequest(ref="acme/helmet@stable"))
        assert [(one.who, one.value) for one in listed.numbers] == [("node/n1", 0.9), ("admin/tester", 0.5)]
        assert listed.numbers[1].at > 1_000_000.0
        assert not listed.next


async def test_numbers_are_listed_in_pages_by_admins_only(hub: Hub) -> None:
    node = await hub.node("n1")
    await hub.push(publication({"m": weights(1, STEP)}))
    many = [number(f"k{place}", value=float(place), at=7.0 + place // 2) for place in range(5)]
    async with records_of(hub, hub.admin()) as records:
        await records.RecordNumbers(records_pb2.RecordNumbersRequest(numbers=many))
        found: list[float] = []
        request = records_pb2.ListNumbersRequest(ref="acme/helmet:1", limit=2)
        for _ in range(3):
            page = await records.ListNumbers(request)
            found += [one.value for one in page.numbers]
            request.after = page.next
        assert (found, page.next) == ([0.0, 1.0, 2.0, 3.0, 4.0], "")
        newest = await records.ListNumbers(records_pb2.ListNumbersRequest(ref="acme/helmet", newest=True))
        assert newest.next == ""
        assert [one.value for one in newest.numbers] == [4.0]
        others = [number(f"n{name}", name=name, value=1.0) for name in ("a/b", "z", "ä")]
        await records.RecordNumbers(records_pb2.RecordNumbersRequest(numbers=others))
        request = records_pb2.ListNumbersRequest(ref="acme/helmet", newest=True, limit=1)
        names: list[str] = []
        for _ in range(4):
            page = await records.ListNumbers(request)
            names += [one.name for one in page.numbers]
            request.after = page.next
        assert (sorted(names), len(set(names)), page.next) == (names, 4, "")
    refused: list[tuple[records_pb2.ListNumbersRequest, type[Exception]]] = [
        (records_pb2.ListNumbersRequest(ref="acme/helmet", after="x"), BadInputError),
        (records_pb2.ListNumbersRequest(ref="acme/helmet", after="0/x", newest=True), BadInputError),
        (records_pb2.ListNumbersRequest(ref="acme/helmet:2"), NotFoundError),
    ]
    for wrong, error in refused:
        with pytest.raises(error):
            async with records_of(hub, hub.admin()) as records:
                await records.ListNumbers(wrong)
    with pytest.raises(RefusedError):
        async with records_of(hub, node) as records:
            await records.ListNumbers(records_pb2.ListNumbersRequest(ref="acme/helmet"))
    with pytest.raises(LimitError):
        async with records_of(hub, node) as records:
            await records.RecordNumbers(records_pb2.RecordNumbersRequest(numbers=[number("a")] * 1_001))

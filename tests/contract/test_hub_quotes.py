"""What a hub answers to an Ask, beside what then travels: real gRPC, stores and codings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from cloud_hub import quotes
from cloud_hub.encoder import Encoder
from modelsyncd.digest import digest_of
from modelsyncd.errors import RefusedError
from modelsyncd.plan import Priced
from modelsyncd.session.effects import Finished, Quoted
from modelsyncd.session.events import Settled
from modelsyncd.session.frames import Feature, Hello
from modelsyncd.session.progress import Progress
from modelsyncd.trust.identity import Identity
from modelsyncd.wire.v1 import catalog_pb2 as pb
from tests.fakes.hub import Hub, Talk, running_hub
from tests.fakes.publisher import STEP, Puller, numbers, publication, trained

CHUNKS = 24
SHARED = numbers(7, 5 * STEP // 4)
OLD = numbers(1, CHUNKS * STEP // 4 - 3)
NEW = trained(OLD, 2)
FRESH = numbers(3, 3 * STEP // 4)
FIRST = publication({"model.bin": OLD, "same.bin": SHARED}, channel="stable", dtype="f32")
SECOND = publication({"a.bin": FRESH, "model.bin": NEW, "same.bin": SHARED}, number=2, channel="stable", dtype="f32")


@pytest.fixture
async def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hub]:
    monkeypatch.setattr(quotes, "EVERY", 0.0)
    async with running_hub(tmp_path) as running:
        await running.push(FIRST)
        await running.push(SECOND)
        yield running


async def _node(hub: Hub, *channels: str) -> Identity:
    identity = await hub.node("n1")
    async with hub.catalog() as catalog:
        for channel in channels:
            wanted = pb.AssignmentView(model="acme/helmet", channel=channel, node="n1")
            await catalog.Assign(pb.AssignRequest(assignment=wanted))
    return identity


def _holder() -> Puller:
    """Somebody who has the first release: its chunks, and its files to code against."""
    puller = Puller(whole={FIRST.manifest: {"model.bin": OLD, "same.bin": SHARED}})
    puller.held.update((digest_of(chunk), chunk) for chunk in FIRST.chunks)
    return puller


def _quotes(talk: Talk) -> list[Priced]:
    return [said.priced for said in talk.heard if isinstance(said, Quoted)]


async def _asked(talk: Talk, like: Callable[[Priced], bool]) -> Priced:
    def find() -> Priced | None:
        return next((priced for priced in _quotes(talk) if like(priced)), None)

    assert talk.pump is not None
    talk.pump.take(SECOND.offer, gated=True)
    return await talk.until(find)


async def _fetched(talk: Talk, allowance: int | None) -> Progress:
    assert talk.pump is not None
    talk.pump.go(SECOND.manifest, allowance)
    outcome = await talk.outcome(SECOND.offer)
    assert isinstance(outcome, Settled), outcome
    (finished,) = (said for said in talk.heard if isinstance(said, Finished))
    return finished.progress


async def _manifest_wire(hub: Hub) -> int:
    """Payload that the manifest itself takes: it travels before anything is asked."""
    async with hub.catalog() as catalog:
        answers = [one async for one in catalog.Plan(pb.PlanRequest(ref="acme/helmet:2"))]
    return answers[-1].plan.manifest_wire


async def test_what_travels_is_what_the_last_quote_said_to_the_byte_and_nothing_is_coded_twice(hub: Hub) -> None:
    node = await _node(hub, "stable")
    encoder = hub.stores.encoder
    async with hub.talk(node, taker=_holder()) as talk:
        last = await _asked(talk, lambda priced: priced.exact)
        said, coded = _quotes(talk), encoder.encodings
        assert [priced.left for priced in said] == sorted((priced.left for priced in said), reverse=True)
        assert {priced.plain for priced in said} == {last.plain}
        assert (last.coded, last.alone) == (len(NEW), len(FRESH))
        assert last.coded_wire < 0.45 * len(NEW)
        assert coded >= CHUNKS
        went = await _fetched(talk, last.wire)
    assert went.wire == last.wire + await _manifest_wire(hub)
    assert went.coded == last.coded
    assert encoder.encodings == coded
    assert _quotes(talk) == said


async def test_what_rests_and_what_is_coded_already_is_said_before_anything_is_read_or_coded(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with hub.catalog() as catalog:
        planned = [one async for one in catalog.Plan(pb.PlanRequest(ref="acme/helmet:2", from_ref="acme/helmet:1"))]

    def encode(*_: object) -> None:
        raise AssertionError("all of it is known from rows")

    monkeypatch.setattr(Encoder, "encode", encode)
    async with hub.talk(await _node(hub, "stable"), taker=_holder()) as talk:
        last = await _asked(talk, lambda priced: priced.exact)
    assert _quotes(talk) == [last]
    plan = planned[-1].plan
    assert (last.coded, last.coded_wire) == (plan.bytes_coded, plan.coded_wire)
    assert (last.alone, last.alone_wire) == (plan.bytes_plain, plan.plain_wire)


async def test_the_first_word_counts_what_needs_no_coding(hub: Hub) -> None:
    async with hub.talk(await _node(hub, "stable"), taker=_holder()) as talk:
        first = await _asked(talk, lambda _: True)
        assert (first.alone, first.left) == (len(FRESH), len(NEW))
        assert talk.pump is not None
        talk.pump.drop([SECOND.manifest])


async def test_a_node_that_holds_nothing_is_answered_at_once_from_rows(hub: Hub) -> None:
    async with hub.talk(await _node(hub, "stable"), taker=Puller()) as talk:
        last = await _asked(talk, lambda _: True)
        assert (last.exact, last.coded, hub.stores.encoder.encodings) == (True, 0, 0)
        went = await _fetched(talk, last.wire)
    assert went.wire == last.wire + await _manifest_wire(hub)


async def test_a_node_may_ask_only_about_what_it_may_read_and_against_what_its_channels_named(hub: Hub) -> None:
    secret = publication({"model.bin": trained(OLD, 9)}, number=3, channel="canary", dtype="f32")
    await hub.push(secret)
    node = await _node(hub, "canary")
    async with hub.talk(node, taker=_holder()) as talk:
        assert talk.pump is not None
        talk.pump.take(SECOND.offer, gated=True)
        outcome = await talk.outcome(SECOND.offer)
    assert isinstance(outcome, RefusedError)
    assert _quotes(talk) == []
    right = hub.stores.catalog.assignments
    assert await asyncio.to_thread(right.once_named, "n1", [FIRST.manifest]) == frozenset()
    async with hub.talk(node, taker=_holder()) as talk:
        assert talk.pump is not None
        talk.pump.take(secret.offer, gated=True)
        last = await talk.until(lambda: next((one for one in _quotes(talk) if one.exact), None))
    assert last.coded == 0


async def test_a_hub_says_that_it_answers_what_chunks_will_take(hub: Hub) -> None:
    async with hub.talk(hub.admin()) as talk:
        hello = await talk.until(lambda: next((said for said in talk.heard if isinstance(said, Hello)), None))
    assert Feature.QUOTES in hello.features

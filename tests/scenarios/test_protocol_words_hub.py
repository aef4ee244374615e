"""The words of docs/protocol.md on rights, commits and Desired: each MUST is quoted by a test on real parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from edge_agent.orders import Orders
from edge_agent.steward import Steward
from edge_agent.watchers import Watchers
from modelsyncd.errors import DamageError, NumberTakenError, RefusedError
from modelsyncd.names import ModelName, ModelRef, parse_model
from modelsyncd.release import SignedRelease
from modelsyncd.session.effects import Keep
from modelsyncd.session.frames import Desired, Offer, Part
from modelsyncd.session.ports import Keeping
from modelsyncd.wire.nouns import decode_release, encode_release
from modelsyncd.wire.v1 import catalog_pb2 as pb
from tests.fakes.holdings import FakeHoldings, FakePump, desired, version
from tests.fakes.hub import Hub, running_hub
from tests.fakes.hub_store import spoil
from tests.fakes.publisher import STEP, Publication, Puller, publication, weights
from tests.scenarios.words import quote

HELMET = parse_model("acme/helmet")
REF = ModelRef(ModelName("acme", "helmet"), channel="stable")
UNKNOWN_FIELD = b"\xc2\x3e\x05later"  # field 1000 of a release: a word of some later version


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    async with running_hub(tmp_path) as running:
        yield running


def model(seed: int = 1, number: int = 1, channel: str = "stable") -> Publication:
    return publication({"model.bin": weights(seed, 40 * STEP - 7)}, number=number, channel=channel)


async def assign(hub: Hub, node: str) -> None:
    wanted = pb.AssignmentView(model="acme/helmet", channel="stable", node=node)
    async with hub.catalog() as catalog:
        await catalog.Assign(pb.AssignRequest(assignment=wanted))


async def unassign(hub: Hub, node: str) -> None:
    wanted = pb.AssignmentView(model="acme/helmet", channel="stable", node=node)
    async with hub.catalog() as catalog:
        await catalog.Unassign(pb.UnassignRequest(assignment=wanted))


async def test_rule_16_damaged_bytes_are_never_given(hub: Hub, tmp_path: Path) -> None:
    quote(16, "A giver MUST NOT send bytes that it knows to be damaged; it refuses the transfer with `damage`.")
    what = model()
    await hub.push(what)
    await asyncio.to_thread(spoil, hub.stores.catalog, tmp_path, what.chunks[17])
    puller = Puller()
    with pytest.raises(DamageError):
        await hub.pull(what.offer, hub.admin(), puller)
    assert (Part.CONTENT, 17) not in puller.arrived


@dataclass
class Hesitant(Puller):
    """Takes the first of the content, and then nothing until it is told to go on."""

    began: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def keep(self, batch: Sequence[Keep]) -> Keeping:
        if batch[0].part is Part.CONTENT:
            self.began.set()
            await self.go_on.wait()
        return await super().keep(batch)


async def test_rule_17_a_right_that_is_taken_away_ends_the_reading(hub: Hub) -> None:
    quote(17, "The right to read MUST be checked whenever chunks are read, not only at the beginning.")
    what = model()
    await hub.push(what)
    node = await hub.node("n1")
    await assign(hub, "n1")
    puller = Hesitant()
    async with hub.talk(node, taker=puller) as talk:
        talk.take(what.offer)
        await puller.began.wait()
        await unassign(hub, "n1")
        puller.go_on.set()
        error = await talk.outcome(what.offer)
    assert isinstance(error, RefusedError)
    assert "not assigned" in error.message
    assert 0 < len([ordinal for part, ordinal in puller.arrived if part is Part.CONTENT]) < len(what.chunks)


@pytest.mark.parametrize("number", [1, 3, 99])
async def test_rule_18_a_release_gets_the_next_number_or_is_refused(hub: Hub, number: int) -> None:
    quote(
        18,
        "A hub MUST commit a release only under the next number of its model; another number is refused with"
        " `number-taken`.",
    )
    await hub.push(model())
    with pytest.raises(NumberTakenError):
        await hub.push(model(seed=2, number=number))
    assert hub.stores.catalog.models.next_number(HELMET) == 2
    assert (await hub.push(model(seed=2, number=2))).number == 2


async def test_rule_19_content_that_is_there_creates_nothing(hub: Hub) -> None:
    quote(
        19,
        "Content that the model has already MUST create nothing: the hub settles with the number that it"
        " has, `created = false`, before a chunk is asked for.",
    )
    await hub.push(model())
    again = model(number=2)
    settled = await hub.push(again)
    assert (settled.number, settled.created) == (1, False)
    assert again.given == []
    assert hub.stores.catalog.models.next_number(HELMET) == 2


async def test_rule_20_the_bytes_of_a_release_stay_as_they_came(hub: Hub) -> None:
    quote(20, "A release's bytes MUST be stored and passed on as they came.")
    plain = model()
    raw = plain.offer.release.release + UNKNOWN_FIELD
    assert encode_release(decode_release(raw)) != raw, "reading and writing it again would change it"
    what = replace(plain, offer=Offer(SignedRelease(raw), plain.manifest, "stable"))
    await hub.push(what)
    node = await hub.node("n1")
    await assign(hub, "n1")
    async with hub.talk(node) as talk, hub.catalog() as catalog:
        said = await talk.desired(lambda said: bool(said.assignments))
        offer = said.assignments[0].offer
        view = (await catalog.GetRelease(pb.GetReleaseRequest(ref="acme/helmet"))).release
    assert offer is not None
    assert offer.release.release == raw
    assert view.signed.release == raw


async def test_rule_21_a_lower_generation_is_ignored(tmp_path: Path) -> None:
    quote(21, "A node MUST ignore one with a lower generation than it knows.")
    steward = Steward(FakeHoldings(), Orders(tmp_path), Watchers())
    pump = FakePump()
    await steward.load()
    async with asyncio.TaskGroup() as group, asyncio.timeout(10):
        running = group.create_task(steward.run())
        steward.attach(pump)
        steward.propose(desired(5, (REF, 1)))
        await _followed(steward, 5)
        steward.propose(desired(4, (REF, 2)))
        steward.propose(desired(6, (REF, 3)))
        await _followed(steward, 6)
        running.cancel()
    wanted = [(standing.model, standing.desired) for standing in steward.standings()]
    assert wanted == [(REF.model, 3)]
    assert 2 not in {number for number in range(1, 4) if _version(number) in pump.log}
    again = Steward(FakeHoldings(), Orders(tmp_path), Watchers())  # also after a restart
    await again.load()
    again.propose(desired(5, (REF, 1)))
    assert again.generation == 6


def _version(number: int) -> tuple[str, object]:
    return ("take", version(REF.model, number).manifest)


async def _followed(steward: Steward, generation: int) -> None:
    while True:
        changed = steward.changed
        if steward.generation == generation:
            return
        await changed.wait()


async def test_rule_23_the_newest_session_of_a_node_wins(hub: Hub) -> None:
    quote(23, "A hub keeps one session per node; when a second one begins, the first MUST be ended.")
    node = await hub.node("n1")
    async with hub.talk(node) as older:
        await older.desired()
        async with hub.talk(node) as newer:
            said = await newer.desired()
            assert isinstance(said, Desired)
            error = await older.ended()
            assert isinstance(error, RefusedError)
            assert not newer.over


async def test_rule_46_what_was_carried_out_is_not_done_again(hub: Hub) -> None:
    quote(
        46,
        "What was committed under the `id` of an offer MUST be the answer when the same peer offers under that `id`"
        " again, and no channel MUST be moved again for it.",
    )
    await hub.push(model())
    wish = model(seed=2, number=2)
    made = await hub.push(replace(wish, offer=replace(wish.offer, id=b"i" * 16)))
    async with hub.catalog() as catalog:
        await catalog.Rollback(pb.RollbackRequest(model="acme/helmet", channel="stable"))
    again = model(seed=2, number=3)
    settled = await hub.push(replace(again, offer=replace(again.offer, id=b"i" * 16)))
    assert (settled.number, settled.created, settled.release_digest) == (2, False, made.release_digest)
    async with hub.catalog() as catalog:
        found = await catalog.GetRelease(pb.GetReleaseRequest(ref="acme/helmet@stable"))
    assert found.release.number == 1

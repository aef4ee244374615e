"""The words of docs/protocol.md on asking what chunks will take: each MUST is quoted by a test that proves it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modelsyncd.digest import digest_of
from modelsyncd.errors import RefusedError
from modelsyncd.plan import Priced
from modelsyncd.session import effects as do
from modelsyncd.wire.v1 import catalog_pb2 as pb
from tests.fakes.hub import Hub, Talk, running_hub
from tests.fakes.publisher import STEP, Publication, Puller, numbers, publication, trained
from tests.scenarios.words import quote

OLD = numbers(1, 4 * STEP // 4)
NEW = trained(OLD, 2)


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    async with running_hub(tmp_path) as running:
        yield running


async def _asked(talk: Talk, what: Publication) -> Priced:
    """The last word on what it takes."""
    assert talk.pump is not None
    talk.pump.take(what.offer, gated=True)

    def exact() -> Priced | None:
        return next((one.priced for one in talk.heard if isinstance(one, do.Quoted) and one.priced.exact), None)

    return await talk.until(exact)


async def test_rule_31_what_is_given_is_what_the_last_quote_said(hub: Hub) -> None:
    quote(31, "what it says MUST be what the giver then gives for these chunks in this session, to the byte")
    old = publication({"m": OLD}, channel="stable", dtype="f32")
    new = publication({"m": NEW}, number=2, channel="stable", dtype="f32")
    for each in (old, new):
        await hub.push(each)
    async with hub.talk(hub.admin(), taker=Puller(whole={old.manifest: {"m": OLD}})) as talk:
        last = await _asked(talk, new)
        before = talk.pump.progress(new.manifest).wire if talk.pump else 0
        assert talk.pump is not None
        talk.pump.go(new.manifest, last.wire)
        await talk.outcome(new.offer)
    (finished,) = (said for said in talk.heard if isinstance(said, do.Finished))
    assert finished.progress.wire - before == last.wire
    assert last.coded == len(NEW)


async def test_rule_32_asking_needs_the_rights_of_fetching(hub: Hub) -> None:
    quote(32, "The right to read, and rule 28, MUST be checked for an `Ask` as for a `Want`")
    secret = publication({"m": OLD}, channel="canary", dtype="f32")
    mine = publication({"m": NEW}, number=2, channel="stable", dtype="f32")
    for each in (secret, mine):
        await hub.push(each)
    node = await hub.node("n1")
    async with hub.catalog() as catalog:
        wanted = pb.AssignmentView(model="acme/helmet", channel="stable", node="n1")
        await catalog.Assign(pb.AssignRequest(assignment=wanted))
    async with hub.talk(node, taker=Puller(whole={secret.manifest: {"m": OLD}})) as talk:
        assert (await _asked(talk, mine)).coded == 0
    knows = Puller(held={digest_of(piece): piece for piece in secret.manifest_pieces})
    async with hub.talk(node, taker=knows) as talk:  # it has the manifest already, so an Ask is all that it says
        await talk.desired()  # who has not heard the hub's Hello does not know that it may be asked
        assert talk.pump is not None
        talk.pump.take(secret.offer, gated=True)
        assert isinstance(await talk.outcome(secret.offer), RefusedError)
    assert not [said for said in talk.heard if isinstance(said, do.Quoted)]

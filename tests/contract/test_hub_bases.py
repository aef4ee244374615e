"""Chunks coded against a base in whole sessions with a hub: over real gRPC, with real stores and restarts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

import pytest

from modelsyncd.digest import Digest, digest_of
from modelsyncd.session.effects import Finished, Keep
from modelsyncd.session.events import Settled
from modelsyncd.session.ports import Keeping
from modelsyncd.session.progress import Progress
from modelsyncd.trust.identity import Identity
from modelsyncd.wire.v1 import catalog_pb2 as pb
from tests.fakes.hub import Hub, running_hub
from tests.fakes.hub_store import spoil
from tests.fakes.publisher import STEP, Publication, Puller, numbers, publication, trained

CHUNKS = 24
OLD = numbers(1, CHUNKS * STEP // 4 - 3)
NEW = trained(OLD, 2)


def _pair() -> tuple[Publication, Publication]:
    old = publication({"model.bin": OLD}, channel="stable", dtype="f32")
    return old, publication({"model.bin": NEW}, number=2, channel="stable", dtype="f32")


def _holder(*held: tuple[Digest, bytes]) -> Puller:
    return Puller(whole={manifest: {"model.bin": data} for manifest, data in held})


async def _fetch(hub: Hub, what: Publication, node: Identity, puller: Puller) -> Progress:
    """How a node's transfer went."""
    async with hub.talk(node, taker=puller) as talk:
        talk.take(what.offer)
        outcome = await talk.outcome(what.offer)
        assert isinstance(outcome, Settled), outcome
    (finished,) = (said for said in talk.heard if isinstance(said, Finished))
    assert puller.content(what.offer) == b"".join(what.chunks)
    return finished.progress


async def _node(hub: Hub, name: str) -> Identity:
    identity = await hub.node(name)
    async with hub.catalog() as catalog:
        wanted = pb.AssignmentView(model="acme/helmet", channel="stable", node=name)
        await catalog.Assign(pb.AssignRequest(assignment=wanted))
    return identity


async def test_a_nodes_update_costs_what_changed_and_the_second_node_costs_no_encoding(tmp_path: Path) -> None:
    old, new = _pair()
    async with running_hub(tmp_path) as hub:
        await hub.push(old)
        await hub.push(new)
        encoder = hub.stores.encoder
        first = await _fetch(hub, new, await _node(hub, "n1"), _holder((old.manifest, OLD)))
        assert first.coded == len(NEW)
        assert first.wire < 0.45 * len(NEW)
        assert first.giver_cpu > 0
        assert encoder.encodings == CHUNKS
        puller = _holder((old.manifest, OLD))
        await _fetch(hub, new, await _node(hub, "n2"), puller)
        assert sorted(puller.coded) == list(range(CHUNKS))
        assert encoder.encodings == CHUNKS


async def test_what_was_coded_before_a_restart_is_not_coded_again_after_it(tmp_path: Path) -> None:
    old, new = _pair()
    async with running_hub(tmp_path) as hub:
        await hub.push(old)
        await hub.push(new)
        await _fetch(hub, new, await _node(hub, "n1"), _holder((old.manifest, OLD)))
    async with running_hub(tmp_path) as hub:
        assert hub.stores.catalog.codings.kept().codings == CHUNKS
        await _fetch(hub, new, await _node(hub, "n2"), _holder((old.manifest, OLD)))
        assert hub.stores.encoder.encodings == 0


async def test_codings_that_an_operator_deleted_are_made_again(tmp_path: Path) -> None:
    old, new = _pair()
    async with running_hub(tmp_path) as hub:
        await hub.push(old)
        await hub.push(new)
        await _fetch(hub, new, await _node(hub, "n1"), _holder((old.manifest, OLD)))
    for pack in (tmp_path / "codings").rglob("*.pack"):
        pack.unlink()
    async with running_hub(tmp_path) as hub:
        went = await _fetch(hub, new, await _node(hub, "n2"), _holder((old.manifest, OLD)))
        assert went.coded == len(NEW)
        assert hub.stores.encoder.encodings == CHUNKS


async def test_a_base_that_the_node_holds_in_another_form_costs_a_few_chunks_twice_and_nothing_else(
    tmp_path: Path,
) -> None:
    old, new = _pair()
    async with running_hub(tmp_path) as hub:
        await hub.push(old)
        await hub.push(new)
        wrong = _holder((old.manifest, trained(OLD, 77)))
        went = await _fetch(hub, new, await _node(hub, "n1"), wrong)
        assert (went.coded, wrong.coded) == (0, [])
        assert 0 < went.resent <= len(NEW)


async def test_a_base_that_rots_at_the_hub_in_the_middle_of_a_transfer_does_not_end_it(tmp_path: Path) -> None:
    old, new = _pair()
    async with running_hub(tmp_path) as hub:
        await hub.push(old)
        await hub.push(new)
        for chunk in old.chunks[5:]:
            await asyncio.to_thread(spoil, hub.stores.catalog, tmp_path, chunk)
        went = await _fetch(hub, new, await _node(hub, "n1"), _holder((old.manifest, OLD)))
        assert 0 < went.coded <= 5 * STEP


async def test_a_node_gets_nothing_against_what_no_channel_of_its_has_named(tmp_path: Path) -> None:
    old, new = _pair()
    secret = publication({"model.bin": trained(OLD, 9)}, number=3, channel="canary", dtype="f32")
    async with running_hub(tmp_path) as hub:
        for model in (old, new, secret):
            await hub.push(model)
        node = await _node(hub, "n1")
        went = await _fetch(hub, new, node, _holder((secret.manifest, b"".join(secret.chunks))))
        assert went.coded == 0
        admin = await _fetch(hub, new, hub.admin(), _holder((secret.manifest, b"".join(secret.chunks))))
        assert admin.coded == len(NEW)


class Stalling(Puller):
    """Takes some chunks that are coded against a base, and then not a word more."""

    stalled: asyncio.Event

    async def keep(self, batch: Sequence[Keep]) -> Keeping:
        if len(self.coded) >= 3:
            self.stalled.set()
            await asyncio.Event().wait()
        return await super().keep(batch)


async def test_a_fetch_that_is_cut_goes_on_with_the_codings_that_were_made(tmp_path: Path) -> None:
    old, new = _pair()
    async with running_hub(tmp_path) as hub:
        await hub.push(old)
        await hub.push(new)
        node = await _node(hub, "n1")
        cut = Stalling(whole={old.manifest: {"model.bin": OLD}})
        cut.stalled = asyncio.Event()
        async with hub.talk(node, taker=cut) as talk:
            talk.take(new.offer)
            async with asyncio.timeout(20):
                await cut.stalled.wait()
        assert 3 <= len(cut.coded) < CHUNKS
        puller = Puller(held=cut.held, whole=cut.whole)
        await _fetch(hub, new, node, puller)
        assert sorted(cut.coded + puller.coded) == list(range(CHUNKS))
        assert hub.stores.encoder.encodings == CHUNKS


async def test_the_log_says_what_a_transfer_cost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    old, new = _pair()
    async with running_hub(tmp_path) as hub:
        await hub.push(old)
        await hub.push(new)
        half = Puller(held={digest_of(chunk): chunk for chunk in new.chunks[: CHUNKS // 2]})
        half.whole = {old.manifest: {"model.bin": OLD}}
        with caplog.at_level(logging.INFO, "modelsyncd"):
            await _fetch(hub, new, await _node(hub, "n1"), half)
    (facts,) = (vars(record)["facts"] for record in caplog.records if record.getMessage() == "transfer.settled")
    coded = sum(map(len, new.chunks[CHUNKS // 2 :]))
    assert facts["peer"] == "node/n1"
    assert (facts["size"], facts["had"], facts["coded"], facts["plain"]) == (len(NEW), len(NEW) - coded, coded, 0)
    assert 0 < facts["wire"] < coded / 2
    assert facts["giver_cpu"] > 0
    assert facts["taker_cpu"] == 0.0  # this peer does not say

"""The words of docs/protocol.md on what a hub codes for whom, and how it rests: each MUST is quoted by a test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modelsyncd.bases import Run, gather
from modelsyncd.codec.hint import Hint
from modelsyncd.codec.registry import NEEDS_BASE, READABLE, encode
from modelsyncd.digest import digest_of
from modelsyncd.session.effects import Keep
from modelsyncd.session.frames import Base, Part
from modelsyncd.wire.v1 import catalog_pb2 as pb
from tests.fakes.hub import Hub, running_hub
from tests.fakes.hub_store import bring, hub_store, push
from tests.fakes.publisher import STEP, Puller, numbers, publication, trained
from tests.scenarios.words import quote

OLD = numbers(1, STEP)
NEW = trained(OLD, 2)


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    async with running_hub(tmp_path) as running:
        yield running


async def test_rule_28_nothing_is_coded_for_a_node_against_what_no_channel_of_its_has_named(hub: Hub) -> None:
    quote(
        28,
        "A hub MUST NOT code a chunk for a node against a manifest that no channel that the node follows has",
    )
    secret = publication({"m": OLD}, channel="canary", dtype="f32")
    mine = publication({"m": NEW}, number=2, channel="stable", dtype="f32")
    await hub.push(secret)
    await hub.push(mine)
    node = await hub.node("n1")
    async with hub.catalog() as catalog:
        wanted = pb.AssignmentView(model="acme/helmet", channel="stable", node="n1")
        await catalog.Assign(pb.AssignRequest(assignment=wanted))
    nodes, admins = (Puller(whole={secret.manifest: {"m": OLD}}) for _ in range(2))
    assert await hub.pull(mine.offer, node, nodes) == NEW
    assert nodes.coded == []
    assert await hub.pull(mine.offer, hub.admin(), admins) == NEW
    assert sorted(admins.coded) == list(range(len(mine.chunks)))


async def test_rule_29_what_came_against_a_base_rests_without_it(tmp_path: Path) -> None:
    quote(29, "A hub MUST keep what was pushed against a base so that it can be read without that base.")
    store = hub_store(tmp_path)
    old = publication({"m": OLD}, dtype="f32")
    new = publication({"m": NEW}, number=2, dtype="f32")
    await push(store.intake(), old)
    await bring(store.intake(), new, Part.MANIFEST, [0])
    run = Run(0, 0, STEP)
    codec, payload = encode(
        new.chunks[0], READABLE, Hint("f32"), gather([run], lambda _, at, size: OLD[at : at + size])
    )
    assert codec in NEEDS_BASE
    base = Base(old.manifest, (run,))
    keeping = await store.intake().keep([Keep(new.offer, Part.CONTENT, 0, codec, bytes(payload), base)])
    assert keeping.kept == (0,)
    (place,) = store.catalog.chunks.places([digest_of(new.chunks[0])]).values()
    assert place.codec not in NEEDS_BASE
    store.close()

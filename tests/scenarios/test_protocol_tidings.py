"""The words of docs/protocol.md on tidings: each MUST is quoted by a test that proves it on a real hub."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from cloud_hub import app
from cloud_hub.herald import Herald
from cloud_hub.tidings import AT_ONCE, PAUSE, TICK, Tidings
from modelsyncd.link.channel import open_channel
from modelsyncd.names import parse_model
from modelsyncd.session.frames import FEATURES, Feature
from modelsyncd.session.frames import Tidings as Word
from modelsyncd.trust.identity import Identity
from modelsyncd.wire.v1 import catalog_pb2, extract_pb2, limits_pb2
from modelsyncd.wire.v1.extract_pb2_grpc import ExtractServiceStub
from modelsyncd.wire.v1.limits_pb2_grpc import LimitServiceStub
from tests.fakes.hub import Hub, Talk, running_hub
from tests.fakes.publisher import publication
from tests.scenarios.words import quote

HELMET = parse_model("acme/helmet")
HEEDING = FEATURES | {Feature.TIDINGS}


async def follower(hub: Hub, name: str, model: str = "acme/helmet") -> Identity:
    identity = await hub.node(name)
    async with hub.catalog() as catalog:
        wanted = catalog_pb2.AssignmentView(model=model, channel="stable", node=name)
        await catalog.Assign(catalog_pb2.AssignRequest(assignment=wanted))
    return identity


async def limit(hub: Hub, node: str, **said: bool | int) -> None:
    limit = limits_pb2.LimitView(whom=limits_pb2.Whom(node=node), **said)  # type: ignore[arg-type]
    async with open_channel(hub.address, hub.admin()) as channel:
        await LimitServiceStub(channel).SetLimit(limits_pb2.SetLimitRequest(limit=limit))


async def told(talk: Talk) -> None:
    await talk.until(lambda: Word() in talk.heard or None)


async def told_nothing(hub: Hub, node: str, talk: Talk) -> bool:
    """Words keep their order: what the hub said before it says a new limit is here."""
    await limit(hub, node, rate=7_000)
    await talk.desired(lambda said: said.manners.rate == 7_000)
    return Word() not in talk.heard


async def test_rule_54_who_follows_what_changed_is_told_and_nobody_whose_link_is_dear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quote(54, "a hub MUST say `Tidings` to each node in a session that follows the model")
    quote(54, "It MUST NOT say it to a node whose limits name a pause, windows or a month's bytes")
    quote(30, "A peer MUST NOT say one to a peer that did not list it.")
    monkeypatch.setattr(app, "FOLLOW", 3_600.0)
    async with running_hub(tmp_path) as hub:
        near, old, paused = [await follower(hub, name) for name in ("near", "old", "paused")]
        other = await follower(hub, "other", "acme/glove")
        await limit(hub, "paused", paused=True)
        async with (
            hub.talk(near, features=HEEDING) as first,
            hub.talk(old) as second,
            hub.talk(paused, features=HEEDING) as third,
            hub.talk(other, features=HEEDING) as fourth,
        ):
            for talk in (first, second, third, fourth):
                await talk.desired()  # from here on the hub knows what it follows
            await hub.push(publication({"m.bin": b"new"}, channel=""))
            await told(first)
            for name, talk in (("old", second), ("paused", third), ("other", fourth)):
                assert await told_nothing(hub, name, talk), name
            await limit(hub, "paused", paused=False)
            await told(third)


async def test_rule_54_a_node_that_asks_by_itself_need_not_be_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quote(54, "unless the node asked by itself meanwhile")
    asked: list[str] = []
    monkeypatch.setattr(Herald, "asked", lambda _, node: asked.append(node))
    async with running_hub(tmp_path) as hub:
        for who in (await follower(hub, "near"), hub.admin()):
            async with open_channel(hub.address, who) as channel:
                request = extract_pb2.FetchExtractRequest(models=["acme/helmet"])
                assert [one async for one in ExtractServiceStub(channel).FetchExtract(request)]
    assert asked == ["near"]


def test_rule_55_words_have_a_pause_between_them_and_a_fleet_takes_turns() -> None:
    quote(
        55, "A hub MUST NOT say `Tidings` twice within 5 seconds in one session, nor to more than 50 nodes in a second"
    )
    assert (PAUSE, AT_ONCE / TICK) == (5.0, 50.0)
    tidings = Tidings(lambda: 0.5)
    for number in range(20):
        tidings.follow(f"n{number}", frozenset({HELMET}), 0.0)
    told_at: dict[str, list[float]] = {f"n{number}": [] for number in range(20)}
    for tick in range(300):
        tidings.changed([HELMET], tick * TICK)
        for node in tidings.take(tick * TICK):
            told_at[node].append(tick * TICK)
    assert all(later - earlier >= 5.0 for times in told_at.values() for earlier, later in pairwise(times))
    first = sorted(times[0] for times in told_at.values())
    assert first[:AT_ONCE] == [0.0] * AT_ONCE
    assert first[AT_ONCE:] == [TICK] * AT_ONCE

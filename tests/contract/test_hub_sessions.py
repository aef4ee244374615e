"""What a hub does in sessions: real gRPC over loopback mutual TLS, a real catalogue and real packs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cloud_hub import app
from cloud_hub.catalog import Catalog
from modelsyncd.digest import digest_of
from modelsyncd.errors import DamageError, ModelsyncError, NumberTakenError, RefusedError, RoadError, WrongProtocolError
from modelsyncd.names import parse_model
from modelsyncd.session.frames import Desired, Part, Phase, Report, Standing
from modelsyncd.wire.v1 import catalog_pb2 as pb
from tests.fakes.hub import Hub, running_hub
from tests.fakes.hub_store import spoil
from tests.fakes.publisher import STEP, Publication, Puller, publication, weights

HELMET = parse_model("acme/helmet")


@pytest.fixture
async def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hub]:
    monkeypatch.setattr(app, "FOLLOW", 3_600.0)  # what this process changes must reach its nodes without it
    async with running_hub(tmp_path) as running:
        yield running


def _model(seed: int = 1, number: int = 1, channel: str = "stable", chunks: int = 40) -> Publication:
    return publication({"model.bin": weights(seed, chunks * STEP - 7)}, number=number, channel=channel)


async def _assign(hub: Hub, node: str, channel: str = "stable") -> None:
    wanted = pb.AssignmentView(model="acme/helmet", channel=channel, node=node)
    async with hub.catalog() as catalog:
        await catalog.Assign(pb.AssignRequest(assignment=wanted))


def _numbered(desired: Desired, model: Publication) -> bool:
    return any(
        assignment.offer is not None and assignment.offer.release == model.offer.release
        for assignment in desired.assignments
    )


async def test_what_an_admin_pushes_an_admin_can_pull_byte_for_byte(hub: Hub) -> None:
    model = _model()
    settled = await hub.push(model)
    assert (settled.number, settled.created) == (1, True)
    assert await hub.pull(model.offer, hub.admin("other")) == b"".join(model.chunks)


async def test_no_byte_travels_for_content_that_is_there(hub: Hub) -> None:
    await hub.push(_model())
    again = _model(number=2, channel="canary")
    settled = await hub.push(again)
    assert (settled.number, settled.created) == (1, False)
    assert again.given == []


async def test_a_publisher_with_an_old_number_learns_the_next_and_sends_no_chunk_twice(hub: Hub) -> None:
    await hub.push(_model(1))
    late = _model(2, number=1)
    with pytest.raises(NumberTakenError) as refused:
        await hub.push(late)
    assert "acme/helmet:2" in refused.value.hint
    assert late.given == []
    assert (await hub.push(_model(2, number=2))).number == 2


async def test_a_race_for_a_number_has_one_winner_and_the_loser_sends_only_the_release_again(hub: Hub) -> None:
    models = [_model(seed, number=1) for seed in (1, 2)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_outcome(hub, model)) for model in models]
    outcomes = [task.result() for task in tasks]
    assert sorted(map(str, outcomes)) == ["1", "number-taken"]
    loser = outcomes.index("number-taken")
    again = _model((1, 2)[loser], number=2)
    assert (await hub.push(again)).number == 2
    sent = [ordinal for model in (models[loser], again) for part, ordinal in model.given if part is Part.CONTENT]
    assert len(sent) == len(set(sent))


async def _outcome(hub: Hub, model: Publication) -> int | str:
    try:
        return (await hub.push(model)).number
    except NumberTakenError as error:
        return error.code


async def test_two_pushes_at_once_that_share_most_of_their_content_both_arrive_whole(hub: Hub) -> None:
    shared = weights(3, 30 * STEP)
    models = [publication({"m": shared + weights(seed, 5 * STEP)}, model=f"acme/model-{seed}") for seed in (10, 11, 12)]
    async with asyncio.TaskGroup() as group:
        for model in models:
            group.create_task(hub.push(model))
    for model in models:
        assert await hub.pull(model.offer, hub.admin()) == b"".join(model.chunks)


async def test_a_cut_push_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    model = _model(chunks=200)
    model.stall_after = 50
    async with running_hub(tmp_path) as hub:
        async with hub.talk(hub.admin(), giver=model) as talk:
            talk.say(model.offer)
            await model.stalled.wait()
        assert isinstance(await talk.outcome(model.offer), ModelsyncError)
    async with running_hub(tmp_path) as hub:  # after a restart, too
        durable = hub.stores.catalog.chunks.count()
        assert 0 < durable <= 64
        model.stall_after = None
        model.given.clear()
        assert (await hub.push(model)).created
        assert len(model.given) == len(model.chunks) + len(model.manifest_pieces) - durable
        assert await hub.pull(model.offer, hub.admin()) == b"".join(model.chunks)


async def test_a_chunk_that_never_arrives_right_is_refused_and_nothing_is_committed(hub: Hub) -> None:
    model = _model()
    model.spoiled = {3}
    with pytest.raises(DamageError):
        await hub.push(model)
    assert hub.stores.catalog.models.next_number(HELMET) == 1
    model.spoiled = set()
    model.given.clear()
    lacking = set(hub.stores.catalog.chunks.missing([digest_of(chunk) for chunk in model.chunks]))
    assert digest_of(model.chunks[3]) in lacking
    assert (await hub.push(model)).created
    assert {digest_of(model.chunks[ordinal]) for _, ordinal in model.given} == lacking
    assert len(model.given) == len(lacking)


async def test_a_node_is_told_at_hello_and_at_each_change_and_fetches_what_it_should_hold(hub: Hub) -> None:
    node = await hub.node("n1")
    puller = Puller()
    first, second = _model(1), _model(2, number=2)
    await hub.push(first)
    async with hub.talk(node, taker=puller) as talk:
        assert (await talk.desired()).assignments == ()
        await _assign(hub, "n1")
        desired = await talk.desired(lambda said: _numbered(said, first))
        (assignment,) = desired.assignments
        assert assignment.offer is not None
        talk.take(assignment.offer)
        await talk.outcome(first.offer)
        assert puller.content(first.offer) == b"".join(first.chunks)
        await hub.push(second)
        later = await talk.desired(lambda said: _numbered(said, second))
        assert later.generation > desired.generation


async def test_a_node_is_not_told_again_of_changes_that_are_not_for_it(hub: Hub) -> None:
    node = await hub.node("n1")
    await hub.push(_model(1))
    await _assign(hub, "n1")
    async with hub.talk(node) as talk:
        await talk.desired(lambda said: len(said.assignments) == 1)
        await hub.node("n2")
        await hub.push(_model(2, number=2, channel="canary"))
        await _assign(hub, "n2", "canary")
        last = _model(3, number=3)
        await hub.push(last)
        await talk.desired(lambda said: _numbered(said, last))
        assert len([said for said in talk.heard if isinstance(said, Desired)]) == 2


async def test_a_change_that_another_process_made_in_the_catalogue_reaches_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "FOLLOW", 0.01)
    async with running_hub(tmp_path) as hub, hub.talk(await hub.node("n1")) as talk:
        await talk.desired()
        other = await asyncio.to_thread(Catalog.open, f"sqlite:///{tmp_path / 'catalog.db'}")
        await asyncio.to_thread(other.assignments.assign, HELMET, "stable", "n1", {})
        await asyncio.to_thread(other.close)
        await talk.desired(lambda said: len(said.assignments) == 1)


async def test_a_node_may_fetch_only_what_it_is_assigned(hub: Hub) -> None:
    node = await hub.node("n1")
    mine, other = _model(1), _model(2, number=2, channel="canary")
    await hub.push(mine)
    await hub.push(other)
    await _assign(hub, "n1")
    assert await hub.pull(mine.offer, node) == b"".join(mine.chunks)
    with pytest.raises(RefusedError, match="not assigned"):
        await hub.pull(other.offer, node)


async def test_a_node_that_nobody_allowed_may_not_push(hub: Hub) -> None:
    node = await hub.node("n1")
    with pytest.raises(RefusedError, match="no right to publish"):
        await hub.push(_model(), node)


async def test_the_newest_session_of_a_node_wins_and_the_older_one_is_told(hub: Hub) -> None:
    node = await hub.node("n1")
    async with hub.talk(node) as older:
        await older.desired()
        async with hub.talk(node) as newer:
            await newer.desired()
            error = await older.ended()
            assert isinstance(error, RefusedError)
            assert "another session of n1 began" in error.message
            await _assign(hub, "n1")
            await newer.desired(lambda said: len(said.assignments) == 1)


async def test_removing_a_node_cuts_its_session_and_shuts_it_out(hub: Hub) -> None:
    node = await hub.node("n1")
    async with hub.talk(node) as talk:
        await talk.desired()
        async with hub.catalog() as catalog:
            await catalog.RemoveNode(pb.RemoveNodeRequest(name="n1"))
        error = await talk.ended()
        assert isinstance(error, RefusedError)
        assert "removed" in error.message
    async with hub.talk(node) as talk:
        assert isinstance(await talk.ended(), RefusedError)
    again = await hub.node("n1")
    async with hub.talk(again) as talk:
        await talk.desired()
    async with hub.talk(node) as talk:  # the name is back, the old key is not
        error = await talk.ended()
        assert isinstance(error, RefusedError)
        assert "another key" in error.message


async def test_a_report_is_stored_and_shown(hub: Hub) -> None:
    node = await hub.node("n1")
    report = Report(7, (Standing(HELMET, "stable", Phase.ACTIVE, desired=1, active=1),), disk_free=5, disk_used=6)
    async with hub.talk(node) as talk, hub.catalog() as catalog:
        await talk.desired()
        events = catalog.WatchEvents(pb.WatchEventsRequest(node="n1"))
        await events.initial_metadata()
        talk.say(report)
        async for event in events:
            if event.node.report.generation == 7:
                break
        events.cancel()
        view = (await catalog.GetNode(pb.GetNodeRequest(name="n1"))).node
        assert view.online
        assert view.software == "test peer"
        assert view.last_seen > 0
        assert view.report.standings[0].active == 1
    assert hub.stores.catalog.nodes.get("n1").report


async def test_a_peer_with_another_protocol_number_is_refused_in_words(hub: Hub) -> None:
    async with hub.talk(hub.admin(), protocol=2) as talk:
        error = await talk.ended()
    assert isinstance(error, WrongProtocolError)
    assert "test peer speaks 2" in error.message


async def test_damage_at_the_hub_is_told_in_words_and_a_second_push_heals_it(hub: Hub, tmp_path: Path) -> None:
    model = _model()
    await hub.push(model)
    await asyncio.to_thread(spoil, hub.stores.catalog, tmp_path, model.chunks[17])
    with pytest.raises(DamageError) as damage:
        await hub.pull(model.offer, hub.admin())
    assert "push it again" in damage.value.hint
    model.given.clear()
    assert not (await hub.push(model)).created
    assert model.given == [(Part.CONTENT, 17)]
    assert await hub.pull(model.offer, hub.admin()) == b"".join(model.chunks)


async def test_a_hub_that_stops_tells_everyone_why(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as hub:
        node = await hub.node("n1")
        channel = hub.talk(node)
        talk = await channel.__aenter__()
        await talk.desired()
    error = await talk.ended()
    assert isinstance(error, RoadError)
    assert "the hub stops" in error.message
    await channel.__aexit__(None, None, None)

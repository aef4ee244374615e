"""What admins ask of a hub and change there: real gRPC over loopback mutual TLS and a real catalogue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloud_hub import pages
from modelsyncd.digest import digest_of, to_text
from modelsyncd.errors import (
    BadInputError,
    ConflictError,
    InvalidNameError,
    LimitError,
    NotFoundError,
    RefusedError,
)
from modelsyncd.link.channel import open_channel
from modelsyncd.trust.invite import decode
from modelsyncd.wire.status import translated
from modelsyncd.wire.v1 import catalog_pb2 as pb
from modelsyncd.wire.v1.catalog_pb2_grpc import CatalogServiceStub
from tests.fakes.hub import Hub, running_hub
from tests.fakes.hub_store import spoil
from tests.fakes.publisher import STEP, Publication, publication, weights

if TYPE_CHECKING:
    from modelsyncd.wire.v1.catalog_pb2_grpc import CatalogServiceAsyncStub


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    async with running_hub(tmp_path) as running:
        yield running


@pytest.fixture
async def catalog(hub: Hub) -> AsyncIterator[CatalogServiceAsyncStub]:
    async with open_channel(hub.address, hub.admin()) as channel:
        yield CatalogServiceStub(channel)


def _model(seed: int = 1, number: int = 1, channel: str = "", model: str = "acme/helmet") -> Publication:
    return publication({"model.bin": weights(seed, 3 * STEP)}, number=number, channel=channel, model=model)


async def test_an_admin_promotes_and_rolls_back_and_the_history_says_who(
    hub: Hub, catalog: CatalogServiceAsyncStub
) -> None:
    await hub.push(_model(1, 1, "stable"))
    await hub.push(_model(2, 2))
    move = (await catalog.Promote(pb.PromoteRequest(ref="acme/helmet:2", channel="stable", note="tried"))).move
    assert (move.from_number, move.to_number, move.who) == (1, 2, "admin/tester")
    again = (await catalog.Promote(pb.PromoteRequest(ref="acme/helmet:2", channel="stable"))).move
    assert again.from_number == again.to_number == 2
    back = (await catalog.Rollback(pb.RollbackRequest(model="acme/helmet", channel="stable"))).move
    assert (back.from_number, back.to_number) == (2, 1)
    history = await catalog.GetHistory(pb.GetHistoryRequest(model="acme/helmet"))
    assert [release.number for release in history.releases] == [2, 1]
    assert [move.why for move in history.moves] == ["rollback", "promote: tried", "push"]
    release = (await catalog.GetRelease(pb.GetReleaseRequest(ref="acme/helmet@stable"))).release
    assert (release.number, list(release.channels)) == (1, ["stable"])
    with pytest.raises(ConflictError), translated():
        await catalog.Rollback(pb.RollbackRequest(model="acme/helmet", channel="stable"))


async def past_of(catalog: CatalogServiceAsyncStub, size: int) -> tuple[list[int], list[int], int]:
    """Numbers of releases, and where channels were moved to, and how many answers that took."""
    request, releases, moves, answers = pb.GetHistoryRequest(model="acme/helmet", page_size=size), [], [], 0
    while True:
        page = await catalog.GetHistory(request)
        assert size == 0 or max(len(page.releases), len(page.moves)) <= size
        releases += [release.number for release in page.releases]
        moves += [move.to_number for move in page.moves]
        answers += 1
        if not page.next_page_token:
            return releases, moves, answers
        request.page_token = page.next_page_token


async def test_a_past_comes_in_pages_to_those_who_ask_for_them_and_whole_to_others(
    hub: Hub, catalog: CatalogServiceAsyncStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 4):
        await hub.push(_model(number, number))
    steps = (1, 2, 1, 3, 2)
    for step in steps:
        await catalog.Promote(pb.PromoteRequest(ref=f"acme/helmet:{step}", channel="stable"))
    past = [3, 2, 1], list(steps[::-1])
    for size, answers in ((0, 1), (1, 5), (2, 3), (4, 2), (5, 1), (9_999, 1)):
        assert await past_of(catalog, size) == (*past, answers)
    monkeypatch.setattr(pages, "ANSWER_BYTES", 1)  # one release fits, so all else is cut with it
    assert await past_of(catalog, 9_999) == (*past, 3)
    for token in ("x", "0/1", "3", "3/" + "9" * 19):
        with pytest.raises(BadInputError, match="nothing that this hub said"), translated():
            await catalog.GetHistory(pb.GetHistoryRequest(model="acme/helmet", page_size=1, page_token=token))


async def test_a_reference_without_a_release_is_no_promotion(hub: Hub, catalog: CatalogServiceAsyncStub) -> None:
    await hub.push(_model())
    with pytest.raises(BadInputError, match="which release"), translated():
        await catalog.Promote(pb.PromoteRequest(ref="acme/helmet", channel="stable"))


async def test_what_is_not_there_is_answered_with_what_comes_nearest(
    hub: Hub, catalog: CatalogServiceAsyncStub
) -> None:
    await hub.push(_model(channel="stable"))
    for ref, near in (("acme/helmut", "acme/helmet"), ("acme/helmet@stabel", "stable"), ("acme/helmet:7", ":1")):
        with pytest.raises(NotFoundError) as missing, translated():
            await catalog.GetRelease(pb.GetReleaseRequest(ref=ref))
        assert near in missing.value.hint
    with pytest.raises(InvalidNameError), translated():
        await catalog.GetRelease(pb.GetReleaseRequest(ref="Acme/Helmet"))


async def test_models_come_in_pages(hub: Hub, catalog: CatalogServiceAsyncStub) -> None:
    names = [f"acme/model-{number}" for number in range(5)]
    for number, name in enumerate(names):
        await hub.push(_model(number, model=name))
    found: list[str] = []
    token = ""
    for _ in range(5):
        page = await catalog.ListModels(pb.ListModelsRequest(prefix="acme/", page_size=2, page_token=token))
        assert len(page.models) <= 2
        found += [model.model for model in page.models]
        token = page.next_page_token
        if not token:
            break
    assert found == names
    assert token == ""


async def test_a_page_never_outgrows_a_message(
    hub: Hub, catalog: CatalogServiceAsyncStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        await hub.push(_model(number, model=f"acme/model-{number}"))
    monkeypatch.setattr(pages, "ANSWER_BYTES", 1)
    first = await catalog.ListModels(pb.ListModelsRequest())
    assert [model.model for model in first.models] == ["acme/model-0"]
    rest = await catalog.ListModels(pb.ListModelsRequest(page_token=first.next_page_token))
    assert [model.model for model in rest.models] == ["acme/model-1"]


async def test_an_assignment_reaches_nodes_by_name_and_by_label(hub: Hub, catalog: CatalogServiceAsyncStub) -> None:
    await hub.node("n1", site="oslo")
    await hub.node("n2", site="rome")
    by_label = pb.AssignmentView(model="acme/helmet", channel="stable", selector={"site": "oslo"}, priority=3)
    made = await catalog.Assign(pb.AssignRequest(assignment=by_label))
    assert (made.created, list(made.assignment.nodes)) == (True, ["n1"])
    assert not (await catalog.Assign(pb.AssignRequest(assignment=by_label))).created
    by_name = pb.AssignmentView(model="acme/vest", channel="stable", node="n2")
    await catalog.Assign(pb.AssignRequest(assignment=by_name))
    every = (await catalog.ListAssignments(pb.ListAssignmentsRequest())).assignments
    assert [(each.model, list(each.nodes)) for each in every] == [("acme/helmet", ["n1"]), ("acme/vest", ["n2"])]
    await catalog.LabelNode(pb.LabelNodeRequest(name="n2", labels={"site": "oslo"}))
    mine = (await catalog.ListAssignments(pb.ListAssignmentsRequest(node="n2"))).assignments
    assert [each.model for each in mine] == ["acme/helmet", "acme/vest"]
    ended = (await catalog.Unassign(pb.UnassignRequest(assignment=by_label))).assignment
    assert ended.priority == 3
    with pytest.raises(NotFoundError), translated():
        await catalog.Unassign(pb.UnassignRequest(assignment=by_label))


async def test_a_node_is_invited_seen_and_removed(hub: Hub, catalog: CatalogServiceAsyncStub) -> None:
    answer = await catalog.InviteNode(pb.InviteNodeRequest(name="n1", labels={"site": "oslo"}, ttl_seconds=60))
    invite = decode(answer.token)
    assert (invite.name, invite.expires_at) == ("n1", answer.expires_at)
    (node,) = (await catalog.ListNodes(pb.ListNodesRequest(selector={"site": "oslo"}))).nodes
    assert (node.name, node.online, node.enrolled_at) == ("n1", False, 0)
    assert not (await catalog.ListNodes(pb.ListNodesRequest(selector={"site": "rome"}))).nodes
    assert (await catalog.RemoveNode(pb.RemoveNodeRequest(name="n1"))).node.name == "n1"
    with pytest.raises(NotFoundError), translated():
        await catalog.GetNode(pb.GetNodeRequest(name="n1"))
    with pytest.raises(LimitError), translated():
        await catalog.InviteNode(pb.InviteNodeRequest(name="n1", ttl_seconds=400 * 24 * 3_600))


async def test_a_node_can_not_call_the_catalogue(hub: Hub) -> None:
    node = await hub.node("n1")
    async with open_channel(hub.address, node) as channel:
        stub: CatalogServiceAsyncStub = CatalogServiceStub(channel)
        with pytest.raises(RefusedError, match="node/n1 may not do this"), translated():
            await stub.ListModels(pb.ListModelsRequest())
        with pytest.raises(RefusedError), translated():
            await stub.InviteNode(pb.InviteNodeRequest(name="n2"))
        with pytest.raises(RefusedError), translated():
            async for _ in stub.WatchEvents(pb.WatchEventsRequest()):
                pass
        with pytest.raises(RefusedError), translated():
            async for _ in stub.Verify(pb.VerifyRequest()):
                pass


async def test_a_watcher_sees_releases_moves_and_nodes_as_they_happen(
    hub: Hub, catalog: CatalogServiceAsyncStub
) -> None:
    node = await hub.node("n1")
    watch = catalog.WatchEvents(pb.WatchEventsRequest())
    await watch.initial_metadata()
    await hub.push(_model(channel="stable"))
    async with hub.talk(node) as talk:
        await talk.desired()
        seen: list[str] = []
        async with asyncio.timeout(20):
            async for event in watch:
                seen.append(event.WhichOneof("event") or "")
                if event.node.online:
                    break
    watch.cancel()
    assert seen == ["released", "moved", "node"]


async def test_a_watcher_is_told_when_a_node_that_is_away_is_assigned_something_or_relieved_of_it(
    hub: Hub, catalog: CatalogServiceAsyncStub
) -> None:
    await hub.node("n1")
    assignment = pb.AssignmentView(model="acme/helmet", channel="stable", node="n1")
    for change in (
        lambda: catalog.Assign(pb.AssignRequest(assignment=assignment)),
        lambda: catalog.Unassign(pb.UnassignRequest(assignment=assignment)),
    ):
        watch = catalog.WatchEvents(pb.WatchEventsRequest())
        await watch.initial_metadata()
        await change()
        async with asyncio.timeout(20):
            event = await anext(aiter(watch))
        assert event.node.name == "n1"
        watch.cancel()


async def test_verify_finds_what_is_damaged_and_pushing_again_heals_it(
    hub: Hub, catalog: CatalogServiceAsyncStub, tmp_path: Path
) -> None:
    sound, broken = _model(1, model="acme/sound"), _model(2, model="acme/broken")
    await hub.push(sound)
    await hub.push(broken)
    assert await _verified(catalog, "") == []
    await asyncio.to_thread(spoil, hub.stores.catalog, tmp_path, broken.chunks[1])
    assert await _verified(catalog, "acme/sound") == []
    named = [to_text(digest_of(broken.chunks[1]))]
    assert await _verified(catalog, "acme/broken") == named
    assert await _verified(catalog, "acme/broken") == named  # still gone, and still said so
    assert await _verified(catalog, "") == named  # though the index knows nothing of it any more
    await hub.push(broken)
    assert await _verified(catalog, "acme/broken") == []


async def test_verify_of_a_release_with_a_damaged_manifest_names_it(
    hub: Hub, catalog: CatalogServiceAsyncStub, tmp_path: Path
) -> None:
    model = _model()
    await hub.push(model)
    await asyncio.to_thread(spoil, hub.stores.catalog, tmp_path, model.manifest_pieces[0])
    assert await _verified(catalog, "acme/helmet") == [to_text(digest_of(model.manifest_pieces[0]))]


async def test_verify_of_an_empty_hub_is_done_at_once(catalog: CatalogServiceAsyncStub) -> None:
    assert await _verified(catalog, "") == []


async def _verified(catalog: CatalogServiceAsyncStub, ref: str) -> list[str]:
    """The damaged chunks that a verification ends with."""
    answers = [answer async for answer in catalog.Verify(pb.VerifyRequest(ref=ref))]
    assert [answer.done for answer in answers] == [False] * (len(answers) - 1) + [True]
    last = answers[-1]
    assert last.chunks == last.chunks_total
    return list(last.damaged)

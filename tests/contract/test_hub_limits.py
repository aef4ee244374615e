"""What admins say that nodes may use, and what a node in a session hears of it: real gRPC and a real catalogue."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloud_hub import app
from modelsyncd.errors import BadInputError, LimitError, NotFoundError, RefusedError
from modelsyncd.link.channel import open_channel
from modelsyncd.manners import Manners, manners
from modelsyncd.names import parse_ref
from modelsyncd.trust.identity import Identity
from modelsyncd.wire.desired import manners_from_pb
from modelsyncd.wire.status import translated
from modelsyncd.wire.v1 import catalog_pb2
from modelsyncd.wire.v1 import limits_pb2 as pb
from modelsyncd.wire.v1.limits_pb2_grpc import LimitServiceStub
from tests.fakes.hub import Hub, running_hub
from tests.fakes.publisher import STEP, Publication, publication, weights

if TYPE_CHECKING:
    from modelsyncd.wire.v1.limits_pb2_grpc import LimitServiceAsyncStub

N1 = pb.Whom(node="n1")
OSLO = pb.Whom(selector={"site": "oslo"})


@pytest.fixture
async def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hub]:
    monkeypatch.setattr(app, "FOLLOW", 3_600.0)  # what is changed here must reach its nodes without it
    async with running_hub(tmp_path) as running:
        yield running


@asynccontextmanager
async def limits_of(hub: Hub, identity: Identity | None = None) -> AsyncIterator[LimitServiceAsyncStub]:
    async with open_channel(hub.address, identity or hub.admin()) as channel:
        with translated(hub.address):
            yield LimitServiceStub(channel)


@pytest.fixture
async def limits(hub: Hub) -> AsyncIterator[LimitServiceAsyncStub]:
    async with limits_of(hub) as stub:
        yield stub


def _model(number: int = 1) -> Publication:
    return publication({"model.bin": weights(number, 2 * STEP)}, number=number, channel="stable")


async def _node(hub: Hub, name: str = "n1") -> Identity:
    identity = await hub.node(name, site="oslo")
    async with hub.catalog() as catalog:
        wanted = catalog_pb2.AssignmentView(model="acme/helmet", channel="stable", node=name)
        await catalog.Assign(catalog_pb2.AssignRequest(assignment=wanted))
    return identity


async def test_a_connected_node_hears_at_once_of_every_limit_pin_and_consent(
    hub: Hub, limits: LimitServiceAsyncStub
) -> None:
    model = _model()
    await hub.push(model)
    async with hub.talk(await _node(hub)) as talk:
        first = await talk.desired(lambda said: bool(said.assignments))
        limit = pb.LimitView(whom=OSLO, rate=9, windows=pb.Windows(windows=["22:00-06:00"]), quota_bytes=7)
        answer = await limits.SetLimit(pb.SetLimitRequest(limit=limit))
        assert (list(answer.limit.nodes), answer.changed) == (["n1"], True)
        night = manners(rate=9, openings=["22:00-06:00"])
        said = await talk.desired(lambda said: said.manners == night)
        assert (said.quota, said.generation > first.generation) == (7, True)
        await limits.SetLimit(
            pb.SetLimitRequest(limit=pb.LimitView(whom=N1, model="acme/helmet", channel="stable", paused=True))
        )
        await talk.desired(lambda said: said.assignments[0].manners == Manners(paused=True))
        await limits.Pin(pb.PinRequest(pin=pb.PinView(whom=N1, model="acme/helmet", number=1)))
        await talk.desired(lambda said: said.pins == (parse_ref("acme/helmet:1"),))
        await limits.Consent(pb.ConsentRequest(node="n1", model="acme/helmet", channel="stable"))
        await talk.desired(lambda said: said.assignments[0].consent == model.manifest)
        await limits.SetLimit(pb.SetLimitRequest(limit=pb.LimitView(whom=OSLO), replace=True))
        said = await talk.desired(lambda said: said.manners == Manners())
        assert said.quota == 0


async def test_what_was_set_and_what_it_comes_to_are_listed_with_who_and_when(
    hub: Hub, limits: LimitServiceAsyncStub
) -> None:
    await hub.push(_model())
    await _node(hub)
    await hub.node("n2")
    for limit in (
        pb.LimitView(whom=OSLO, rate=9, month_bytes=5, note="slow"),
        pb.LimitView(whom=N1, rate=0),
        pb.LimitView(whom=OSLO, model="acme/helmet", channel="stable", background=True),
    ):
        await limits.SetLimit(pb.SetLimitRequest(limit=limit))
    await limits.Pin(pb.PinRequest(pin=pb.PinView(whom=N1, model="acme/helmet", number=1)))
    await limits.Consent(pb.ConsentRequest(node="n1", model="acme/helmet", channel="stable", note="now"))
    found = await limits.ListLimits(pb.ListLimitsRequest())
    assert [(row.model, row.whom.node, row.who, row.at > 0) for row in found.limits] == [
        ("", "", "admin/tester", True),
        ("", "n1", "admin/tester", True),
        ("acme/helmet", "", "admin/tester", True),
    ]
    assert found.limits[0].note == "slow"
    assert not found.limits[0].HasField("background")
    (node,) = found.nodes
    assert (node.node, list(node.pins), manners_from_pb(node.manners)) == ("n1", ["acme/helmet:1"], Manners(0, (), 5))
    (lane,) = node.channels
    assert manners_from_pb(lane.manners) == Manners(background=True)
    assert (lane.consent.number, lane.consent.note, lane.consent.who) == (1, "now", "admin/tester")
    alone = await limits.ListLimits(pb.ListLimitsRequest(node="n2"))
    assert ([each.node for each in alone.nodes], list(alone.limits)) == (["n2"], [])
    pins = (await limits.ListPins(pb.ListPinsRequest(node="n1"))).pins
    assert [(pin.number, list(pin.nodes)) for pin in pins] == [(1, ["n1"])]
    decided = (await limits.ListDecisions(pb.ListDecisionsRequest(node="n1"))).decisions
    assert [(one.kind, one.ref) for one in decided] == [
        ("consent", "acme/helmet:1"),
        ("pin", "acme/helmet:1"),
        ("limit", "acme/helmet@stable"),
        ("limit", ""),
        ("limit", ""),
    ]


async def test_the_same_again_changes_nothing_and_is_said_so(hub: Hub, limits: LimitServiceAsyncStub) -> None:
    await hub.push(_model())
    await _node(hub)
    limit = pb.SetLimitRequest(limit=pb.LimitView(whom=N1, rate=9))
    pin = pb.PinRequest(pin=pb.PinView(whom=N1, model="acme/helmet", number=1))
    consent = pb.ConsentRequest(node="n1", model="acme/helmet", channel="stable")
    back = pb.ConsentRequest(node="n1", model="acme/helmet", channel="stable", withdraw=True)
    assert [(await limits.SetLimit(limit)).changed for _ in range(2)] == [True, False]
    assert [(await limits.Pin(pin)).created for _ in range(2)] == [True, False]
    assert [(await limits.Consent(consent)).changed for _ in range(2)] == [True, False]
    assert [(await limits.Consent(back)).changed for _ in range(2)] == [True, False]
    assert (await limits.Unpin(pb.UnpinRequest(pin=pin.pin))).pin.who == "admin/tester"
    with pytest.raises(NotFoundError, match="not pinned"), translated():
        await limits.Unpin(pb.UnpinRequest(pin=pin.pin))


async def test_what_can_not_be_is_refused_in_words_that_say_what_to_type(
    hub: Hub, limits: LimitServiceAsyncStub
) -> None:
    await _node(hub)
    await hub.push(_model())
    for error, words, limit in (
        (NotFoundError, "no node n9", pb.LimitView(whom=pb.Whom(node="n9"), rate=1)),
        (BadInputError, "not both", pb.LimitView(whom=pb.Whom(node="n1", selector={"a": "b"}), rate=1)),
        (BadInputError, "names a day that is none", pb.LimitView(whom=N1, windows=pb.Windows(windows=["noon"]))),
        (BadInputError, "together", pb.LimitView(whom=N1, model="acme/helmet", rate=1)),
        (LimitError, "more than any limit", pb.LimitView(whom=N1, rate=1 << 63)),
        (LimitError, "a note may have", pb.LimitView(whom=N1, rate=1, note="x" * 5_000)),
    ):
        with pytest.raises(error, match=words), translated():
            await limits.SetLimit(pb.SetLimitRequest(limit=limit))
    with pytest.raises(NotFoundError, match="acme/helmet"), translated():
        await limits.Pin(pb.PinRequest(pin=pb.PinView(whom=N1, model="acme/helmet", number=7)))
    with pytest.raises(BadInputError, match="which release"), translated():
        await limits.Pin(pb.PinRequest(pin=pb.PinView(whom=N1, model="acme/helmet")))
    with pytest.raises(NotFoundError, match="does not follow"), translated():
        await limits.Consent(pb.ConsentRequest(node="n1", model="acme/helmet", channel="canary"))
    assert (await limits.ListDecisions(pb.ListDecisionsRequest())).decisions == []


async def test_a_node_may_not_lift_its_own_limits(hub: Hub) -> None:
    node = await _node(hub)
    async with limits_of(hub, node) as stub:
        with pytest.raises(RefusedError, match="may not do this"), translated():
            await stub.SetLimit(pb.SetLimitRequest(limit=pb.LimitView(whom=N1, rate=0)))
        with pytest.raises(RefusedError, match="may not do this"), translated():
            await stub.Consent(pb.ConsentRequest(node="n1", model="acme/helmet", channel="stable"))
        with pytest.raises(RefusedError, match="may not do this"), translated():
            await stub.ListLimits(pb.ListLimitsRequest())

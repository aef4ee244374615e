"""Promotion rules at a real hub, over loopback mutual TLS: numbers come, and channels move by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from modelsyncd.errors import BadInputError, LimitError, NotFoundError, RefusedError
from modelsyncd.link.channel import open_channel
from modelsyncd.wire.status import translated
from modelsyncd.wire.v1 import catalog_pb2, limits_pb2, records_pb2, rights_pb2
from modelsyncd.wire.v1 import rules_pb2 as pb
from modelsyncd.wire.v1.catalog_pb2_grpc import CatalogServiceStub
from modelsyncd.wire.v1.records_pb2_grpc import RecordServiceStub
from modelsyncd.wire.v1.rights_pb2_grpc import RightServiceStub
from modelsyncd.wire.v1.rules_pb2_grpc import RuleServiceStub
from tests.fakes.hub import Hub, running_hub
from tests.fakes.publisher import STEP, publication, weights

if TYPE_CHECKING:
    from modelsyncd.wire.v1.catalog_pb2_grpc import CatalogServiceAsyncStub
    from modelsyncd.wire.v1.records_pb2_grpc import RecordServiceAsyncStub
    from modelsyncd.wire.v1.rights_pb2_grpc import RightServiceAsyncStub
    from modelsyncd.wire.v1.rules_pb2_grpc import RuleServiceAsyncStub

HELMET = "acme/helmet"
BETTER = "metrics.precision >= current.precision + 0.01"
MOVED, THERE, OLD = pb.Judgement.OUTCOME_MOVED, pb.Judgement.OUTCOME_THERE, pb.Judgement.OUTCOME_OLD
FAILS, UNKNOWN, NONE = pb.Judgement.OUTCOME_FAILS, pb.Judgement.OUTCOME_UNKNOWN, pb.Judgement.OUTCOME_NONE


@dataclass
class Person:
    """An admin with a hub."""

    hub: Hub
    catalog: CatalogServiceAsyncStub
    records: RecordServiceAsyncStub
    rules: RuleServiceAsyncStub
    rights: RightServiceAsyncStub
    measured: int = 0

    async def push(self, number: int, channel: str = "") -> None:
        await self.hub.push(publication({"w": weights(number, STEP)}, number=number, channel=channel))

    async def promote(self, number: int, channel: str) -> None:
        await self.catalog.Promote(catalog_pb2.PromoteRequest(ref=f"{HELMET}:{number}", channel=channel))

    async def measure(self, number: int, value: float, **more: str) -> None:
        self.measured += 1
        one = records_pb2.Number(model=HELMET, number=number, name="precision", value=value)
        one.key, one.at = b"k%d" % self.measured, float(self.measured)
        one.MergeFrom(records_pb2.Number(**more))  # type: ignore[arg-type]
        answer = await self.records.RecordNumbers(records_pb2.RecordNumbersRequest(numbers=[one]))
        assert answer.added == 1

    async def keep(self, condition: str = BETTER, candidates: str = "candidate", **more: str) -> pb.Judgement:
        rule = pb.Rule(model=HELMET, channel="stable", candidates=candidates, condition=condition)
        rule.MergeFrom(pb.Rule(**more))  # type: ignore[arg-type]
        return (await self.rules.SetRule(pb.SetRuleRequest(rule=rule))).judgement

    async def ask(self, ref: str, condition: str = BETTER, **more: str) -> pb.Judgement:
        rule = pb.Rule(channel="stable", condition=condition)
        rule.MergeFrom(pb.Rule(**more))  # type: ignore[arg-type]
        return (await self.rules.PromoteIf(pb.PromoteIfRequest(ref=ref, rule=rule))).judgement

    async def channels(self) -> dict[str, int]:
        (model,) = (await self.catalog.ListModels(catalog_pb2.ListModelsRequest())).models
        return {one.name: one.number for one in model.channels}

    async def moves(self) -> Sequence[catalog_pb2.Move]:
        """Of stable, the newest first."""
        history = await self.catalog.GetHistory(catalog_pb2.GetHistoryRequest(model=HELMET))
        return [move for move in history.moves if move.channel == "stable"]

    @asynccontextmanager
    async def seeing(self, channel: str, number: int) -> AsyncIterator[None]:
        """The block's end waits until the channel was moved to this number, as watchers hear it."""
        call = self.catalog.WatchEvents(catalog_pb2.WatchEventsRequest(model=HELMET))
        await call.initial_metadata()
        yield
        async with asyncio.timeout(60):
            async for event in call:
                move = event.moved.move
                if (move.channel, move.to_number) == (channel, number):
                    break
        call.cancel()


@asynccontextmanager
async def person_of(hub: Hub) -> AsyncIterator[Person]:
    async with open_channel(hub.address, hub.admin("ann")) as channel:
        yield Person(
            hub,
            CatalogServiceStub(channel),
            RecordServiceStub(channel),
            RuleServiceStub(channel),
            RightServiceStub(channel),
        )


@pytest.fixture
async def ann(tmp_path: Path) -> AsyncIterator[Person]:
    """With release 1 in use, whose precision is 0.8, and release 2 as its candidate."""
    async with running_hub(tmp_path) as hub, person_of(hub) as person:
        await person.push(1, "stable")
        await person.push(2, "candidate")
        await person.measure(1, 0.8)
        yield person


def seen(judgement: pb.Judgement) -> list[tuple[bool, int, float | None]]:
    return [(one.current, one.number, one.figure if one.HasField("figure") else None) for one in judgement.compared]


async def test_a_channel_is_moved_once_if_the_candidate_is_better_and_both_values_are_said(ann: Person) -> None:
    judgement = await ann.ask(f"{HELMET}@candidate")
    assert judgement.outcome == UNKNOWN
    assert seen(judgement) == [(False, 2, None), (True, 1, 0.8)]
    await ann.measure(2, 0.805)
    judgement = await ann.ask(f"{HELMET}@candidate")
    assert (judgement.outcome, judgement.candidate, judgement.current) == (FAILS, 2, 1)
    assert seen(judgement) == [(False, 2, 0.805), (True, 1, 0.8)]
    assert (await ann.channels())["stable"] == 1
    await ann.measure(2, 0.81)
    judgement = await ann.ask(f"{HELMET}@candidate", note="night shift")
    assert (judgement.outcome, judgement.move.from_number, judgement.move.to_number) == (MOVED, 1, 2)
    assert (await ann.channels())["stable"] == 2
    (move, *_) = await ann.moves()
    assert move.who == "admin/ann"
    assert move.why == f"promote: night shift; {BETTER} [precision of :2 = 0.81, precision of :1 = 0.8]"
    assert (await ann.ask(f"{HELMET}:2")).outcome == THERE
    assert len(await ann.moves()) == 2


async def test_a_kept_rule_moves_its_channel_when_numbers_about_the_candidate_come(ann: Person) -> None:
    judgement = await ann.keep(note="by night")
    assert judgement.outcome == UNKNOWN
    async with ann.seeing("stable", 2):
        await ann.measure(2, 0.805)  # too little
        await ann.measure(2, 0.9)
    (move, *_) = await ann.moves()
    assert (move.from_number, move.to_number, move.who) == (1, 2, "admin/ann")
    assert move.why == f"rule: by night; {BETTER} [precision of :2 = 0.9, precision of :1 = 0.8]"


async def test_a_kept_rule_judges_what_its_candidates_channel_is_moved_to(ann: Person) -> None:
    await ann.keep()
    await ann.push(3)
    await ann.measure(3, 0.95)
    async with ann.seeing("stable", 3):
        await ann.promote(3, "candidate")
    assert await ann.channels() == {"candidate": 3, "stable": 3}


async def test_a_rule_without_a_channel_of_candidates_judges_each_new_release(ann: Person) -> None:
    await ann.keep("number > current.number", candidates="")
    assert (await ann.channels())["stable"] == 2  # at once
    async with ann.seeing("stable", 3):
        await ann.push(3)


async def test_what_one_rule_moves_another_judges(ann: Person) -> None:
    await ann.keep("metrics.precision > 0.9", candidates="canary")
    rule = pb.Rule(model=HELMET, channel="canary", candidates="candidate", condition="metrics.precision > 0.85")
    assert (await ann.rules.SetRule(pb.SetRuleRequest(rule=rule))).judgement.outcome == UNKNOWN
    async with ann.seeing("stable", 2):
        await ann.measure(2, 0.99)
    assert await ann.channels() == {"candidate": 2, "canary": 2, "stable": 2}


async def test_a_kept_rule_never_undoes_a_roll_back_and_never_moves_back(ann: Person) -> None:
    await ann.keep("metrics.precision > 0.5")
    async with ann.seeing("stable", 2):
        await ann.measure(2, 0.9)
    await ann.catalog.Rollback(catalog_pb2.RollbackRequest(model=HELMET, channel="stable"))
    assert (await ann.keep("metrics.precision > 0.5")).outcome == OLD  # 2 was in use, and somebody took it back
    await ann.promote(1, "candidate")
    assert (await ann.keep("metrics.precision > 0.5")).outcome == THERE
    await ann.push(3)
    await ann.promote(3, "stable")
    await ann.promote(2, "candidate")
    assert (await ann.keep("metrics.precision > 0.5")).outcome == OLD  # 2 is older than 3
    assert [move.to_number for move in await ann.moves()] == [3, 1, 2, 1]


async def test_a_person_may_have_an_older_release_back_if_it_is_better(ann: Person) -> None:
    await ann.measure(2, 0.7)
    await ann.promote(2, "stable")
    assert (await ann.ask(f"{HELMET}:1")).outcome == MOVED


async def test_only_numbers_of_the_data_set_the_stage_and_the_variant_that_the_rule_names_count(ann: Person) -> None:
    await ann.measure(1, 0.5, dataset="night", stage="eval", variant="int8")
    await ann.measure(2, 0.9, dataset="day", stage="eval", variant="int8")
    await ann.measure(2, 0.95, dataset="night", stage="train", variant="int8")
    await ann.measure(2, 0.99, dataset="night", stage="eval")
    await ann.measure(2, 0.98, dataset="night", variant="default")  # the first variant's, as nodes say it
    named = {"dataset": "night", "stage": "eval", "variant": "int8"}
    assert seen(await ann.ask(f"{HELMET}:2", "metrics.precision > 1", dataset="night")) == [(False, 2, 0.98)]
    assert seen(await ann.ask(f"{HELMET}:2", **named)) == [(False, 2, None), (True, 1, 0.5)]
    await ann.measure(2, 0.52, dataset="night", stage="eval", variant="int8")
    judgement = await ann.ask(f"{HELMET}:2", **named)
    assert (judgement.outcome, seen(judgement)) == (MOVED, [(False, 2, 0.52), (True, 1, 0.5)])


async def test_a_channel_that_names_nothing_has_its_first_release_from_a_person_unless_the_rule_says_so(
    ann: Person,
) -> None:
    await ann.measure(2, 0.9)
    rule = pb.Rule(model=HELMET, channel="beta", candidates="candidate", condition=BETTER)
    judgement = (await ann.rules.SetRule(pb.SetRuleRequest(rule=rule))).judgement
    assert (judgement.outcome, judgement.current) == (UNKNOWN, 0)
    assert seen(judgement) == [(False, 2, 0.9), (True, 0, None)]
    rule.condition = f"{BETTER} or not current.number = *"
    assert (await ann.rules.SetRule(pb.SetRuleRequest(rule=rule))).judgement.outcome == MOVED
    rule.candidates = "gamma"
    assert (await ann.rules.SetRule(pb.SetRuleRequest(rule=rule))).judgement.outcome == NONE


async def test_rules_are_listed_replaced_and_removed(ann: Person) -> None:
    await ann.keep()
    await ann.keep("metrics.precision > 0.99")
    (rule,) = (await ann.rules.ListRules(pb.ListRulesRequest())).rules
    assert (rule.model, rule.channel, rule.candidates, rule.who) == (HELMET, "stable", "candidate", "admin/ann")
    assert rule.condition == "metrics.precision > 0.99"
    assert list((await ann.rules.ListRules(pb.ListRulesRequest(model=HELMET))).rules) == [rule]
    assert not (await ann.rules.ListRules(pb.ListRulesRequest(model="acme/vest"))).rules
    removed = await ann.rules.RemoveRule(pb.RemoveRuleRequest(model=HELMET, channel="stable"))
    assert removed.rule == rule
    with pytest.raises(NotFoundError, match="has no rule"), translated():
        await ann.rules.RemoveRule(pb.RemoveRuleRequest(model=HELMET, channel="stable"))


async def test_a_rule_that_makes_no_sense_is_refused_and_nothing_is_kept(ann: Person) -> None:
    with pytest.raises(BadInputError, match="can't be read"), translated():
        await ann.keep("metrics.precision >>")
    with pytest.raises(BadInputError, match="says nothing"), translated():
        await ann.keep(" ")
    with pytest.raises(BadInputError, match="compared with itself"), translated():
        await ann.keep(candidates="stable")
    with pytest.raises(LimitError), translated():
        await ann.keep(dataset="x" * 257)
    with pytest.raises(NotFoundError, match=r"acme/helmet has no release 9"), translated():
        await ann.ask(f"{HELMET}:9")
    assert not (await ann.rules.ListRules(pb.ListRulesRequest())).rules


async def test_what_held_while_the_hub_was_down_is_carried_out_when_it_starts(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as hub, person_of(hub) as person:
        await person.push(1, "stable")
        await person.push(2, "candidate")
        await person.keep("metrics.precision > 0.5")
        await person.measure(1, 0.8)
        hub.stores.catalog.rules.apply = lambda *_: ()  # type: ignore[method-assign]  # as if it had died just then
        await person.measure(2, 0.9)
    async with running_hub(tmp_path) as hub, person_of(hub) as person:
        async with asyncio.timeout(60):
            while (await person.channels())["stable"] != 2:
                pass  # each look is a question to the hub
        assert [move.to_number for move in await person.moves()] == [2, 1]


async def test_nodes_may_neither_see_nor_set_rules(ann: Person) -> None:
    node = await ann.hub.node("n1")
    async with open_channel(ann.hub.address, node) as channel:
        rules: RuleServiceAsyncStub = RuleServiceStub(channel)
        with pytest.raises(RefusedError), translated():
            await rules.ListRules(pb.ListRulesRequest())


async def test_numbers_of_a_node_that_may_publish_candidates_count_and_of_others_they_do_not(ann: Person) -> None:
    await ann.keep(stage="eval")
    await ann.measure(1, 0.8, stage="eval")
    said = [records_pb2.Number(model=HELMET, number=2, name="precision", value=0.9, stage="eval", at=9.0, key=b"n")]
    request = records_pb2.RecordNumbersRequest(numbers=said)
    async with open_channel(ann.hub.address, await ann.hub.node("n1")) as channel:
        records: RecordServiceAsyncStub = RecordServiceStub(channel)
        assert (await records.RecordNumbers(request)).added == 0
        assert (await ann.channels())["stable"] == 1
        right = rights_pb2.RightView(whom=limits_pb2.Whom(node="n1"), models=HELMET, channels=["candidate"])
        await ann.rights.Allow(rights_pb2.AllowRequest(right=right))
        async with ann.seeing("stable", 2):
            assert (await records.RecordNumbers(request)).added == 1
    (move, *_) = await ann.moves()
    assert move.who == "admin/ann"  # whose rule it is: the node itself may not move the channel

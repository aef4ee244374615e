"""The only place where admins say when channels move by themselves: the servicer of RuleService."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from cloud_hub import gate, views
from cloud_hub.catalog import Catalog
from cloud_hub.catalog.evidence import Compared, Counted
from cloud_hub.catalog.rules import Judgement, Outcome, RuleRow
from cloud_hub.promotion import Promotion
from modelsyncd.errors import BadInputError, LimitError
from modelsyncd.limits import LIMITS
from modelsyncd.names import ModelName, ModelRef, parse_channel, parse_model, parse_ref
from modelsyncd.query.parser import comparisons, parse_rule
from modelsyncd.wire.status import Context, answering
from modelsyncd.wire.v1 import rules_pb2 as pb
from modelsyncd.wire.v1.rules_pb2_grpc import RuleServiceServicer

_OUTCOMES = {
    Outcome.MOVED: pb.Judgement.OUTCOME_MOVED,
    Outcome.THERE: pb.Judgement.OUTCOME_THERE,
    Outcome.OLD: pb.Judgement.OUTCOME_OLD,
    Outcome.FAILS: pb.Judgement.OUTCOME_FAILS,
    Outcome.UNKNOWN: pb.Judgement.OUTCOME_UNKNOWN,
    Outcome.NONE: pb.Judgement.OUTCOME_NONE,
}


class RulesApi(RuleServiceServicer):
    """For admins only."""

    def __init__(self, catalog: Catalog, promotion: Promotion, *, clock: Callable[[], float] = time.time) -> None:
        self._catalog = catalog
        self._promotion = promotion
        self._clock = clock

    @answering
    async def PromoteIf(self, request: pb.PromoteIfRequest, context: Context) -> pb.PromoteIfResponse:  # noqa: N802
        """Moves a channel if a condition holds. Raises NotFoundError, BadInputError and its kind."""
        caller = str(gate.admin(context))
        ref = parse_ref(request.ref)
        rule = self._rule(request.rule, ref.model, caller)
        await asyncio.to_thread(self._catalog.models.release, ref)  # raises, and names what comes nearest
        return pb.PromoteIfResponse(judgement=self._told(await asyncio.to_thread(self._catalog.rules.once, rule, ref)))

    @answering
    async def SetRule(self, request: pb.SetRuleRequest, context: Context) -> pb.SetRuleResponse:  # noqa: N802
        """Keeps a rule. Raises NotFoundError, BadInputError and its kind."""
        caller = str(gate.admin(context))
        rule = self._rule(request.rule, parse_model(request.rule.model), caller)
        if rule.candidates == rule.channel:
            raise BadInputError(
                f"{rule.model}@{rule.channel} would be compared with itself",
                hint="name another channel whose release is judged, or none for the newest release",
            )
        await asyncio.to_thread(self._catalog.models.release, ModelRef(rule.model))
        judgement = await asyncio.to_thread(self._catalog.rules.set, rule)
        return pb.SetRuleResponse(rule=_view(rule), judgement=self._told(judgement))

    @answering
    async def RemoveRule(self, request: pb.RemoveRuleRequest, context: Context) -> pb.RemoveRuleResponse:  # noqa: N802
        """Ends a rule. Raises NotFoundError, InvalidNameError."""
        gate.admin(context)
        model, channel = parse_model(request.model), parse_channel(request.channel)
        return pb.RemoveRuleResponse(rule=_view(await asyncio.to_thread(self._catalog.rules.remove, model, channel)))

    @answering
    async def ListRules(self, request: pb.ListRulesRequest, context: Context) -> pb.ListRulesResponse:  # noqa: N802
        """Rules by model and channel. Raises InvalidNameError."""
        gate.admin(context)
        model = parse_model(request.model) if request.model else None
        return pb.ListRulesResponse(rules=map(_view, await asyncio.to_thread(self._catalog.rules.list, model)))

    def _rule(self, said: pb.Rule, model: ModelName, who: str) -> RuleRow:
        """Raises BadInputError, InvalidNameError, LimitError."""
        now = self._clock()
        if not comparisons(parse_rule(said.condition, now)):
            raise BadInputError("the rule says nothing", hint="as in 'metrics.precision >= current.precision + 0.01'")
        words = (said.dataset, said.stage, said.variant)
        if max(map(len, words)) > LIMITS.label_chars:
            raise LimitError(f"data set, stage and variant of a rule have at most {LIMITS.label_chars} characters")
        if len(said.note) > LIMITS.note_chars:
            raise LimitError(f"a note may have {LIMITS.note_chars} characters, not {len(said.note)}")
        candidates = parse_channel(said.candidates) if said.candidates else ""
        return RuleRow(
            model, parse_channel(said.channel), candidates, said.condition, Counted(*words), who, now, said.note
        )

    def _told(self, judgement: Judgement) -> pb.Judgement:
        if judgement.move is not None:
            self._promotion.tell(judgement.move)
        return pb.Judgement(
            outcome=_OUTCOMES[judgement.outcome],
            candidate=judgement.candidate,
            current=judgement.current,
            compared=map(_compared, judgement.compared),
            move=None if judgement.move is None else views.move_view(judgement.move),
        )


def _compared(one: Compared) -> pb.Compared:
    view = pb.Compared(field=one.field, current=one.current, number=one.number, dataset=one.dataset)
    if isinstance(one.value, str):
        view.text = one.value
    elif one.value is not None:
        view.figure = one.value
    return view


def _view(rule: RuleRow) -> pb.Rule:
    return pb.Rule(
        model=str(rule.model),
        channel=rule.channel,
        candidates=rule.candidates,
        condition=rule.condition,
        dataset=rule.counted.dataset,
        stage=rule.counted.stage,
        variant=rule.counted.variant,
        note=rule.note,
        who=rule.who,
        at=rule.at,
    )

"""The only place that shows what came of judging a candidate by a rule: which side had which value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ParamSpec

import click

from modelsyncd.ctl import shape
from modelsyncd.ctl.asked import Asked
from modelsyncd.ctl.figures import utc
from modelsyncd.ctl.hub import connect
from modelsyncd.ctl.numbers import value
from modelsyncd.ctl.table import Column, table
from modelsyncd.wire.v1 import rules_pb2 as pb

_COLUMNS = (Column("OF"), Column("RELEASE", right=True), Column("WHAT"), Column("VALUE", right=True), Column("ON"))
_METRIC = "metrics."
Judgement = pb.Judgement

P = ParamSpec("P")


def counted(verb: Callable[P, None]) -> Callable[P, None]:
    """Adds the options that say which numbers count."""
    for option in (
        click.option("--variant", default="", metavar="NAME", help="Only numbers about this form of releases count."),
        click.option("--stage", default="", metavar="WORD", help="Only numbers of this stage count: eval, deploy, …"),
        click.option("--dataset", default="", metavar="NAME", help="Only numbers that were measured on this count."),
    ):
        verb = option(verb)
    return verb


async def keep(asked: Asked, wanted: pb.Rule) -> None:
    """Has the hub keep a rule, and says what it did at once."""
    async with connect(asked) as hub:
        answer = await hub.ask(hub.rules.SetRule, pb.SetRuleRequest(rule=wanted))
    candidates = f"{wanted.model}@{wanted.candidates}" if wanted.candidates else f"the newest release of {wanted.model}"
    kept = (
        f"From now on {wanted.model}@{wanted.channel} follows {candidates} whenever {wanted.condition}\n"
        f"No more: modelsyncctl rule remove {wanted.model} {wanted.channel}"
    )
    document = {"rule": rule(answer.rule), **describe(answer.judgement)}
    asked.answer(document, f"{kept}\nNow: {text(answer.rule, answer.judgement)}")


def rule(view: pb.Rule) -> shape.Shape:
    """For programs."""
    return {
        "model": view.model,
        "channel": view.channel,
        "candidates": view.candidates or None,
        "if": view.condition,
        "dataset": view.dataset or None,
        "stage": view.stage or None,
        "variant": view.variant or None,
        "note": view.note,
        "who": view.who,
        "at": utc(view.at),
    }


def describe(judgement: Judgement) -> shape.Shape:
    """For programs."""
    return {
        "outcome": Judgement.Outcome.Name(judgement.outcome).removeprefix("OUTCOME_").lower(),
        "candidate": judgement.candidate or None,
        "current": judgement.current or None,
        "compared": [
            {
                "field": one.field,
                "of": "current" if one.current else "candidate",
                "number": one.number or None,
                "value": _value(one),
                "dataset": one.dataset or None,
            }
            for one in judgement.compared
        ],
        "move": shape.move(judgement.move) if judgement.HasField("move") else None,
    }


def _value(one: pb.Compared) -> float | str | None:
    match one.WhichOneof("value"):
        case "figure":
            return one.figure
        case "text":
            return one.text
        case _:
            return None


def text(asked: pb.Rule, judgement: Judgement) -> str:
    """For people: what became of the channel, why, and what was compared."""
    compared = [table(_COLUMNS, [_row(one) for one in judgement.compared])] if judgement.compared else []
    return "\n".join([_sentence(asked, judgement), *_advice(asked, judgement), *compared])


def _sentence(asked: pb.Rule, judgement: Judgement) -> str:
    where = f"{asked.model}@{asked.channel}"
    stays = f"{where} stays at release {judgement.current}" if judgement.current else f"{where} still names nothing"
    match judgement.outcome:
        case Judgement.OUTCOME_MOVED:
            before = f" (before: {judgement.current})" if judgement.current else ""
            return f"{where} now names release {judgement.candidate}{before}: {asked.condition}"
        case Judgement.OUTCOME_THERE:
            return f"{where} names release {judgement.candidate} already."
        case Judgement.OUTCOME_OLD:
            return f"{stays}: release {judgement.candidate} is not newer than all that it has named."
        case Judgement.OUTCOME_FAILS:
            return f"{stays}: it does not hold that {asked.condition}"
        case Judgement.OUTCOME_UNKNOWN:
            return f"{stays}: a value is missing to tell whether {asked.condition}"
        case _:
            return f"{stays}: there is no candidate yet."


def _advice(asked: pb.Rule, judgement: Judgement) -> Sequence[str]:
    if judgement.outcome == Judgement.OUTCOME_MOVED and judgement.current:
        return [f"Back again: modelsyncctl rollback {asked.model} {asked.channel}"]
    if judgement.outcome != Judgement.OUTCOME_UNKNOWN:
        return []
    missing = [one for one in judgement.compared if one.WhichOneof("value") is None]
    if any(one.current and not one.number for one in missing):
        first = f"modelsyncctl promote {asked.model}:{judgement.candidate} {asked.channel}"
        return [f"There is nothing to compare with. Its first release: {first}"]
    releases = {one.number for one in missing if one.field.startswith(_METRIC)}
    return [f"What was measured: modelsyncctl metrics {asked.model}:{number}" for number in sorted(releases)]


def _row(one: pb.Compared) -> list[str]:
    found = _value(one)
    return [
        "current" if one.current else "candidate",
        f":{one.number}" if one.number else "-",
        one.field.removeprefix(_METRIC),
        "unknown" if found is None else found if isinstance(found, str) else value(found),
        one.dataset or "-",
    ]

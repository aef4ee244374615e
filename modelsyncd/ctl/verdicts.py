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
Verdict = pb.Verdict

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
    document = {"rule": rule(answer.rule), **describe(answer.verdict)}
    asked.answer(document, f"{kept}\nNow: {text(answer.rule, answer.verdict)}")


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


def describe(verdict: Verdict) -> shape.Shape:
    """For programs."""
    return {
        "outcome": Verdict.Outcome.Name(verdict.outcome).removeprefix("OUTCOME_").lower(),
        "candidate": verdict.candidate or None,
        "current": verdict.current or None,
        "compared": [
            {
                "field": one.field,
                "of": "current" if one.current else "candidate",
                "number": one.number or None,
                "value": _value(one),
                "dataset": one.dataset or None,
            }
            for one in verdict.compared
        ],
        "move": shape.move(verdict.move) if verdict.HasField("move") else None,
    }


def _value(one: pb.Compared) -> float | str | None:
    match one.WhichOneof("value"):
        case "figure":
            return one.figure
        case "text":
            return one.text
        case _:
            return None


def text(asked: pb.Rule, verdict: Verdict) -> str:
    """For people: what became of the channel, why, and what was compared."""
    compared = [table(_COLUMNS, [_row(one) for one in verdict.compared])] if verdict.compared else []
    return "\n".join([_sentence(asked, verdict), *_advice(asked, verdict), *compared])


def _sentence(asked: pb.Rule, verdict: Verdict) -> str:
    where = f"{asked.model}@{asked.channel}"
    stays = f"{where} stays at release {verdict.current}" if verdict.current else f"{where} still names nothing"
    match verdict.outcome:
        case Verdict.OUTCOME_MOVED:
            before = f" (before: {verdict.current})" if verdict.current else ""
            return f"{where} now names release {verdict.candidate}{before}: {asked.condition}"
        case Verdict.OUTCOME_THERE:
            return f"{where} names release {verdict.candidate} already."
        case Verdict.OUTCOME_OLD:
            return f"{stays}: release {verdict.candidate} is not newer than all that it has named."
        case Verdict.OUTCOME_FAILS:
            return f"{stays}: it does not hold that {asked.condition}"
        case Verdict.OUTCOME_UNKNOWN:
            return f"{stays}: a value is missing to tell whether {asked.condition}"
        case _:
            return f"{stays}: there is no candidate yet."


def _advice(asked: pb.Rule, verdict: Verdict) -> Sequence[str]:
    if verdict.outcome == Verdict.OUTCOME_MOVED and verdict.current:
        return [f"Back again: modelsyncctl rollback {asked.model} {asked.channel}"]
    if verdict.outcome != Verdict.OUTCOME_UNKNOWN:
        return []
    missing = [one for one in verdict.compared if one.WhichOneof("value") is None]
    if any(one.current and not one.number for one in missing):
        first = f"modelsyncctl promote {asked.model}:{verdict.candidate} {asked.channel}"
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

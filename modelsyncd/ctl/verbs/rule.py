"""`modelsyncctl rule`: channels that move by themselves when a release is better."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from modelsyncd.ctl import judgements
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.figures import moment
from modelsyncd.ctl.hub import connect
from modelsyncd.ctl.table import Column, table
from modelsyncd.errors import BadInputError
from modelsyncd.names import parse_channel, parse_model, parse_ref
from modelsyncd.wire.v1 import rules_pb2 as pb

_COLUMNS = (Column("CHANNEL"), Column("CANDIDATES"), Column("IF"), Column("COUNTS"), Column("BY"), Column("WHEN"))
_EXAMPLE = "modelsyncctl rule set acme/helmet@candidate stable --if 'metrics.precision >= current.precision + 0.01'"


@click.group("rule")
def command() -> None:
    """Have channels move by themselves when a release is better."""


@command.command("set")
@click.argument("candidates", metavar="MODEL[@CANDIDATES]")
@click.argument("channel")
@click.option("--if", "condition", required=True, metavar="CONDITION", help="When to move; docs/promotion.md says how.")
@click.option("--note", default="", help="Why, for the history of each move.")
@judgements.counted
@asked
def put(
    asked: Asked,
    *,
    candidates: str,
    channel: str,
    condition: str,
    note: str,
    dataset: str,
    stage: str,
    variant: str,
) -> None:
    """Keep a rule with a channel, in the place of the one before, and apply it.

    Judged is what the channel CANDIDATES names, or the model's newest release:

        modelsyncctl rule set acme/helmet@candidate stable --if 'metrics.precision >= current.precision + 0.01'
    """
    ref = parse_ref(candidates)
    if ref.number is not None:
        raise BadInputError(f"a rule is kept for what comes, and {ref} stays what it is", hint=f"as in {_EXAMPLE}")
    wanted = pb.Rule(
        model=str(ref.model),
        channel=parse_channel(channel),
        candidates=ref.channel or "",
        condition=condition,
        dataset=dataset,
        stage=stage,
        variant=variant,
        note=note,
    )
    asked.run(judgements.keep(asked, wanted))


@command.command("remove")
@click.argument("model")
@click.argument("channel")
@asked
def remove(asked: Asked, model: str, channel: str) -> None:
    """End a channel's rule; the channel stays where it is."""
    asked.run(_remove(asked, pb.RemoveRuleRequest(model=str(parse_model(model)), channel=parse_channel(channel))))


async def _remove(asked: Asked, request: pb.RemoveRuleRequest) -> None:
    async with connect(asked) as hub:
        ended = (await hub.ask(hub.rules.RemoveRule, request)).rule
    said = f"{ended.model}@{ended.channel} moves by itself no more. The rule was: {ended.condition}"
    asked.answer({"rule": judgements.rule(ended)}, said)


@command.command("list")
@click.argument("model", required=False)
@asked
def listed(asked: Asked, model: str | None) -> None:
    """List the rules, or a model's."""
    asked.run(_list(asked, str(parse_model(model)) if model else ""))


async def _list(asked: Asked, model: str) -> None:
    async with connect(asked) as hub:
        rules = (await hub.ask(hub.rules.ListRules, pb.ListRulesRequest(model=model))).rules
    asked.answer({"rules": [judgements.rule(one) for one in rules]}, text(rules, model, time.time()))


def text(rules: Sequence[pb.Rule], model: str, now: float) -> str:
    """For people."""
    if not rules:
        return f"No channel{f' of {model}' if model else ''} moves by itself. For example: {_EXAMPLE}"
    rows = [
        [
            f"{one.model}@{one.channel}",
            f"@{one.candidates}" if one.candidates else "newest release",
            one.condition,
            _counts(one),
            one.who,
            moment(one.at, now),
        ]
        for one in rules
    ]
    return table(_COLUMNS, rows)


def _counts(one: pb.Rule) -> str:
    """Which numbers."""
    said = {"on": one.dataset, "stage": one.stage, "variant": one.variant}
    return ", ".join(f"{name} {value}" for name, value in said.items() if value) or "all"

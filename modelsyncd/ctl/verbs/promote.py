"""`modelsyncctl promote`: a channel moves to a release, or does if that is better, and who follows it moves with it."""

from __future__ import annotations

import click

from modelsyncd.ctl import judgements, shape
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.hub import connect
from modelsyncd.errors import BadInputError, ConflictError
from modelsyncd.names import ModelRef, parse_channel, parse_ref
from modelsyncd.wire.v1 import catalog_pb2 as pb
from modelsyncd.wire.v1 import rules_pb2

_DONE = (rules_pb2.Judgement.OUTCOME_MOVED, rules_pb2.Judgement.OUTCOME_THERE)


@click.command("promote")
@click.argument("release", metavar="MODEL:NUMBER")
@click.argument("channel")
@click.option("--note", default="", help="Why, for the history.")
@click.option(
    "--if", "condition", metavar="CONDITION", help="Only if this holds of the release, beside the current one."
)
@click.option("--keep", is_flag=True, help="Keep the condition with the channel, as `rule set` does.")
@judgements.counted
@asked
def command(
    asked: Asked,
    *,
    release: str,
    channel: str,
    note: str,
    condition: str | None,
    keep: bool,
    dataset: str,
    stage: str,
    variant: str,
) -> None:
    """Move a channel to a release.

    Instead of a number, another channel may be named: acme/helmet@canary. With a condition, the release must be better:

        modelsyncctl promote acme/helmet@canary stable --if 'metrics.precision >= current.precision + 0.01'

    Ends with 5 when the channel stays where it is.
    """
    ref = parse_ref(release)
    if condition is None:
        if keep or dataset or stage or variant:
            raise BadInputError("--keep, --dataset, --stage and --variant belong to a condition", hint="add --if '…'")
        _check_names_one(ref, channel)
        asked.run(_promote(asked, ref, parse_channel(channel), note))
        return
    rule = rules_pb2.Rule(
        model=str(ref.model),
        channel=parse_channel(channel),
        condition=condition,
        dataset=dataset,
        stage=stage,
        variant=variant,
        note=note,
    )
    if keep:
        if ref.number is not None:
            raise BadInputError(
                f"a rule is kept for what comes, and {ref} stays what it is",
                hint=f"name a channel, as in {ref.model}@candidate, or {ref.model} for its newest release",
            )
        rule.candidates = ref.channel or ""
        asked.run(judgements.keep(asked, rule))
        return
    _check_names_one(ref, channel)
    asked.run(_promote_if(asked, ref, rule))


def _check_names_one(ref: ModelRef, channel: str) -> None:
    if ref.channel is None and ref.number is None:
        raise BadInputError(f"which release of {ref.model}?", hint=f"modelsyncctl promote {ref.model}:NUMBER {channel}")


async def _promote(asked: Asked, ref: ModelRef, channel: str, note: str) -> None:
    async with connect(asked) as hub:
        answer = await hub.ask(hub.catalog.Promote, pb.PromoteRequest(ref=str(ref), channel=channel, note=note))
    asked.answer({"model": str(ref.model), "move": shape.move(answer.move)}, text(str(ref.model), answer.move))


async def _promote_if(asked: Asked, ref: ModelRef, rule: rules_pb2.Rule) -> None:
    async with connect(asked) as hub:
        answer = await hub.ask(hub.rules.PromoteIf, rules_pb2.PromoteIfRequest(ref=str(ref), rule=rule))
    document = {
        "model": rule.model,
        "channel": rule.channel,
        "if": rule.condition,
        **judgements.describe(answer.judgement),
    }
    asked.answer(document, judgements.text(rule, answer.judgement))
    if answer.judgement.outcome not in _DONE:
        click.get_current_context().exit(ConflictError.exit_code)


def text(model: str, move: pb.Move) -> str:
    """For people."""
    where = f"{model}@{move.channel}"
    if move.from_number == move.to_number:
        return f"{where} names release {move.to_number} already."
    before = f" (before: {move.from_number})" if move.from_number else ""
    back = f"\nBack again: modelsyncctl rollback {model} {move.channel}" if move.from_number else ""
    return f"{where} now names release {move.to_number}{before}.\nWho follows it: modelsyncctl status{back}"

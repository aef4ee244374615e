"""`modelsyncctl retain`: which releases are kept; `modelsyncctl gc` removes the others."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from modelsyncd.ages import parse_age
from modelsyncd.ctl import shape
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.figures import duration, moment, utc
from modelsyncd.ctl.hub import connect
from modelsyncd.ctl.table import Column, table
from modelsyncd.errors import BadInputError
from modelsyncd.wire.v1 import retention_pb2 as pb

_COLUMNS = (Column("MODELS"), Column("KEEPS"), Column("BY"), Column("WHEN"), Column("NOTE"))
_EXAMPLE = "modelsyncctl retain set 'acme/*' --newest 5 --age 30d"


@click.group("retain")
def command() -> None:
    """Say which releases are kept; gc removes the others."""


@command.command("set")
@click.argument("models", metavar="MODELS")
@click.option("--newest", type=click.IntRange(min=1), metavar="N", help="Keep so many of each model's newest releases.")
@click.option("--age", metavar="AGE", help="Keep what is younger, as in 12h, 30d or 8w.")
@click.option("--all", "everything", is_flag=True, help="Keep everything, whatever a wider rule says.")
@click.option("--note", default="", help="Why, for whoever asks later.")
@asked
def put(asked: Asked, *, models: str, newest: int | None, age: str | None, everything: bool, note: str) -> None:
    """Keep a rule for a model, or for all whose names begin alike.

    A release stays when the rule keeps it by its place or by its age. Whatever the rule says, these stay: a model's
    newest release, what a channel names or would go back to, what is pinned, what a node runs or fetches, and what a
    release that stays came from:

        modelsyncctl retain set 'acme/*' --newest 5 --age 30d
    """
    if everything == (newest is not None or age is not None):
        raise BadInputError("say what is kept: --newest, --age or both; or --all", hint=f"as in {_EXAMPLE}")
    wanted = pb.Retention(models=models, newest=newest, seconds=None if age is None else parse_age(age), note=note)
    asked.run(_set(asked, wanted))


async def _set(asked: Asked, wanted: pb.Retention) -> None:
    async with connect(asked) as hub:
        kept = (await hub.ask(hub.retention.SetRetention, pb.SetRetentionRequest(retention=wanted))).retention
    said = f"Of {kept.models} is kept: {keeps(kept)}.\nWhat that lets go: modelsyncctl gc --dry-run"
    asked.answer({"retention": _shape(kept)}, said)


@command.command("remove")
@click.argument("models", metavar="MODELS")
@asked
def remove(asked: Asked, models: str) -> None:
    """End a rule; what no rule covers is kept."""
    asked.run(_remove(asked, models))


async def _remove(asked: Asked, models: str) -> None:
    async with connect(asked) as hub:
        answer = await hub.ask(hub.retention.RemoveRetention, pb.RemoveRetentionRequest(models=models))
    ended = answer.retention
    asked.answer({"retention": _shape(ended)}, f"The rule for {ended.models} ended. It kept: {keeps(ended)}")


@command.command("list")
@asked
def listed(asked: Asked) -> None:
    """List the rules."""
    asked.run(_list(asked))


async def _list(asked: Asked) -> None:
    async with connect(asked) as hub:
        rules = (await hub.ask(hub.retention.ListRetentions, pb.ListRetentionsRequest())).retentions
    asked.answer({"retentions": [_shape(one) for one in rules]}, text(rules, time.time()))


def text(rules: Sequence[pb.Retention], now: float) -> str:
    """For people."""
    if not rules:
        return f"Everything is kept: there is no rule. For example: {_EXAMPLE}"
    return table(_COLUMNS, [[one.models, keeps(one), one.who, moment(one.at, now), one.note] for one in rules])


def keeps(one: pb.Retention) -> str:
    """What a rule keeps."""
    said = [f"the newest {one.newest}"] if one.HasField("newest") else []
    said += [f"what is younger than {duration(one.seconds)}"] if one.HasField("seconds") else []
    return " and ".join(said) or "everything"


def _shape(one: pb.Retention) -> shape.Shape:
    return {
        "models": one.models,
        "newest": one.newest if one.HasField("newest") else None,
        "seconds": one.seconds if one.HasField("seconds") else None,
        "note": one.note,
        "who": one.who,
        "at": utc(one.at),
    }

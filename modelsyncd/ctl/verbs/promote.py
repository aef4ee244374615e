"""`modelsyncctl promote`: a channel moves to a release, and every node that follows it with it."""

from __future__ import annotations

import click

from modelsyncd.ctl import shape
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.hub import connect
from modelsyncd.errors import BadInputError
from modelsyncd.names import ModelRef, parse_channel, parse_ref
from modelsyncd.wire.v1 import catalog_pb2 as pb


@click.command("promote")
@click.argument("release", metavar="MODEL:NUMBER")
@click.argument("channel")
@click.option("--note", default="", help="Why, for the history.")
@asked
def command(asked: Asked, release: str, channel: str, note: str) -> None:
    """Move a channel to a release.

    Instead of a number, another channel may be named: acme/helmet@canary.
    """
    ref = parse_ref(release)
    if ref.channel is None and ref.number is None:
        raise BadInputError(f"which release of {ref.model}?", hint=f"modelsyncctl promote {ref.model}:NUMBER {channel}")
    asked.run(_promote(asked, ref, parse_channel(channel), note))


async def _promote(asked: Asked, ref: ModelRef, channel: str, note: str) -> None:
    async with connect(asked) as hub:
        answer = await hub.ask(hub.catalog.Promote, pb.PromoteRequest(ref=str(ref), channel=channel, note=note))
    asked.answer({"model": str(ref.model), "move": shape.move(answer.move)}, text(str(ref.model), answer.move))


def text(model: str, move: pb.Move) -> str:
    """For people."""
    where = f"{model}@{move.channel}"
    if move.from_number == move.to_number:
        return f"{where} names release {move.to_number} already."
    before = f" (before: {move.from_number})" if move.from_number else ""
    back = f"\nBack again: modelsyncctl rollback {model} {move.channel}" if move.from_number else ""
    return f"{where} now names release {move.to_number}{before}.\nWho follows it: modelsyncctl status{back}"

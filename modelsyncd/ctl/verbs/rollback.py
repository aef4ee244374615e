"""`modelsyncctl rollback`: a channel moves back to the release that it named before."""

from __future__ import annotations

import click

from modelsyncd.ctl import shape
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.hub import connect
from modelsyncd.names import DEFAULT_CHANNEL, ModelName, parse_channel, parse_model
from modelsyncd.wire.v1 import catalog_pb2 as pb


@click.command("rollback")
@click.argument("model")
@click.argument("channel", default=DEFAULT_CHANNEL)
@click.option("--note", default="", help="Why, for the history.")
@asked
def command(asked: Asked, model: str, channel: str, note: str) -> None:
    """Move a channel back to the release that it named before.

    CHANNEL is "stable" when it is left out. Nodes that still hold the release switch back without a byte travelling.
    """
    asked.run(_rollback(asked, parse_model(model), parse_channel(channel), note))


async def _rollback(asked: Asked, model: ModelName, channel: str, note: str) -> None:
    # The one request that must not be blindly repeated: a second rollback goes one release further back.
    unsure = f"it may have been done: `modelsyncctl history {model}` tells, before you ask again"
    async with connect(asked) as hub:
        request = pb.RollbackRequest(model=str(model), channel=channel, note=note)
        answer = await hub.ask(hub.catalog.Rollback, request, unsure=unsure)
    asked.answer({"model": str(model), "move": shape.move(answer.move)}, text(str(model), answer.move))


def text(model: str, move: pb.Move) -> str:
    """For people."""
    return (
        f"{model}@{move.channel} names release {move.to_number} again (before: {move.from_number}).\n"
        f"Forward again: modelsyncctl promote {model}:{move.from_number} {move.channel}"
    )

"""`modelsyncctl unassign`: nodes stop following a model's channel."""

from __future__ import annotations

import click

from modelsyncd.ctl import shape
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.hub import connect
from modelsyncd.ctl.target import assignment, target_options, whom
from modelsyncd.wire.v1 import catalog_pb2 as pb


@click.command("unassign")
@click.argument("channel", metavar="MODEL[@CHANNEL]")
@target_options
@asked
def command(asked: Asked, channel: str, node: str | None, selector: tuple[str, ...]) -> None:
    """End an assignment.

    Name it as it was made. The channel's path vanishes from the nodes; versions stay there for a while as seeds.
    """
    asked.run(_unassign(asked, assignment(channel, node, selector)))


async def _unassign(asked: Asked, ended: pb.AssignmentView) -> None:
    async with connect(asked) as hub:
        answer = await hub.ask(hub.catalog.Unassign, pb.UnassignRequest(assignment=ended))
    asked.answer({"assignment": shape.assignment(answer.assignment)}, text(answer.assignment))


def text(ended: pb.AssignmentView) -> str:
    """For people."""
    return f"{whom(ended).capitalize()} no longer follows {ended.model}@{ended.channel}."

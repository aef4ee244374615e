"""`modelsyncctl assign`: nodes follow a model's channel from now on."""

from __future__ import annotations

import click

from modelsyncd.ctl import shape
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.figures import count
from modelsyncd.ctl.hub import connect
from modelsyncd.ctl.target import assignment, target_options, whom
from modelsyncd.wire.v1 import catalog_pb2 as pb


@click.command("assign")
@click.argument("channel", metavar="MODEL[@CHANNEL]")
@target_options
@click.option("--priority", type=click.IntRange(-1000, 1000), default=0, help="Higher is fetched first.")
@asked
def command(asked: Asked, channel: str, node: str | None, selector: tuple[str, ...], priority: int) -> None:
    """Make nodes follow a model's channel.

    Without @CHANNEL it is "stable". Whatever the channel names, now and later, is fetched and activated there.
    """
    asked.run(_assign(asked, assignment(channel, node, selector, priority)))


async def _assign(asked: Asked, wanted: pb.AssignmentView) -> None:
    async with connect(asked) as hub:
        answer = await hub.ask(hub.catalog.Assign, pb.AssignRequest(assignment=wanted))
    document = {"assignment": shape.assignment(answer.assignment), "created": answer.created}
    asked.answer(document, text(answer))


def text(answer: pb.AssignResponse) -> str:
    """For people."""
    made = answer.assignment
    verb = "now follows" if answer.created else "follows already"
    reached = count(len(made.nodes), "node") if made.nodes else "no node yet"
    return f"{whom(made).capitalize()} {verb} {made.model}@{made.channel}: {reached}.\nSee: modelsyncctl status"

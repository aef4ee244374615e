"""`modelsyncctl retry`: nodes try again a version that failed there."""

from __future__ import annotations

import click

from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.figures import count
from modelsyncd.ctl.hub import connect
from modelsyncd.ctl.limits import note_option
from modelsyncd.ctl.whom import Named
from modelsyncd.errors import BadInputError
from modelsyncd.names import DEFAULT_CHANNEL, parse_ref
from modelsyncd.wire.v1 import limits_pb2 as pb


@click.command("retry")
@click.argument("channel", metavar="MODEL[@CHANNEL]")
@click.option("--selector", "-l", multiple=True, metavar="K=V", help="Every node with this label; repeatable.")
@click.option("--node", "-n", metavar="NAME", help="One node.")
@note_option
@asked
def command(asked: Asked, channel: str, node: str | None, selector: tuple[str, ...], note: str) -> None:
    """Have nodes try again what failed there.

    A version that did not prove itself on a node is not tried there again by itself. Without --node or --selector it is
    for every node that follows the channel; where nothing failed, nothing happens.
    """
    ref = parse_ref(channel)
    if ref.number is not None:
        raise BadInputError(
            f"nodes follow channels, not numbers like {ref.number}", hint=f"modelsyncctl retry {ref.model}@CHANNEL"
        )
    named = Named(node, selector, everyone=not (node or selector))
    lane = f"{ref.model}@{ref.channel or DEFAULT_CHANNEL}"
    asked.run(_retry(asked, pb.RetryVersionRequest(whom=named.whom, ref=lane, note=note)))


async def _retry(asked: Asked, request: pb.RetryVersionRequest) -> None:
    async with connect(asked) as hub:
        answer = await hub.ask(hub.limits.RetryVersion, request)
    asked.answer({"channel": request.ref, "nodes": list(answer.nodes)}, text(request, answer))


def text(request: pb.RetryVersionRequest, answer: pb.RetryVersionResponse) -> str:
    """For people."""
    nodes = count(len(answer.nodes), "node")
    return f"{nodes} will try {request.ref} again, if it failed there.\nSee: modelsyncctl status"

"""`modelsyncctl disallow`: nodes may no longer publish releases of some models."""

from __future__ import annotations

import click

from modelsyncd.ctl import shape, whom
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.hub import connect
from modelsyncd.ctl.verbs.allow import split
from modelsyncd.ctl.whom import Named
from modelsyncd.errors import BadInputError
from modelsyncd.wire.v1 import rights_pb2 as pb


@click.command("disallow")
@click.argument("names", metavar="[NODE] MODELS", nargs=-1)
@click.option("--selector", "-l", multiple=True, metavar="K=V", help="Every node with this label; repeatable.")
@click.option("--all", "everyone", is_flag=True, help="Every node.")
@asked
def command(asked: Asked, names: tuple[str, ...], selector: tuple[str, ...], *, everyone: bool) -> None:
    """Take back a right to publish.

    Name it as it was allowed. What was published stays; what is on its way is refused.
    """
    node, models = split(names)
    if models is None:
        raise BadInputError("it is not said which models", hint="what is allowed: modelsyncctl allow")
    asked.run(_disallow(asked, pb.DisallowRequest(whom=Named(node, selector, everyone).whom, models=models)))


async def _disallow(asked: Asked, request: pb.DisallowRequest) -> None:
    async with connect(asked) as hub:
        await hub.ask(hub.rights.Disallow, request)
    asked.answer(describe(request), text(request))


def describe(request: pb.DisallowRequest) -> shape.Shape:
    """For programs."""
    return {
        "node": request.whom.node or None,
        "selector": dict(request.whom.selector),
        "models": request.models,
    }


def text(request: pb.DisallowRequest) -> str:
    """For people."""
    who = whom.words(request.whom)
    return f"{who[0].upper()}{who[1:]} may no longer publish {request.models} by that right."

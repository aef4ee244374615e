"""`modelsyncctl allow`: nodes may publish releases of some models; without one, what is allowed."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from modelsyncd.ctl import limits, shape, whom
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.figures import moment, utc
from modelsyncd.ctl.hub import connect
from modelsyncd.ctl.table import Column, table
from modelsyncd.ctl.whom import Named
from modelsyncd.errors import BadInputError
from modelsyncd.wire.v1 import rights_pb2 as pb

_COLUMNS = (
    Column("MODELS"),
    Column("CHANNELS"),
    Column("WHO MAY PUBLISH"),
    Column("NODES", right=True),
    Column("BY"),
    Column("WHEN"),
)
_USE = "as in: modelsyncctl allow NODE 'acme/*', or modelsyncctl allow --selector site=oslo acme/helmet"


@click.command("allow")
@click.argument("names", metavar="[NODE] [MODELS]", nargs=-1)
@click.option("--selector", "-l", multiple=True, metavar="K=V", help="Every node with this label; repeatable.")
@click.option("--all", "everyone", is_flag=True, help="Every node.")
@click.option(
    *("--channel", "channels"),
    multiple=True,
    metavar="C",
    help="A channel of these models that the nodes may move, or a pattern; repeatable.",
)
@asked
def command(
    asked: Asked, *, names: tuple[str, ...], selector: tuple[str, ...], everyone: bool, channels: tuple[str, ...]
) -> None:
    """Let nodes publish releases of some models; without models, list what is allowed.

    MODELS is a name, or the beginning of names with a * behind it: acme/helmet, 'acme/helmet-*', 'acme/*'. Given again,
    the channels replace those of before.
    """
    node, models = split(names)
    named = Named(node, selector, everyone)
    if models is None:
        if channels:
            raise BadInputError("it is not said which models may be published", hint=_USE)
        asked.run(_list(asked, named.only_node(f"which models? {_USE}")))
        return
    asked.run(_allow(asked, pb.RightView(whom=named.whom, models=models, channels=channels)))


def split(names: Sequence[str]) -> tuple[str | None, str | None]:
    """The node and the models that were typed, either of which may be absent. Raises BadInputError."""
    nodes = [name for name in names if "/" not in name]
    models = [name for name in names if "/" in name]
    if len(nodes) > 1 or len(models) > 1:
        several = "patterns of models" if len(models) > 1 else "nodes"
        raise BadInputError(f"two {several} are named, and one is meant", hint=_USE)
    return (nodes[0] if nodes else None), (models[0] if models else None)


async def _allow(asked: Asked, wanted: pb.RightView) -> None:
    async with connect(asked) as hub:
        answer = await hub.ask(hub.rights.Allow, pb.AllowRequest(right=wanted))
    asked.answer({"right": describe(answer.right)}, text(answer.right))


def describe(right: pb.RightView) -> shape.Shape:
    """For programs."""
    return {
        "node": right.whom.node or None,
        "selector": dict(right.whom.selector),
        "models": right.models,
        "channels": list(right.channels),
        "who": right.who,
        "at": utc(right.at),
        "nodes": list(right.nodes),
    }


def text(right: pb.RightView) -> str:
    """For people."""
    who = whom.words(right.whom)
    moves = f" and move {', '.join(right.channels)}" if right.channels else ""
    lines = [f"{who[0].upper()}{who[1:]} may publish {right.models}{moves} ({limits.reached(right.nodes)})."]
    if not right.channels:
        lines.append("It moves no channel: --channel C allows that.")
    return "\n".join(lines)


async def _list(asked: Asked, node: str) -> None:
    async with connect(asked) as hub:
        rights = (await hub.ask(hub.rights.ListRights, pb.ListRightsRequest(node=node))).rights
    asked.answer({"rights": [describe(one) for one in rights]}, list_text(rights, node, time.time()))


def list_text(rights: Sequence[pb.RightView], node: str, now: float) -> str:
    """For people."""
    if not rights:
        who = f"Node {node} may publish nothing" if node else "No node may publish anything"
        return f"{who}. For example: modelsyncctl allow {node or 'edge-1'} 'acme/*'"
    rows = [
        [
            one.models,
            ", ".join(one.channels) or "-",
            whom.words(one.whom),
            str(len(one.nodes)),
            one.who,
            moment(one.at, now),
        ]
        for one in rights
    ]
    return table(_COLUMNS, rows)

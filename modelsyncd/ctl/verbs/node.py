"""`modelsyncctl node`: let nodes in, see them, label them, shut them out."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from modelsyncd.ctl import outboxes, pairs, shape, standing
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.figures import ago, duration, local, moment, size, utc
from modelsyncd.ctl.figures import pairs as shown
from modelsyncd.ctl.hub import connect
from modelsyncd.ctl.table import Cell, Column, fields, table
from modelsyncd.escapes import plain
from modelsyncd.names import parse_node
from modelsyncd.wire.v1 import catalog_pb2 as pb

_COLUMNS = (Column("NODE"), Column("LINK"), Column("LAST SEEN"), Column("LABELS"), Column("SOFTWARE"))
_DAY = 24 * 3600


@click.group("node")
def command() -> None:
    """Invite, list, show, label and remove nodes."""


@command.command("invite")
@click.argument("name")
@click.option("--label", "labels", multiple=True, metavar="K=V", help="A label that the node gets; repeatable.")
@click.option(
    "--hours",
    type=click.FloatRange(min=0, min_open=True, max=24 * 365),
    default=24.0,
    show_default=True,
    help="How long the invite is good for.",
)
@asked
def invite(asked: Asked, name: str, labels: tuple[str, ...], hours: float) -> None:
    """Print a single-use token that lets one node in.

    The token is a secret and is shown once.
    """
    request = pb.InviteNodeRequest(
        name=parse_node(name), labels=pairs.labels(labels), ttl_seconds=max(1, round(hours * 3600))
    )
    asked.run(_invite(asked, request), interrupted="If an invite was made, it expires unused.")


async def _invite(asked: Asked, request: pb.InviteNodeRequest) -> None:
    unsure = "if an invite was made and lost, it expires unused; asking again makes another"
    async with connect(asked) as hub:
        answer = await hub.ask(hub.catalog.InviteNode, request, unsure=unsure)
        address = hub.address
    document = {"name": request.name, "token": answer.token, "expires_at": utc(answer.expires_at), "hub": address}
    asked.note(
        f"An invite for {request.name}, good once, until {local(answer.expires_at)}"
        f" ({duration(request.ttl_seconds)}). On the node:\n"
        f"  modelsync-agent run --data FOLDER --hub {address} --invite TOKEN\n"
    )
    asked.answer(document, answer.token)


@command.command("list")
@click.option("--selector", "-l", multiple=True, metavar="K=V", help="Only nodes with this label; repeatable.")
@asked
def list_nodes(asked: Asked, selector: tuple[str, ...]) -> None:
    """List nodes."""
    asked.run(_list(asked, pairs.labels(selector)))


async def _list(asked: Asked, selector: dict[str, str]) -> None:
    async with connect(asked) as hub:
        answer = await hub.ask(hub.catalog.ListNodes, pb.ListNodesRequest(selector=selector))
    asked.answer({"nodes": [shape.node(node) for node in answer.nodes]}, nodes_text(answer.nodes, time.time()))


def nodes_text(nodes: Sequence[pb.NodeView], now: float) -> str:
    """For people."""
    if not nodes:
        return "No nodes. Let one in: modelsyncctl node invite NAME"
    return table(
        _COLUMNS,
        [
            [node.name, link(node), ago(node.last_seen, now), shown(dict(node.labels)), node.software or "-"]
            for node in nodes
        ],
    )


def link(node: pb.NodeView) -> Cell:
    """Whether a node is in a session with the hub."""
    if node.online:
        return Cell("online", "green")
    return Cell("offline", "yellow") if node.enrolled_at else Cell("invited", "cyan")


@command.command("show")
@click.argument("name")
@asked
def show(asked: Asked, name: str) -> None:
    """Show one node and where everything stands on it."""
    asked.run(_show(asked, parse_node(name)))


async def _show(asked: Asked, name: str) -> None:
    async with connect(asked) as hub:
        answer = await hub.ask(hub.catalog.GetNode, pb.GetNodeRequest(name=name))
        following = await hub.ask(hub.catalog.ListAssignments, pb.ListAssignmentsRequest(node=name))
    document = shape.node(answer.node) | {
        "assignments": [shape.assignment(assignment) for assignment in following.assignments]
    }
    document["outbox"] = outboxes.document(answer.node)
    asked.answer(document, node_text(answer.node, following.assignments, time.time()))


def node_text(node: pb.NodeView, following: Sequence[pb.AssignmentView], now: float) -> str:
    """For people."""
    known = [
        ("node", node.name),
        ("link", link(node).text),
        ("last seen", moment(node.last_seen, now)),
        ("enrolled", moment(node.enrolled_at, now)),
        ("labels", shown(dict(node.labels))),
        *((f"fact {fact.name}", ", ".join(map(plain, fact.values))) for fact in node.facts),
        ("software", node.software or "-"),
        ("follows", ", ".join(sorted({f"{one.model}@{one.channel}" for one in following})) or "nothing"),
    ]
    if not node.HasField("report"):
        return fields([*known, ("report", "none yet")])
    known += [("disk free", size(node.report.disk_free)), ("disk used", size(node.report.disk_used))]
    rows = [standing.cells(one, one.desired, now) for one in node.report.standings]
    waiting = [plain(line) for line in outboxes.lines([node], now)]
    parts = [
        fields(known),
        *([table(standing.COLUMNS, rows)] if rows else []),
        *(["\n".join(waiting)] if waiting else []),
    ]
    return "\n\n".join(parts)


@command.command("label")
@click.argument("name")
@click.argument("labels", nargs=-1, metavar="[K=V]...")
@asked
def label(asked: Asked, name: str, labels: tuple[str, ...]) -> None:
    """Replace a node's labels by the ones given; none given means none.

    What the node follows, and may read, changes with them at once.
    """
    asked.run(_label(asked, pb.LabelNodeRequest(name=parse_node(name), labels=pairs.labels(labels))))


async def _label(asked: Asked, request: pb.LabelNodeRequest) -> None:
    async with connect(asked) as hub:
        answer = await hub.ask(hub.catalog.LabelNode, request)
    asked.answer(shape.node(answer.node), f"Labels of {answer.node.name}: {shown(dict(answer.node.labels))}")


@command.command("remove")
@click.argument("name")
@asked
def remove(asked: Asked, name: str) -> None:
    """Shut a node out: its certificate is refused from now on.

    What it holds stays on it and keeps serving there. Its name may be invited again.
    """
    asked.run(_remove(asked, parse_node(name)))


async def _remove(asked: Asked, name: str) -> None:
    async with connect(asked) as hub:
        answer = await hub.ask(hub.catalog.RemoveNode, pb.RemoveNodeRequest(name=name))
    asked.answer(shape.node(answer.node), f"{name} is shut out. Let it in again: modelsyncctl node invite {name}")

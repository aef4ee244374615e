"""`modelsyncctl status`: where every node stands; with --watch, again whenever something happens."""

from __future__ import annotations

import functools

import click

from modelsyncd.ctl import outboxes, shape, standing
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.figures import ago, count, utc
from modelsyncd.ctl.fleet import Place
from modelsyncd.ctl.hub import connect
from modelsyncd.ctl.looking import Fleet, follow, look
from modelsyncd.ctl.retry import insist
from modelsyncd.ctl.table import Column, Row, table
from modelsyncd.ctl.verbs.node import link
from modelsyncd.escapes import plain
from modelsyncd.names import parse_model, parse_node
from modelsyncd.session.frames import Phase
from modelsyncd.wire.v1 import sync_pb2

_COLUMNS = (Column("NODE"), Column("LINK"), Column("SEEN"), *standing.COLUMNS)


@click.command("status")
@click.option("--node", metavar="NAME", help="Only this node.")
@click.option("--model", metavar="MODEL", help="Only this model.")
@click.option("--watch", is_flag=True, help="Show it again whenever something happens, until Ctrl-C.")
@asked
def command(asked: Asked, node: str | None, model: str | None, watch: bool) -> None:
    """Show where every node stands.

    DESIRED is what the hub wants; STAGED, ACTIVE, PHASE and PROGRESS are what the node last reported.
    """
    asked.run(_status(asked, parse_node(node) if node else "", str(parse_model(model)) if model else "", watch=watch))


async def _status(asked: Asked, node: str, model: str, *, watch: bool) -> None:
    async with connect(asked) as hub:
        fleet = await look(hub, node, model)
        if not watch:
            asked.answer(describe(fleet), text(fleet))
            return
        _repaint(asked, fleet)
        show = functools.partial(_repaint, asked)
        await insist(lambda: follow(hub, node, model, show), retry=True, note=asked.note)


def _repaint(asked: Asked, fleet: Fleet) -> None:
    asked.repaint(describe(fleet), text(fleet))


def describe(fleet: Fleet) -> dict[str, object]:
    """For programs."""
    return {
        "at": utc(fleet.at),
        "settled": all(place.settled for place in fleet.places),
        "places": [_place(place) for place in fleet.places],
        "idle": [node.name for node in fleet.idle],
        "outboxes": outboxes.documents(fleet.nodes, fleet.model),
    }


def _place(place: Place) -> dict[str, object]:
    node: dict[str, object] = {
        "node": place.node.name,
        "online": place.node.online,
        "last_seen": utc(place.node.last_seen),
        "settled": place.settled,
    }
    said = shape.standing(_said(place))
    if place.standing is None:
        said["phase"] = "unreported"
    return node | said | {"desired": place.desired or None}


def text(fleet: Fleet) -> str:
    """For people."""
    rows = [_row(place, fleet.at) for place in fleet.places]
    rows += [[node.name, link(node), ago(node.last_seen, fleet.at), "follows nothing"] for node in fleet.idle]
    waiting = [plain(line) for line in outboxes.lines(fleet.nodes, fleet.at, fleet.model)]
    if not rows:
        return "\n".join(waiting) or "No nodes. Let one in: modelsyncctl node invite NAME"
    late = sum(not place.settled for place in fleet.places)
    summary = "All is as desired." if not late else f"{count(late, 'place')} of {len(fleet.places)} not as desired yet."
    return "\n".join([table(_COLUMNS, rows), "", summary, *_again(fleet), *waiting])


def _again(fleet: Fleet) -> list[str]:
    """What to type where a version gave way."""
    lanes = {
        f"{place.model}@{place.channel}"
        for place in fleet.places
        if place.standing is not None and place.standing.phase == Phase.ROLLED_BACK.value
    }
    return [f"To have what was rolled back tried again: modelsyncctl retry {lane}" for lane in sorted(lanes)]


def _row(place: Place, now: float) -> Row:
    cells = list(standing.cells(_said(place), place.desired, now))
    if place.standing is None:
        cells[standing.PHASE] = "unreported"
    return [place.node.name, link(place.node), ago(place.node.last_seen, now), *cells]


def _said(place: Place) -> sync_pb2.Standing:
    return place.standing or sync_pb2.Standing(model=place.model, channel=place.channel)

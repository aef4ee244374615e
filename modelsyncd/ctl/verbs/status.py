"""`modelsyncctl status`: where every node stands; with --watch, again whenever something happens."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import click

from modelsyncd.ctl import shape, standing
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.figures import ago, count, utc
from modelsyncd.ctl.fleet import Place, places
from modelsyncd.ctl.hub import Hub, connect
from modelsyncd.ctl.retry import insist
from modelsyncd.ctl.table import Column, Row, table
from modelsyncd.ctl.verbs.node import link
from modelsyncd.errors import ModelsyncError, first_of
from modelsyncd.names import parse_model, parse_node
from modelsyncd.wire.v1 import catalog_pb2 as pb
from modelsyncd.wire.v1 import sync_pb2

_COLUMNS = (Column("NODE"), Column("LINK"), Column("SEEN"), *standing.COLUMNS)
_AT_MOST_EVERY = 0.5  # seconds: a fleet that fetches reports more often than anybody reads


@dataclass(frozen=True, slots=True)
class Fleet:
    """A look at the whole fleet at one time."""

    at: float
    places: list[Place]
    idle: list[pb.NodeView]


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
        await insist(lambda: _follow(asked, hub, node, model), retry=True, note=asked.note)


async def look(hub: Hub, node: str, model: str) -> Fleet:
    """The fleet as it is now; an empty node or model means all."""
    if node:
        answer = await hub.ask(hub.catalog.GetNode, pb.GetNodeRequest(name=node))
        nodes: Sequence[pb.NodeView] = [answer.node]
    else:
        nodes = (await hub.ask(hub.catalog.ListNodes, pb.ListNodesRequest())).nodes
    following = await hub.ask(hub.catalog.ListAssignments, pb.ListAssignmentsRequest(node=node))
    found, idle = places(nodes, following.assignments, await hub.models(model))
    if model:
        found, idle = [place for place in found if place.model == model], []
    return Fleet(time.time(), found, idle)


async def _follow(asked: Asked, hub: Hub, node: str, model: str) -> None:
    """Looks again after each event; events that come while looking are answered by one look."""
    stirred, live = asyncio.Event(), asyncio.Event()
    failure: ModelsyncError | None = None
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_stir(hub, stirred, live))
            await live.wait()  # a look before it would miss what happens in between
            while True:
                stirred.clear()
                _repaint(asked, await look(hub, node, model))
                await stirred.wait()
                await asyncio.sleep(_AT_MOST_EVERY)
    except* ModelsyncError as lost:
        failure = first_of(lost)
    if failure is not None:
        raise failure


async def _stir(hub: Hub, stirred: asyncio.Event, live: asyncio.Event) -> None:
    async for _ in hub.listen(hub.catalog.WatchEvents, pb.WatchEventsRequest(), live):
        stirred.set()
    raise hub.ended("the hub ended the watch")


def _repaint(asked: Asked, fleet: Fleet) -> None:
    if not asked.json and sys.stdout.isatty():
        click.clear()
    asked.event(describe(fleet), f"{text(fleet)}\n")


def describe(fleet: Fleet) -> dict[str, object]:
    """For programs."""
    return {
        "at": utc(fleet.at),
        "settled": all(place.settled for place in fleet.places),
        "places": [_place(place) for place in fleet.places],
        "idle": [node.name for node in fleet.idle],
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
    if not rows:
        return "No nodes. Let one in: modelsyncctl node invite NAME"
    late = sum(not place.settled for place in fleet.places)
    summary = "All is as desired." if not late else f"{count(late, 'place')} of {len(fleet.places)} not as desired yet."
    return f"{table(_COLUMNS, rows)}\n\n{summary}"


def _row(place: Place, now: float) -> Row:
    cells = list(standing.cells(_said(place), place.desired, now))
    if place.standing is None:
        cells[standing.PHASE] = "unreported"
    return [place.node.name, link(place.node), ago(place.node.last_seen, now), *cells]


def _said(place: Place) -> sync_pb2.Standing:
    return place.standing or sync_pb2.Standing(model=place.model, channel=place.channel)

"""The only place that looks at the whole fleet, and looks again whenever something happens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from modelsyncd.ctl.fleet import Place, places
from modelsyncd.ctl.hub import Hub
from modelsyncd.errors import ModelsyncError, first_of
from modelsyncd.wire.v1 import catalog_pb2 as pb

_AT_MOST_EVERY = 0.5  # seconds: a fleet that fetches reports more often than anybody reads


@dataclass(frozen=True, slots=True)
class Fleet:
    """A look at the whole fleet at one time."""

    at: float
    places: list[Place]
    idle: list[pb.NodeView]
    nodes: Sequence[pb.NodeView] = ()
    """All of them, by name."""
    model: str = ""
    """The only model that was asked for; empty for all."""


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
    return Fleet(time.time(), found, idle, sorted(nodes, key=lambda one: one.name), model)


async def follow(hub: Hub, node: str, model: str, show: Callable[[Fleet], None]) -> None:
    """Looks again after each event; events that come while looking are answered by one look. Raises ModelsyncError."""
    stirred, live = asyncio.Event(), asyncio.Event()
    failure: ModelsyncError | None = None
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_stir(hub, stirred, live))
            await live.wait()  # a look before it would miss what happens in between
            while True:
                stirred.clear()
                show(await look(hub, node, model))
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

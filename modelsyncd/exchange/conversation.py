"""The only place that runs a session with the hub for one transfer, whichever way it goes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence

from modelsyncd.codec.registry import READABLE
from modelsyncd.daemon import loops
from modelsyncd.digest import Digest
from modelsyncd.errors import ModelsyncError, RoadError
from modelsyncd.exchange.hub import Hub
from modelsyncd.link.congestion import AUTO, Congestion
from modelsyncd.link.malloc import raise_thresholds
from modelsyncd.link.pump import Pump, Word
from modelsyncd.link.widening import Road, check, open_road
from modelsyncd.session.effects import Finished
from modelsyncd.session.events import Settled
from modelsyncd.session.faults import error_of
from modelsyncd.session.frames import PROTOCOL, Hello
from modelsyncd.session.ports import GiverStore, TakerStore
from modelsyncd.session.progress import Progress
from modelsyncd.session.session import Session

LOOK_EVERY = 0.1  # seconds between two looks at the progress
SAFE = "every chunk that arrived before is kept"


async def carry(
    hub: Hub,
    begin: Callable[[Pump], None],
    manifest: Digest,
    *,
    taker: TakerStore | None = None,
    giver: GiverStore | None = None,
    holds: Sequence[Digest] = (),
    show: Callable[[Progress], None] = lambda _: None,
) -> Settled:
    """Opens a session, begins, and waits until the transfer of this manifest has ended.

    `holds` are manifests that are whole on this machine: chunks of what is pushed can be coded against them.

    Raises the error that ended it, from whichever side; RoadError and its kin when the link did.
    """
    raise_thresholds()
    loops.offer()
    found: list[Finished] = []

    def deliver(what: Word) -> None:
        match what:
            case Hello():
                begin(pump)
            case Finished() if what.manifest == manifest:
                show(what.progress)
                found.append(what)
                pump.close()
            case _:
                pass  # the hub speaks of other things, too

    hello = Hello(PROTOCOL, hub.software, READABLE, tuple(holds))
    with hub.road(SAFE):
        async with open_road(hub.channel, _road(hub)) as stream:
            pump = Pump(Session(hello), stream, taker=taker, giver=giver, deliver=deliver)
            await _run(pump, lambda: show(pump.progress(manifest)))
    if not found:
        raise RoadError("the session ended before the transfer did", safe=SAFE)
    if found[0].settled is None:
        raise error_of(found[0].fault) if found[0].fault else RoadError("the transfer ended without a word", safe=SAFE)
    return found[0].settled


def _road(hub: Hub) -> Road:
    """As for an agent, whose settings have it; a program for people has its environment. Raises BadInputError."""
    lanes = os.environ.get("MODELSYNCD_LANES") or AUTO
    check(lanes)
    return Road(hub.address, hub.identity, Congestion(os.environ.get("MODELSYNCD_CONGESTION") or AUTO), lanes)


async def _run(pump: Pump, look: Callable[[], None]) -> None:
    """Runs the pump and looks at it from time to time."""
    failure: ModelsyncError | None = None
    async with asyncio.TaskGroup() as group:
        looking = group.create_task(_keep_looking(look))
        try:
            await pump.run()
        except ModelsyncError as error:
            failure = error  # raised below, where the group can't wrap it
        look()
        looking.cancel()
    if failure is not None:
        raise failure


async def _keep_looking(look: Callable[[], None]) -> None:
    while True:
        look()
        await asyncio.sleep(LOOK_EVERY)

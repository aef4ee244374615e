"""The only place that hears of a model's releases and channels for as long as one likes, and misses none of them.

The hub's events only say that something changed, and what happens while a link is lost is not told afterwards. So with
each link, once nothing more can be missed, the catalogue is looked at; events then say when to look again.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, AsyncIterator

from modelsyncd.errors import NotFoundError, RefusedError, RoadError
from modelsyncd.exchange import past
from modelsyncd.exchange.hub import Hub
from modelsyncd.exchange.retry import insist
from modelsyncd.link import network
from modelsyncd.link.backoff import Backoff
from modelsyncd.names import ModelName, ModelRef
from modelsyncd.wire.v1 import catalog_pb2 as pb

_ONE_BY_ONE = 16  # releases: more are asked for a page at a time


async def releases(hub: Hub, model: ModelName, after: int) -> AsyncGenerator[pb.ReleaseView, None]:
    """The releases with greater numbers, each once and in order: those that are there, and those that come."""
    last = after
    async for event in _news(hub, model):
        if event is None or event.WhichOneof("event") == "released":
            async for view in _since(hub, model, last, event):
                last = view.number
                yield view


async def switches(hub: Hub, ref: ModelRef) -> AsyncIterator[pb.ReleaseView]:
    """What a channel names now, and then each time that it names another; a slow reader misses those between."""
    told = b""
    async for event in _news(hub, ref.model):
        if event is not None and not (event.WhichOneof("event") == "moved" and event.moved.move.channel == ref.channel):
            continue
        view = await _find(hub, str(ref))
        if view is not None and view.signed.release != told:
            told = view.signed.release
            yield view


async def _since(
    hub: Hub, model: ModelName, last: int, event: pb.WatchEventsResponse | None
) -> AsyncIterator[pb.ReleaseView]:
    newest = event.released if event is not None else await _find(hub, str(model))
    if newest is None or newest.number <= last:
        return
    if newest.number - last > _ONE_BY_ONE:
        for view in reversed(await _above(hub, model, last)):
            yield view
        return
    for number in range(last + 1, newest.number):
        between = await _find(hub, f"{model}:{number}")
        if between is not None:
            yield between
    yield newest


async def _above(hub: Hub, model: ModelName, last: int) -> list[pb.ReleaseView]:
    """The releases with greater numbers, newest first."""
    once, found = past.asking(hub), list[pb.ReleaseView]()
    async for page in past.pages(lambda request: insist(lambda: once(request)), model, past.PAGE):
        found += [view for view in page.releases if view.number > last]
        if not page.releases or page.releases[-1].number <= last:  # what follows are moves, or older
            break
    return found


async def _find(hub: Hub, ref: str) -> pb.ReleaseView | None:
    try:
        return await insist(lambda: hub.release(ref))
    except NotFoundError:
        return None


async def _news(hub: Hub, model: ModelName) -> AsyncIterator[pb.WatchEventsResponse | None]:
    """None with each link, once nothing more can be missed, and then each event. Raises RefusedError."""
    waits = Backoff()
    while True:
        heard = False
        call = hub.catalog.WatchEvents(pb.WatchEventsRequest(model=str(model)))
        try:
            with hub.road("nothing is lost"):
                await call.initial_metadata()
                heard = True
                waits.reset()
                yield None
                async for event in call:
                    yield event
        except RoadError:
            pass
        except RefusedError:
            if not heard:
                raise  # else we read too slowly, and begin anew
        finally:
            call.cancel()
        await network.pause(waits.next(random.random()))  # noqa: S311 -- spreads tries in time, hides nothing

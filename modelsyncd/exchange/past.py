"""The only place that asks for a model's past, a page at a time, however long it is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from modelsyncd.exchange.hub import Hub
from modelsyncd.names import ModelName
from modelsyncd.wire.v1 import catalog_pb2 as pb

PAGE = 500  # releases, and as many moves, of one answer

Ask = Callable[[pb.GetHistoryRequest], Awaitable[pb.GetHistoryResponse]]


def asking(hub: Hub) -> Ask:
    """Asks once. Raises NotFoundError, RoadError, RefusedError."""
    return lambda request: hub.ask(hub.catalog.GetHistory, request)


async def pages(ask: Ask, model: ModelName, size: int) -> AsyncIterator[pb.GetHistoryResponse]:
    """Releases and moves, the newest first; `next_page_token` says whether there are more. Raises what `ask` raises.

    A hub that knows of no pages answers with all of it at once.
    """
    request = pb.GetHistoryRequest(model=str(model), page_size=size)
    while True:
        page = await ask(request)
        yield page
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token

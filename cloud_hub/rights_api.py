"""The only place where admins say what nodes may publish: the servicer of RightService."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from cloud_hub import gate
from cloud_hub.catalog import By, Catalog, RightRow
from cloud_hub.limit_views import whom_of, whom_view
from cloud_hub.patterns import parse_channels, parse_models
from cloud_hub.presence import Presence
from modelsyncd.errors import LimitError
from modelsyncd.limits import LIMITS
from modelsyncd.names import parse_node
from modelsyncd.wire.status import Context, answering
from modelsyncd.wire.v1 import rights_pb2 as pb
from modelsyncd.wire.v1.rights_pb2_grpc import RightServiceServicer


class RightsApi(RightServiceServicer):
    """For admins only."""

    def __init__(self, catalog: Catalog, presence: Presence, *, clock: Callable[[], float] = time.time) -> None:
        self._catalog = catalog
        self._presence = presence
        self._clock = clock

    @answering
    async def Allow(self, request: pb.AllowRequest, context: Context) -> pb.AllowResponse:  # noqa: N802
        """Lets nodes publish. Raises NotFoundError, BadInputError and its kind."""
        caller = gate.admin(context)
        wanted = request.right
        if len(wanted.channels) > LIMITS.labels:
            raise LimitError(f"a right may name {LIMITS.labels} channels, not {len(wanted.channels)}")
        row, changed = await asyncio.to_thread(
            self._catalog.rights.allow,
            whom_of(wanted.whom),
            parse_models(wanted.models),
            [parse_channels(channel) for channel in wanted.channels],
            By(str(caller), self._clock()),
        )
        nodes = await self._reached(row)
        if changed:
            self._presence.stir(nodes)
        return pb.AllowResponse(right=_view(row, nodes))

    @answering
    async def Disallow(self, request: pb.DisallowRequest, context: Context) -> pb.DisallowResponse:  # noqa: N802
        """Takes a right back; what is under way ends. Raises NotFoundError, BadInputError and its kind."""
        by = By(str(gate.admin(context)), self._clock())
        whom, models = whom_of(request.whom), parse_models(request.models)
        await asyncio.to_thread(self._catalog.rights.disallow, whom, models, by)
        return pb.DisallowResponse()

    @answering
    async def ListRights(self, request: pb.ListRightsRequest, context: Context) -> pb.ListRightsResponse:  # noqa: N802
        """Rights, all or those that reach a node. Raises NotFoundError, InvalidNameError."""
        gate.admin(context)
        rows = await asyncio.to_thread(self._catalog.rights.list, parse_node(request.node) if request.node else None)
        reached = await asyncio.to_thread(self._catalog.limits.nodes_of, [row.whom for row in rows])
        return pb.ListRightsResponse(rights=[_view(row, nodes) for row, nodes in zip(rows, reached, strict=True)])

    async def _reached(self, row: RightRow) -> Sequence[str]:
        (nodes,) = await asyncio.to_thread(self._catalog.limits.nodes_of, [row.whom])
        return nodes


def _view(row: RightRow, nodes: Sequence[str]) -> pb.RightView:
    return pb.RightView(
        whom=whom_view(row.whom),
        models=row.models,
        channels=row.channels,
        who=row.by.who,
        at=row.by.now,
        nodes=nodes,
    )

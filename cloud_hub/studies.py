"""The only place where an admin's question about a transfer or a difference becomes work, and its steps become answers.

Both may read whole releases, so they go step by step, and end when whoever asked has gone.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator

from cloud_hub import views
from cloud_hub.catalog import ReleaseRow
from cloud_hub.comparison import Comparison
from cloud_hub.efforts import Effort, heeding
from cloud_hub.holdings import Holdings, NodeHoldings, fitting, of_release, usual
from cloud_hub.node_bounds import NodeBounds, of_node
from cloud_hub.planning import Planning
from cloud_hub.presence import Presence
from cloud_hub.stores import Stores
from modelsyncd.digest import Digest
from modelsyncd.errors import BadInputError
from modelsyncd.names import parse_node, parse_ref
from modelsyncd.release import Variant
from modelsyncd.wire.v1 import catalog_pb2 as pb


class Studies:
    """Plans and comparisons. Each answer says how far it has come, and the last one has the rest."""

    def __init__(self, stores: Stores, presence: Presence, effort: Effort) -> None:
        self._stores = stores
        self._presence = presence
        self._effort = effort
        self._nodes = NodeHoldings(stores.catalog)

    async def plan(self, request: pb.PlanRequest) -> AsyncIterator[pb.PlanResponse]:
        """What a transfer would take. Raises NotFoundError, BadInputError and its kind, DamageError, DiskError."""
        if request.node and request.from_ref:
            raise BadInputError("a plan is for a node, or from a release, not both")
        if not (math.isfinite(request.rate) and request.rate >= 0):
            raise BadInputError(f"a link can't carry {request.rate} bytes a second")
        release = await self._release(request.ref)
        variant, holdings = await self._holdings(request, release)
        target = variant.manifest
        bounds = await self._bounds(request, target.digest)
        rate = request.rate or holdings.rate
        effort = heeding(self._effort, rate, bounds.several)
        found = Planning(self._stores, target, holdings, effort)
        async for _ in found.run():
            yield pb.PlanResponse(bytes=found.costs.counted, bytes_total=found.costs.plan.fetch)
        plan = views.plan_view(release, variant, holdings, found)
        plan.rate, plan.seconds, plan.effort = rate, found.costs.seconds(rate), effort.name.lower()
        if request.node:
            views.tell_bounds(plan, bounds)
        yield pb.PlanResponse(bytes=found.costs.counted, bytes_total=found.costs.plan.fetch, plan=plan)

    async def diff(self, request: pb.DiffRequest) -> AsyncIterator[pb.DiffResponse]:
        """What changed from one release to another. Raises as `plan`."""
        before, after = [
            await asyncio.to_thread(self._stores.contents.get, usual(await self._release(ref), name).manifest)
            for ref, name in ((request.before, request.variant), (request.after, request.other))
        ]
        found = Comparison(before, after, self._stores.encoder.turns, norms=request.norms)
        async for tensors in found.run():
            yield views.diff_view(found, tensors)
        yield pb.DiffResponse(bytes=found.size, bytes_total=found.total, done=True)

    async def _bounds(self, request: pb.PlanRequest, manifest: Digest) -> NodeBounds:
        """What whoever fetches may use of link and disk."""
        if not request.node:
            return NodeBounds()
        ref = parse_ref(request.ref)
        return await asyncio.to_thread(of_node, self._stores.catalog, parse_node(request.node), ref, manifest)

    async def _release(self, ref: str) -> ReleaseRow:
        return await asyncio.to_thread(self._stores.catalog.models.release, parse_ref(ref))

    async def _holdings(self, request: pb.PlanRequest, release: ReleaseRow) -> tuple[Variant, Holdings]:
        """The form of the release that travels, and what lies where it travels to."""
        if request.node:
            node = await asyncio.to_thread(self._stores.catalog.nodes.get, parse_node(request.node))
            live = self._presence.live(node.name)
            variant = usual(release, request.variant) if request.variant else fitting(release, node)
            return variant, await asyncio.to_thread(self._nodes.of, node, live, release)
        if request.from_ref:
            held = of_release(await self._release(request.from_ref), request.variant)
            return usual(release, request.variant), held
        return usual(release, request.variant), Holdings()

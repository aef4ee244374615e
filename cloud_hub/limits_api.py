"""The only place where admins say what nodes may use of their links and disks: the servicer of LimitService.

Each method is the same four steps as in CatalogApi: who calls, check the words, one hop to the catalogue, and the
nodes that are concerned are told.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from cloud_hub import gate
from cloud_hub import limit_views as views
from cloud_hub.catalog import By, Catalog, ConsentRow, Whom
from cloud_hub.desired import offer
from cloud_hub.events import Event, Retried
from cloud_hub.presence import Presence
from modelsyncd.digest import Digest
from modelsyncd.errors import BadInputError, LimitError, NotFoundError
from modelsyncd.limits import LIMITS
from modelsyncd.names import DEFAULT_CHANNEL, ModelName, ModelRef, parse_channel, parse_model, parse_node, parse_ref
from modelsyncd.wire.status import Context, answering
from modelsyncd.wire.v1 import limits_pb2 as pb
from modelsyncd.wire.v1.limits_pb2_grpc import LimitServiceServicer

DECISIONS = 1_000  # of one answer


class LimitsApi(LimitServiceServicer):
    """For admins only."""

    def __init__(
        self,
        catalog: Catalog,
        presence: Presence,
        *,
        tell: Callable[[Event], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._catalog = catalog
        self._presence = presence
        self._tell = tell
        self._clock = clock

    # --- limits ---

    @answering
    async def SetLimit(self, request: pb.SetLimitRequest, context: Context) -> pb.SetLimitResponse:  # noqa: N802
        """Changes a limit, or takes it away. Raises NotFoundError, BadInputError and its kind."""
        by = self._by(context, request.limit.note)
        wanted = views.limit_of(request.limit)
        row, changed = await asyncio.to_thread(self._catalog.limits.set, wanted, by, replace=request.replace)
        nodes = await self._reached(row.whom, changed=changed)
        return pb.SetLimitResponse(limit=views.limit_view(row, nodes), changed=changed)

    @answering
    async def ListLimits(self, request: pb.ListLimitsRequest, context: Context) -> pb.ListLimitsResponse:  # noqa: N802
        """What was set, and what it comes to. Raises NotFoundError, InvalidNameError."""
        gate.admin(context)
        return await asyncio.to_thread(self._limits, parse_node(request.node) if request.node else None)

    def _limits(self, node: str | None) -> pb.ListLimitsResponse:
        rows = self._catalog.limits.list(node)
        reached = self._catalog.limits.nodes_of([row.whom for row in rows])
        desired = self._catalog.assignments
        wanted = {node: desired.desired(node)} if node is not None else desired.desired_by_node()
        holding = [views.node_limits(name, each) for name, each in wanted.items()]
        return pb.ListLimitsResponse(
            limits=[views.limit_view(row, nodes) for row, nodes in zip(rows, reached, strict=True)],
            nodes=[each for each in holding if node is not None or views.is_limited(each)],
        )

    # --- pins ---

    @answering
    async def Pin(self, request: pb.PinRequest, context: Context) -> pb.PinResponse:  # noqa: N802
        """Has a release stay on some nodes. Raises NotFoundError, BadInputError and its kind."""
        by = self._by(context, request.pin.note)
        ref, whom = views.pin_of(request.pin)
        await asyncio.to_thread(self._catalog.models.release, ref)  # raises when it is not there
        row, created = await asyncio.to_thread(self._catalog.pins.pin, ref, whom, by)
        nodes = await self._reached(whom, changed=created)
        return pb.PinResponse(pin=views.pin_view(row, nodes), created=created)

    @answering
    async def Unpin(self, request: pb.UnpinRequest, context: Context) -> pb.UnpinResponse:  # noqa: N802
        """Ends a pin. Raises NotFoundError, BadInputError and its kind."""
        by = self._by(context, request.pin.note)
        ref, whom = views.pin_of(request.pin)
        row = await asyncio.to_thread(self._catalog.pins.unpin, ref, whom, by)
        nodes = await self._reached(whom, changed=True)
        return pb.UnpinResponse(pin=views.pin_view(row, nodes))

    @answering
    async def ListPins(self, request: pb.ListPinsRequest, context: Context) -> pb.ListPinsResponse:  # noqa: N802
        """Pins, all or those that reach a node. Raises NotFoundError, InvalidNameError."""
        gate.admin(context)
        rows = await asyncio.to_thread(self._catalog.pins.list, parse_node(request.node) if request.node else None)
        reached = await asyncio.to_thread(self._catalog.limits.nodes_of, [row.whom for row in rows])
        return pb.ListPinsResponse(pins=[views.pin_view(row, nodes) for row, nodes in zip(rows, reached, strict=True)])

    # --- consents ---

    @answering
    async def Consent(self, request: pb.ConsentRequest, context: Context) -> pb.ConsentResponse:  # noqa: N802
        """Lets a release exceed a node's month, or takes that back. Raises NotFoundError, BadInputError."""
        by = self._by(context, request.note)
        node, model, channel = parse_node(request.node), parse_model(request.model), parse_channel(request.channel)
        row, changed = await asyncio.to_thread(
            self._withdraw if request.withdraw else self._consent, node, model, channel, by
        )
        await self._reached(Whom(node), changed=changed)
        return pb.ConsentResponse(consent=views.consent_view(row), changed=changed)

    def _consent(self, node: str, model: ModelName, channel: str, by: By) -> tuple[ConsentRow, bool]:
        ref, manifest = self._offered(node, model, channel)
        return self._catalog.consents.give(node, ref, manifest, by)

    def _withdraw(self, node: str, model: ModelName, channel: str, by: By) -> tuple[ConsentRow, bool]:
        ref, manifest = self._offered(node, model, channel)
        row = self._catalog.consents.withdraw(node, ref, manifest, by)
        return row or ConsentRow(node, ref, manifest, By("", 0.0)), row is not None

    def _offered(self, node: str, model: ModelName, channel: str) -> tuple[ModelRef, Digest]:
        """What a channel offers to a node now. Raises NotFoundError."""
        rows = self._catalog.assignments.desired(node)
        found = [each for each in rows.followed if (each.model, each.channel) == (model, channel)]
        if not found:
            raise NotFoundError(
                f"node {node} does not follow {model}@{channel}",
                safe="nothing was changed",
                hint=f"what it follows: modelsyncctl node show {node}",
            )
        release = found[0].release
        offered = offer(release, rows.labels, rows.facts)
        if release is None or offered is None:
            raise NotFoundError(
                f"{model}@{channel} names no release that node {node} could fetch",
                safe="nothing was changed",
                hint=f"modelsyncctl history {model}",
            )
        return ModelRef(model, number=release.number), offered.manifest

    # --- retries ---

    @answering
    async def RetryVersion(  # noqa: N802
        self, request: pb.RetryVersionRequest, context: Context
    ) -> pb.RetryVersionResponse:
        """Has nodes try again what failed there. Raises NotFoundError, BadInputError and its kind."""
        by = self._by(context, request.note)
        ref, whom = parse_ref(request.ref), views.whom_of(request.whom)
        if ref.number is not None:
            raise BadInputError(
                f"{ref} is a release, and nodes follow channels", hint=f"as in {ref.model}@{DEFAULT_CHANNEL}"
            )
        channel = ref.channel or DEFAULT_CHANNEL
        nodes = await asyncio.to_thread(self._catalog.retries.retry, ref.model, channel, whom, by)
        self._presence.stir(nodes)
        self._tell(Retried(by.now, ref.model, channel, tuple(nodes), by.who))
        return pb.RetryVersionResponse(nodes=nodes)

    # --- decisions ---

    @answering
    async def ListDecisions(  # noqa: N802
        self, request: pb.ListDecisionsRequest, context: Context
    ) -> pb.ListDecisionsResponse:
        """Who decided what, the newest first. Raises NotFoundError, InvalidNameError."""
        gate.admin(context)
        node = parse_node(request.node) if request.node else None
        most = min(request.most or DECISIONS, DECISIONS)
        rows = await asyncio.to_thread(self._catalog.decisions.list, node, most)
        return pb.ListDecisionsResponse(decisions=map(views.decision_view, rows))

    # --- all of them ---

    def _by(self, context: Context, note: str) -> By:
        """Who decides. Raises RefusedError, LimitError."""
        caller = gate.admin(context)
        if len(note) > LIMITS.note_chars:
            raise LimitError(f"a note may have {LIMITS.note_chars} characters, not {len(note)}")
        return By(str(caller), self._clock(), note)

    async def _reached(self, whom: Whom, *, changed: bool) -> Sequence[str]:
        """The nodes that it reaches. When something changed, those that are connected are told; they report soon."""
        (reached,) = await asyncio.to_thread(self._catalog.limits.nodes_of, [whom])
        if changed:
            self._presence.stir(reached)
        return reached

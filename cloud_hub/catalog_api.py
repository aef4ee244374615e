"""The only place where admins ask what the hub knows and change it: the servicer of CatalogService.

Each method is the same four steps: who calls, check the words, one hop to the catalogue, say what changed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable

from cloud_hub import gate, pages, views
from cloud_hub.catalog import AssignmentRow, MoveRow
from cloud_hub.efforts import Effort
from cloud_hub.events import Bus, Event, Moved, NodeChanged, Released, Retried
from cloud_hub.presence import Presence
from cloud_hub.stores import Stores
from cloud_hub.studies import Studies
from cloud_hub.verify import Verification
from modelsyncd.codec.profile import profile_for
from modelsyncd.errors import BadInputError, LimitError, NotFoundError
from modelsyncd.limits import LIMITS
from modelsyncd.names import ModelRef, parse_channel, parse_model, parse_node, parse_ref
from modelsyncd.release import check_labels
from modelsyncd.trust.invite import Invite, encode
from modelsyncd.wire.status import Context, answering
from modelsyncd.wire.v1 import catalog_pb2 as pb
from modelsyncd.wire.v1.catalog_pb2_grpc import CatalogServiceServicer

PAGE = 1_000  # models, releases or moves of one page
INVITE_SECONDS = 24 * 3_600
LONGEST_INVITE = 365 * 24 * 3_600  # seconds: the identity inside an invite lives no longer


class CatalogApi(CatalogServiceServicer):
    """For admins only."""

    def __init__(
        self,
        stores: Stores,
        presence: Presence,
        bus: Bus,
        *,
        effort: Effort = profile_for,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._catalog = stores.catalog
        self._stock = stores.stock
        self._presence = presence
        self._bus = bus
        self._authority = stores.authority
        self._studies = Studies(stores, presence, effort)
        self._clock = clock

    # --- models ---

    @answering
    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:  # noqa: N802
        """Models by name, a page at a time."""
        gate.admin(context)
        limit = min(request.page_size or PAGE, PAGE)
        rows = await asyncio.to_thread(self._catalog.models.list, request.prefix, limit, request.page_token)
        shown = pages.fitting(map(views.model_view, rows))
        more = len(shown) < len(rows) or len(rows) == limit
        return pb.ListModelsResponse(models=shown, next_page_token=shown[-1].model if more and shown else "")

    @answering
    async def GetRelease(self, request: pb.GetReleaseRequest, context: Context) -> pb.GetReleaseResponse:  # noqa: N802
        """One release. Raises NotFoundError, InvalidNameError."""
        gate.admin(context)
        row = await asyncio.to_thread(self._catalog.models.release, parse_ref(request.ref))
        return pb.GetReleaseResponse(release=views.release_view(row))

    @answering
    async def GetHistory(self, request: pb.GetHistoryRequest, context: Context) -> pb.GetHistoryResponse:  # noqa: N802
        """A model's past, a page at a time. Raises NotFoundError, InvalidNameError, BadInputError."""
        gate.admin(context)
        model, size = parse_model(request.model), min(request.page_size, PAGE)
        below, limit = pages.place_of(request.page_token), size + 1 if size else None  # one more tells that there is
        rows = await asyncio.to_thread(self._catalog.models.history, model, limit=limit, below=below)
        return pages.history(rows, size) if size else pages.whole_history(rows)

    @answering
    async def Promote(self, request: pb.PromoteRequest, context: Context) -> pb.PromoteResponse:  # noqa: N802
        """Moves a channel to a release. Raises NotFoundError, InvalidNameError, LimitError."""
        caller = gate.admin(context)
        ref = parse_ref(request.ref)
        if ref == ModelRef(ref.model):
            raise BadInputError(f"{ref} does not say which release", hint=f"name one, as in {ref}:1 or {ref}@canary")
        channel = parse_channel(request.channel)
        row = await asyncio.to_thread(
            self._catalog.models.promote,
            ref,
            channel,
            who=str(caller),
            note=_note(request.note),
            now=self._clock(),
        )
        return pb.PromoteResponse(move=self._moved(row))

    @answering
    async def Rollback(self, request: pb.RollbackRequest, context: Context) -> pb.RollbackResponse:  # noqa: N802
        """Moves a channel back. Raises NotFoundError, ConflictError, InvalidNameError, LimitError."""
        caller = gate.admin(context)
        row = await asyncio.to_thread(
            self._catalog.models.rollback,
            parse_model(request.model),
            parse_channel(request.channel),
            who=str(caller),
            note=_note(request.note),
            now=self._clock(),
        )
        return pb.RollbackResponse(move=self._moved(row))

    def _moved(self, row: MoveRow) -> pb.Move:
        if row.moved:
            self._bus.publish(Moved(row.at, row.model, row.channel, row.from_number, row.to_number, row.who, row.why))
            self._presence.stir()
        return views.move_view(row)

    # --- assignments ---

    @answering
    async def Assign(self, request: pb.AssignRequest, context: Context) -> pb.AssignResponse:  # noqa: N802
        """Makes nodes follow a channel. Raises NotFoundError, BadInputError and its kind."""
        gate.admin(context)
        wanted = views.assignment_of(request.assignment)
        row, created = await asyncio.to_thread(
            self._catalog.assignments.assign,
            wanted.model,
            wanted.channel,
            wanted.node,
            wanted.selector,
            wanted.priority,
        )
        return pb.AssignResponse(assignment=await self._reassigned(row), created=created)

    @answering
    async def Unassign(self, request: pb.UnassignRequest, context: Context) -> pb.UnassignResponse:  # noqa: N802
        """Ends an assignment. Raises NotFoundError, BadInputError and its kind."""
        gate.admin(context)
        wanted = views.assignment_of(request.assignment)
        row = await asyncio.to_thread(
            self._catalog.assignments.unassign, wanted.model, wanted.channel, wanted.node, wanted.selector
        )
        return pb.UnassignResponse(assignment=await self._reassigned(row))

    @answering
    async def ListAssignments(  # noqa: N802
        self, request: pb.ListAssignmentsRequest, context: Context
    ) -> pb.ListAssignmentsResponse:
        """Assignments, all or those of a node. Raises NotFoundError, InvalidNameError."""
        gate.admin(context)
        node = parse_node(request.node) if request.node else None
        rows = await asyncio.to_thread(self._catalog.assignments.list, node)
        return pb.ListAssignmentsResponse(assignments=await self._views(rows))

    async def _reassigned(self, row: AssignmentRow) -> pb.AssignmentView:
        """Tells the nodes that an assignment reaches, and whoever watches them; also those that are away."""
        self._presence.stir()
        (view,) = await self._views([row])
        for node in view.nodes:
            self._changed(node)
        return view

    async def _views(self, rows: Iterable[AssignmentRow]) -> list[pb.AssignmentView]:
        def look() -> list[pb.AssignmentView]:
            nodes_of = self._catalog.assignments.nodes_of
            return [views.assignment_view(row, list(nodes_of(row))) for row in rows]

        return await asyncio.to_thread(look)

    # --- nodes ---

    @answering
    async def InviteNode(self, request: pb.InviteNodeRequest, context: Context) -> pb.InviteNodeResponse:  # noqa: N802
        """Makes a token that lets one node in. Raises ConflictError, InvalidNameError, LimitError."""
        gate.admin(context)
        seconds = request.ttl_seconds or INVITE_SECONDS
        if seconds > LONGEST_INVITE:
            raise LimitError(f"an invite may last {LONGEST_INVITE} seconds, not {seconds}")
        labels = dict(request.labels)
        check_labels(labels)
        invite = await asyncio.to_thread(self._invite, parse_node(request.name), labels, seconds)
        self._changed(invite.name)
        return pb.InviteNodeResponse(token=encode(invite), expires_at=invite.expires_at)

    def _invite(self, name: str, labels: dict[str, str], seconds: int) -> Invite:
        now = self._clock()
        number = self._catalog.nodes.invite(name, labels, now + seconds, now)
        return Invite(number, name, now + seconds, self._authority.issue_invite(number, now))

    @answering
    async def ListNodes(self, request: pb.ListNodesRequest, context: Context) -> pb.ListNodesResponse:  # noqa: N802
        """Nodes by name."""
        gate.admin(context)
        rows = await asyncio.to_thread(self._catalog.nodes.list, dict(request.selector))
        online = self._presence.online()
        return pb.ListNodesResponse(nodes=[views.node_view(row, online) for row in rows])

    @answering
    async def GetNode(self, request: pb.GetNodeRequest, context: Context) -> pb.GetNodeResponse:  # noqa: N802
        """One node. Raises NotFoundError, InvalidNameError."""
        gate.admin(context)
        return pb.GetNodeResponse(node=await self._node(parse_node(request.name)))

    @answering
    async def LabelNode(self, request: pb.LabelNodeRequest, context: Context) -> pb.LabelNodeResponse:  # noqa: N802
        """Replaces a node's labels. Raises NotFoundError, InvalidNameError, LimitError."""
        gate.admin(context)
        labels = dict(request.labels)
        check_labels(labels)
        row = await asyncio.to_thread(self._catalog.nodes.label, parse_node(request.name), labels)
        self._presence.stir([row.name])
        self._changed(row.name)
        return pb.LabelNodeResponse(node=views.node_view(row, self._presence.online()))

    @answering
    async def RemoveNode(self, request: pb.RemoveNodeRequest, context: Context) -> pb.RemoveNodeResponse:  # noqa: N802
        """Shuts a node out, at once. Raises NotFoundError, InvalidNameError."""
        gate.admin(context)
        row = await asyncio.to_thread(self._catalog.nodes.remove, parse_node(request.name))
        view = views.node_view(row, self._presence.online())
        self._presence.cut(row.name, gate.removed(row.name))
        return pb.RemoveNodeResponse(node=view)

    def _changed(self, node: str) -> None:
        self._bus.publish(NodeChanged(self._clock(), node))

    async def _node(self, name: str) -> pb.NodeView:
        row = await asyncio.to_thread(self._catalog.nodes.get, name)
        return views.node_view(row, self._presence.online())

    # --- streams ---

    @answering
    async def WatchEvents(  # noqa: N802
        self, request: pb.WatchEventsRequest, context: Context
    ) -> AsyncIterator[pb.WatchEventsResponse]:
        """Events as they happen, from the moment that the call's initial metadata arrives.

        Raises RefusedError when they are read too slowly.
        """
        gate.admin(context)
        model = str(parse_model(request.model)) if request.model else ""
        node = parse_node(request.node) if request.node else ""
        with self._bus.subscribe(lambda event: _concerns(event, model, node)) as subscription:
            await context.send_initial_metadata(())
            while (event := await subscription.next()) is not None:
                try:
                    answer = await self._event(event)
                except NotFoundError:
                    continue  # it is gone again
                yield answer

    async def _event(self, event: Event) -> pb.WatchEventsResponse:
        match event:
            case Released(at, name, number):
                row = await asyncio.to_thread(self._catalog.models.release, ModelRef(name, number=number))
                return pb.WatchEventsResponse(at=at, released=views.release_view(row))
            case Moved(at=at):
                return pb.WatchEventsResponse(at=at, moved=views.moved_view(event))
            case NodeChanged(at, name):
                return pb.WatchEventsResponse(at=at, node=await self._node(name))
            case Retried(at=at):
                return pb.WatchEventsResponse(at=at, retried=views.retried_view(event))

    @answering
    async def Verify(self, request: pb.VerifyRequest, context: Context) -> AsyncIterator[pb.VerifyResponse]:  # noqa: N802
        """Re-hashes what rests, and says how far it has come. Raises NotFoundError, DiskError, RoadError."""
        gate.admin(context)
        found = Verification(self._catalog, self._stock)
        async for _ in found.release(parse_ref(request.ref)) if request.ref else found.everything():
            yield views.verify_view(found)
        last = views.verify_view(found)
        last.done = True
        yield last

    @answering
    async def Plan(self, request: pb.PlanRequest, context: Context) -> AsyncIterator[pb.PlanResponse]:  # noqa: N802
        """What a transfer would take. Raises NotFoundError, BadInputError and its kind, DamageError, DiskError."""
        gate.admin(context)
        async for answer in self._studies.plan(request):
            yield answer

    @answering
    async def Diff(self, request: pb.DiffRequest, context: Context) -> AsyncIterator[pb.DiffResponse]:  # noqa: N802
        """What changed, tensor by tensor. Raises NotFoundError, BadInputError and its kind, DamageError, DiskError."""
        gate.admin(context)
        async for answer in self._studies.diff(request):
            yield answer


def _note(note: str) -> str:
    if len(note) > LIMITS.note_chars:
        raise LimitError(f"a note may have {LIMITS.note_chars} characters, not {len(note)}")
    return note


def _concerns(event: Event, model: str, node: str) -> bool:
    """Whether someone who asked for this model or this node (empty: for all) wants to know."""
    if isinstance(event, NodeChanged):
        return not model and node in ("", event.node)
    if isinstance(event, Retried) and node:
        return not model and node in event.nodes
    return not node and model in ("", str(event.model))

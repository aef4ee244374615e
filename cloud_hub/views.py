"""The only place where rows of the catalogue become messages that people's programs read."""

from __future__ import annotations

from collections.abc import Sequence

from cloud_hub.catalog import AssignmentRow, ModelRow, MoveRow, NodeRow, ReleaseRow
from cloud_hub.comparison import Compared, Comparison
from cloud_hub.events import Moved, Retried
from cloud_hub.holdings import Held, Holdings
from cloud_hub.node_bounds import NodeBounds
from cloud_hub.norms import Norm
from cloud_hub.planning import Planning
from cloud_hub.verify import Verification
from modelsyncd.changes import Placed, Side
from modelsyncd.digest import to_text
from modelsyncd.names import parse_channel, parse_model, parse_node
from modelsyncd.release import Variant, check_labels
from modelsyncd.wire.desired import manners_to_pb
from modelsyncd.wire.facts import facts_to_pb
from modelsyncd.wire.nouns import decode_report, report_to_pb, signed_to_pb
from modelsyncd.wire.v1 import catalog_pb2 as pb


def release_view(row: ReleaseRow) -> pb.ReleaseView:
    """A release."""
    return pb.ReleaseView(
        model=str(row.model),
        number=row.number,
        signed=signed_to_pb(row.signed),
        channels=row.channels,
        committed_at=row.committed_at,
    )


def model_view(row: ModelRow) -> pb.ModelView:
    """A model with its newest release and its channels."""
    return pb.ModelView(
        model=str(row.model),
        newest=release_view(row.newest),
        releases=row.releases,
        channels=[
            pb.ChannelView(name=channel.name, number=channel.number, moved_at=channel.moved_at)
            for channel in row.channels
        ],
    )


def move_view(row: MoveRow) -> pb.Move:
    """A channel's move."""
    return pb.Move(
        channel=row.channel, from_number=row.from_number, to_number=row.to_number, who=row.who, at=row.at, why=row.why
    )


def moved_view(event: Moved) -> pb.ChannelMoved:
    """A channel's move, as an event."""
    move = pb.Move(
        channel=event.channel,
        from_number=event.from_number,
        to_number=event.to_number,
        who=event.who,
        at=event.at,
        why=event.why,
    )
    return pb.ChannelMoved(model=str(event.model), move=move)


def retried_view(event: Retried) -> pb.VersionRetried:
    """Nodes try again, as an event."""
    return pb.VersionRetried(model=str(event.model), channel=event.channel, nodes=event.nodes, who=event.who)


def node_view(row: NodeRow, online: frozenset[str]) -> pb.NodeView:
    """A node with its last report, and whether it is among those online."""
    return pb.NodeView(
        name=row.name,
        labels=dict(row.labels),
        online=row.name in online,
        last_seen=row.last_seen,
        enrolled_at=row.enrolled_at,
        report=report_to_pb(decode_report(row.report)) if row.report else None,
        software=row.software,
        facts=facts_to_pb(row.facts),
    )


def assignment_view(row: AssignmentRow, nodes: list[str]) -> pb.AssignmentView:
    """An assignment and whom it reaches."""
    return pb.AssignmentView(
        model=str(row.model),
        channel=row.channel,
        node=row.node or "",
        selector=dict(row.selector),
        priority=row.priority,
        nodes=nodes,
    )


def verify_view(found: Verification) -> pb.VerifyResponse:
    """How far a reading back has come."""
    return pb.VerifyResponse(
        chunks=found.chunks,
        chunks_total=found.total,
        bytes=found.size,
        damaged=[to_text(digest) for digest in found.damaged],
    )


def plan_view(release: ReleaseRow, variant: Variant, holdings: Holdings, found: Planning) -> pb.TransferPlan:
    """What a transfer would take; the rate and what hangs on it are the caller's."""
    costs = found.costs
    plan, target = costs.plan, variant.manifest
    return pb.TransferPlan(
        model=str(release.model),
        number=release.number,
        variant=variant.name,
        manifest=target.digest,
        bytes_total=plan.total,
        bytes_had=plan.have,
        bytes_coded=costs.coded.plain,
        coded_wire=costs.coded.wire,
        bytes_plain=costs.alone.plain,
        plain_wire=costs.alone.wire,
        manifest_bytes=costs.manifest.plain,
        manifest_wire=costs.manifest.wire,
        bytes_wire=costs.wire,
        framing_estimate=costs.framing,
        chunks_total=plan.chunks_total,
        chunks_fetch=plan.chunks_fetch,
        disk_bytes=0 if found.is_there else target.content_size + target.size,
        disk_free=holdings.disk_free,
        holdings_known=holdings.known,
        bases=[_plan_base(held, found) for held in holdings.held],
        bytes_arrived=holdings.arrived,
        cpu_seconds=found.cpu,
    )


def tell_bounds(plan: pb.TransferPlan, bounds: NodeBounds) -> None:
    """Adds to a plan what the node may use."""
    plan.manners.extend(map(manners_to_pb, bounds.several))
    report = bounds.report
    plan.month_wire, plan.month, plan.utc_offset = report.month_wire, report.month, report.utc_offset
    plan.quota_bytes, plan.disk_used, plan.consented = bounds.quota, report.disk_used, bounds.consented


def _plan_base(held: Held, found: Planning) -> pb.PlanBase:
    return pb.PlanBase(
        model=str(held.model) if held.model is not None else "",
        number=held.number,
        manifest=held.manifest,
        bytes_coded=found.against[held.manifest],
        allowed=held.manifest in found.allowed,
    )


def diff_view(found: Comparison, tensors: Sequence[Compared]) -> pb.DiffResponse:
    """Some tensors, and how far a comparison has come."""
    return pb.DiffResponse(
        bytes=found.size,
        bytes_total=found.total,
        tensors=[
            pb.TensorChange(
                kind=pb.ChangeKind.ValueType(one.kind.value),
                before=_tensor_view(found.before, one.pair.before),
                after=_tensor_view(found.after, one.pair.after),
                norm=_norm_view(one.norm) if one.norm is not None else None,
            )
            for one in tensors
        ],
    )


def _tensor_view(side: Side, placed: Placed | None) -> pb.TensorView | None:
    if placed is None:
        return None
    tensor = placed.tensor
    return pb.TensorView(
        file=side.path(placed), name=tensor.name, dtype=tensor.dtype, shape=tensor.shape, bytes=tensor.size
    )


def _norm_view(norm: Norm) -> pb.ChangeNorm:
    return pb.ChangeNorm(
        l2=norm.l2,
        l2_before=norm.l2_before,
        largest=norm.largest,
        elements=norm.elements,
        elements_changed=norm.changed,
        elements_left_out=norm.left_out,
    )


def assignment_of(view: pb.AssignmentView) -> AssignmentRow:
    """An assignment that somebody asks for, its names checked. Raises InvalidNameError, BadInputError, LimitError."""
    selector = dict(view.selector)
    check_labels(selector)
    return AssignmentRow(
        model=parse_model(view.model),
        channel=parse_channel(view.channel),
        node=parse_node(view.node) if view.node else None,
        selector=selector,
        priority=view.priority,
    )

"""The only place where limits, pins, consents and decisions become messages that people's programs read, and back."""

from __future__ import annotations

from collections.abc import Sequence

from cloud_hub.catalog import ConsentRow, DecisionRow, DesiredRows, LimitRow, PinRow, Terms, Whom
from cloud_hub.desired import offer
from modelsyncd.errors import BadInputError
from modelsyncd.manners import FREE
from modelsyncd.names import ModelRef, parse_channel, parse_model, parse_node
from modelsyncd.release import check_labels
from modelsyncd.schedule import parse_opening
from modelsyncd.wire.desired import manners_to_pb
from modelsyncd.wire.v1 import limits_pb2 as pb


def whom_of(message: pb.Whom) -> Whom:
    """Whom somebody means. Raises InvalidNameError, BadInputError, LimitError."""
    selector = dict(message.selector)
    check_labels(selector)
    return Whom(parse_node(message.node) if message.node else None, selector)


def limit_of(view: pb.LimitView) -> LimitRow:
    """A limit that somebody asks for. Raises InvalidNameError, BadInputError, LimitError."""
    if bool(view.model) != bool(view.channel):
        raise BadInputError("a limit is for a model and its channel together", hint="as in acme/helmet@stable")
    openings = tuple(map(parse_opening, view.windows.windows)) if view.HasField("windows") else None
    return LimitRow(
        whom=whom_of(view.whom),
        terms=Terms(
            rate=view.rate if view.HasField("rate") else None,
            openings=openings,
            month_bytes=view.month_bytes if view.HasField("month_bytes") else None,
            paused=view.paused if view.HasField("paused") else None,
            background=view.background if view.HasField("background") else None,
            quota=view.quota_bytes if view.HasField("quota_bytes") else None,
        ),
        model=parse_model(view.model) if view.model else None,
        channel=parse_channel(view.channel) if view.channel else "",
    )


def limit_view(row: LimitRow, nodes: Sequence[str]) -> pb.LimitView:
    """A limit and whom it reaches."""
    terms = row.terms
    return pb.LimitView(
        whom=whom_view(row.whom),
        model=str(row.model) if row.model is not None else "",
        channel=row.channel,
        rate=terms.rate,
        windows=None if terms.openings is None else pb.Windows(windows=map(str, terms.openings)),
        month_bytes=terms.month_bytes,
        paused=terms.paused,
        background=terms.background,
        quota_bytes=terms.quota,
        who=row.who,
        at=row.at,
        note=row.note,
        nodes=nodes,
    )


def node_limits(node: str, rows: DesiredRows) -> pb.NodeLimits:
    """What holds on a node."""
    bounds = rows.bounds
    view = pb.NodeLimits(
        node=node,
        manners=manners_to_pb(bounds.manners),
        quota_bytes=bounds.quota,
        pins=map(str, bounds.pins),
    )
    for follows in rows.followed:
        offered = offer(follows.release, rows.labels, rows.facts)
        consent = bounds.consents.get((follows.model, offered.manifest)) if offered is not None else None
        manners = bounds.of(follows.model, follows.channel)
        if manners != FREE or consent is not None:
            view.channels.add(
                model=str(follows.model),
                channel=follows.channel,
                manners=manners_to_pb(manners),
                consent=consent_view(consent) if consent is not None else None,
            )
    return view


def is_limited(view: pb.NodeLimits) -> bool:
    """Whether anything holds there."""
    return view.manners != manners_to_pb(FREE) or bool(view.quota_bytes or view.pins or view.channels)


def pin_of(view: pb.PinView) -> tuple[ModelRef, Whom]:
    """A pin that somebody asks for. Raises InvalidNameError, BadInputError, LimitError."""
    model = parse_model(view.model)
    if not view.number:
        raise BadInputError(f"{model} does not say which release", hint=f"pin one by its number, as in {model}:1")
    return ModelRef(model, number=view.number), whom_of(view.whom)


def pin_view(row: PinRow, nodes: Sequence[str]) -> pb.PinView:
    """A pin and whom it reaches."""
    return pb.PinView(
        whom=whom_view(row.whom),
        model=str(row.ref.model),
        number=row.ref.number or 0,
        who=row.by.who,
        at=row.by.now,
        note=row.by.note,
        nodes=nodes,
    )


def consent_view(row: ConsentRow) -> pb.ConsentView:
    """A consent."""
    return pb.ConsentView(
        node=row.node,
        model=str(row.ref.model),
        number=row.ref.number or 0,
        manifest=row.manifest,
        who=row.by.who,
        at=row.by.now,
        note=row.by.note,
    )


def decision_view(row: DecisionRow) -> pb.DecisionView:
    """A decision."""
    return pb.DecisionView(
        at=row.by.now,
        who=row.by.who,
        kind=row.kind,
        whom=whom_view(row.whom),
        ref=row.ref,
        what=row.what,
        note=row.by.note,
    )


def whom_view(whom: Whom) -> pb.Whom:
    """Whom something is for."""
    return pb.Whom(node=whom.node or "", selector=dict(whom.selector))

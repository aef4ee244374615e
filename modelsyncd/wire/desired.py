"""The only place where what a node should hold is written for wire and disk, and read back: Offer and Desired."""

from __future__ import annotations

from collections.abc import Mapping

from modelsyncd.digest import Buffer, digest_from
from modelsyncd.errors import BadInputError, LimitError
from modelsyncd.limits import LIMITS, Limits
from modelsyncd.manners import FREE, Manners, manners
from modelsyncd.names import parse_channel, parse_model, parse_ref
from modelsyncd.release import check_labels
from modelsyncd.session.frames import OFFER_ID_BYTES, Assignment, Desired, Offer
from modelsyncd.wire.facts import unfit_from_pb, unfit_to_pb
from modelsyncd.wire.parse import parse, write
from modelsyncd.wire.releases import signed_from_pb, signed_to_pb
from modelsyncd.wire.v1 import sync_pb2


def encode_desired(desired: Desired) -> bytes:
    """As bytes for a file."""
    return write(desired_to_pb(desired))


def decode_desired(data: Buffer, limits: Limits = LIMITS) -> Desired:
    """What `encode_desired` wrote. Raises LimitError or BadInputError."""
    return desired_from_pb(parse(sync_pb2.Desired, data, "a desired state", limits.message_bytes), limits)


def desired_to_pb(desired: Desired) -> sync_pb2.Desired:
    """For the wire."""
    return sync_pb2.Desired(
        generation=desired.generation,
        assignments=map(_assignment_to_pb, desired.assignments),
        keep=desired.keep,
        manners=_manners(desired.manners),
        pins=map(str, desired.pins),
        quota_bytes=desired.quota,
        labels=None if desired.labels is None else sync_pb2.Labels(labels=dict(desired.labels)),
    )


def desired_from_pb(message: sync_pb2.Desired, limits: Limits = LIMITS) -> Desired:
    """From the wire. Raises LimitError, or BadInputError for a name or digest that is none."""
    if len(message.assignments) > limits.desired_assignments:
        raise LimitError(f"a node may have {limits.desired_assignments} assignments, not {len(message.assignments)}")
    if len(message.pins) > limits.pins:
        raise LimitError(f"a node may have {limits.pins} pins, not {len(message.pins)}")
    if message.keep < 1:
        raise BadInputError("a node keeps one version of a model at least")
    return Desired(
        generation=message.generation,
        assignments=tuple(_assignment_from_pb(item, limits) for item in message.assignments),
        keep=message.keep,
        manners=manners_from_pb(message.manners) if message.HasField("manners") else FREE,
        pins=tuple(map(parse_ref, message.pins)),
        quota=message.quota_bytes,
        labels=_labels(message.labels, limits) if message.HasField("labels") else None,
    )


def _labels(message: sync_pb2.Labels, limits: Limits) -> Mapping[str, str]:
    labels = dict(message.labels)
    check_labels(labels, limits)
    return labels


def manners_to_pb(wanted: Manners) -> sync_pb2.Manners:
    """For the wire."""
    return sync_pb2.Manners(
        rate=wanted.rate,
        windows=wanted.words,
        month_bytes=wanted.month_bytes,
        paused=wanted.paused,
        background=wanted.background,
    )


def manners_from_pb(message: sync_pb2.Manners) -> Manners:
    """From the wire. Raises BadInputError."""
    return manners(
        rate=message.rate,
        openings=message.windows,
        month_bytes=message.month_bytes,
        paused=message.paused,
        background=message.background,
    )


def _manners(wanted: Manners) -> sync_pb2.Manners | None:
    """Left out where nothing is limited: as it was before there were limits."""
    return manners_to_pb(wanted) if wanted != FREE else None


def offer_to_pb(offer: Offer) -> sync_pb2.Offer:
    """For the wire."""
    return sync_pb2.Offer(
        release=signed_to_pb(offer.release), manifest=offer.manifest, channel=offer.channel, id=offer.id
    )


def offer_from_pb(message: sync_pb2.Offer, limits: Limits = LIMITS) -> Offer:
    """From the wire; the release inside is not looked at. Raises LimitError or BadInputError."""
    return Offer(
        release=signed_from_pb(message.release, limits),
        manifest=digest_from(message.manifest),
        channel=parse_channel(message.channel) if message.channel else "",
        id=_offer_id(message.id),
    )


def _offer_id(raw: bytes) -> bytes:
    if raw and len(raw) != OFFER_ID_BYTES:
        raise BadInputError(f"an offer's id has {len(raw)} bytes, not {OFFER_ID_BYTES}")
    return raw


def _assignment_to_pb(assignment: Assignment) -> sync_pb2.Assignment:
    return sync_pb2.Assignment(
        model=str(assignment.model),
        channel=assignment.channel,
        offer=None if assignment.offer is None else offer_to_pb(assignment.offer),
        priority=assignment.priority,
        manners=_manners(assignment.manners),
        consent=assignment.consent or b"",
        retry=assignment.retry,
        misfit=unfit_to_pb(assignment.unfit),
    )


def _assignment_from_pb(message: sync_pb2.Assignment, limits: Limits) -> Assignment:
    return Assignment(
        model=parse_model(message.model),
        channel=parse_channel(message.channel),
        offer=offer_from_pb(message.offer, limits) if message.HasField("offer") else None,
        priority=message.priority,
        manners=manners_from_pb(message.manners) if message.HasField("manners") else FREE,
        consent=digest_from(message.consent) if message.consent else None,
        retry=message.retry,
        unfit=unfit_from_pb(message.misfit, limits) if message.HasField("misfit") else None,
    )

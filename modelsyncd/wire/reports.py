"""The only place where a node's report is written for wire and database, and read back."""

from __future__ import annotations

from modelsyncd.digest import Buffer, digest_from
from modelsyncd.errors import BadInputError, LimitError
from modelsyncd.limits import LIMITS, Limits
from modelsyncd.names import parse_channel, parse_model
from modelsyncd.session.frames import Hold, Phase, Report, Standing, Waiting
from modelsyncd.wire.facts import facts_from_pb, facts_to_pb
from modelsyncd.wire.faultwords import fault_from_pb, fault_to_pb
from modelsyncd.wire.parse import parse, write
from modelsyncd.wire.prices import forecast_from_pb, forecast_to_pb
from modelsyncd.wire.v1 import sync_pb2

_PHASES = {phase.value: phase for phase in Phase}
_HOLDS = {hold.value: hold for hold in Hold}
_HOLDS_PB = {
    hold: sync_pb2.Hold.Value("HOLD_UNSPECIFIED" if hold is Hold.NONE else f"HOLD_{hold.name}") for hold in Hold
}
_PHASES_PB = {phase: sync_pb2.Phase.Value(f"PHASE_{phase.name}") for phase in Phase}


def encode_report(report: Report) -> bytes:
    """As bytes to be kept."""
    return write(report_to_pb(report))


def decode_report(data: Buffer, limits: Limits = LIMITS) -> Report:
    """What `encode_report` wrote. Raises LimitError or BadInputError."""
    return report_from_pb(parse(sync_pb2.Report, data, "a report", limits.message_bytes), limits)


def report_to_pb(report: Report) -> sync_pb2.Report:
    """For the wire."""
    return sync_pb2.Report(
        generation=report.generation,
        standings=map(standing_to_pb, report.standings),
        disk_free=report.disk_free,
        disk_used=report.disk_used,
        month_wire=report.month_wire,
        month=report.month,
        utc_offset=report.utc_offset,
        quota_bytes=report.quota,
        outbox=map(_waiting_to_pb, report.outbox),
        outbox_length=report.outbox_length,
        outbox_bytes=report.outbox_bytes,
        facts=None if report.facts is None else sync_pb2.Facts(facts=facts_to_pb(report.facts)),
    )


def report_from_pb(message: sync_pb2.Report, limits: Limits = LIMITS) -> Report:
    """From the wire. Raises LimitError, or BadInputError for a name or phase that is none."""
    if len(message.standings) > limits.desired_assignments:
        raise LimitError(f"a report may have {limits.desired_assignments} standings, not {len(message.standings)}")
    if len(message.outbox) > limits.desired_assignments:
        raise LimitError(f"a report may name {limits.desired_assignments} of what waits, not {len(message.outbox)}")
    return Report(
        generation=message.generation,
        standings=tuple(map(standing_from_pb, message.standings)),
        disk_free=message.disk_free,
        disk_used=message.disk_used,
        month_wire=message.month_wire,
        month=message.month,
        utc_offset=message.utc_offset,
        quota=message.quota_bytes,
        outbox=tuple(map(_waiting_from_pb, message.outbox)),
        outbox_length=message.outbox_length,
        outbox_bytes=message.outbox_bytes,
        facts=facts_from_pb(message.facts.facts, limits) if message.HasField("facts") else None,
    )


def standing_to_pb(standing: Standing) -> sync_pb2.Standing:
    """For the wire."""
    return sync_pb2.Standing(
        model=str(standing.model),
        channel=standing.channel,
        desired=standing.desired,
        staged=standing.staged,
        active=standing.active,
        phase=_PHASES_PB[standing.phase],
        bytes_total=standing.bytes_total,
        bytes_done=standing.bytes_done,
        bytes_had=standing.bytes_had,
        bytes_wire=standing.bytes_wire,
        fault=None if standing.fault is None else fault_to_pb(standing.fault),
        next_try=standing.next_try,
        bytes_coded=standing.bytes_coded,
        giver_cpu=standing.giver_cpu,
        taker_cpu=standing.taker_cpu,
        forecast=None if standing.forecast is None else forecast_to_pb(standing.forecast),
        hold=_HOLDS_PB[standing.hold],
        hold_until=standing.hold_until,
        since=standing.since,
        bytes_resent=standing.bytes_resent,
        rate=standing.rate,
        tries=standing.tries,
        variant=standing.variant,
        active_variant=standing.active_variant,
    )


def standing_from_pb(message: sync_pb2.Standing, limits: Limits = LIMITS) -> Standing:
    """From the wire. Raises BadInputError."""
    phase = _PHASES.get(message.phase)
    if phase is None:
        raise BadInputError(f"there is no phase {message.phase}")
    return Standing(
        model=parse_model(message.model),
        channel=parse_channel(message.channel),
        phase=phase,
        desired=message.desired,
        staged=message.staged,
        active=message.active,
        bytes_total=message.bytes_total,
        bytes_done=message.bytes_done,
        bytes_had=message.bytes_had,
        bytes_wire=message.bytes_wire,
        fault=fault_from_pb(message.fault) if message.HasField("fault") else None,
        next_try=message.next_try,
        bytes_coded=message.bytes_coded,
        giver_cpu=message.giver_cpu,
        taker_cpu=message.taker_cpu,
        forecast=forecast_from_pb(message.forecast) if message.HasField("forecast") else None,
        hold=_HOLDS.get(message.hold, Hold.NONE),
        hold_until=message.hold_until,
        since=message.since,
        bytes_resent=message.bytes_resent,
        rate=message.rate,
        tries=message.tries,
        variant=message.variant[: limits.label_chars],
        active_variant=message.active_variant[: limits.label_chars],
    )


def _waiting_to_pb(waiting: Waiting) -> sync_pb2.Waiting:
    return sync_pb2.Waiting(
        model=str(waiting.model),
        manifest=waiting.manifest,
        bytes_total=waiting.bytes_total,
        bytes_done=waiting.bytes_done,
        bytes_wire=waiting.bytes_wire,
        stored_at=waiting.stored_at,
        fault=None if waiting.fault is None else fault_to_pb(waiting.fault),
        next_try=waiting.next_try,
    )


def _waiting_from_pb(message: sync_pb2.Waiting) -> Waiting:
    return Waiting(
        model=parse_model(message.model),
        manifest=digest_from(message.manifest),
        bytes_total=message.bytes_total,
        bytes_done=message.bytes_done,
        bytes_wire=message.bytes_wire,
        stored_at=message.stored_at,
        fault=fault_from_pb(message.fault) if message.HasField("fault") else None,
        next_try=message.next_try,
    )

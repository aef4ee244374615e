"""The only place that says how the hub's answers look in --json output (docs/cli.md).

Names are stable; times are RFC 3339 UTC or null for "never", digests "b3:" + hex, sizes bytes.
"""

from __future__ import annotations

from modelsyncd.ctl.figures import utc
from modelsyncd.digest import digest_of, to_text
from modelsyncd.release import Release, Variant
from modelsyncd.session.frames import Hold, Phase
from modelsyncd.wire.nouns import decode_release
from modelsyncd.wire.prices import forecast_from_pb
from modelsyncd.wire.v1 import catalog_pb2 as pb
from modelsyncd.wire.v1 import nouns_pb2, sync_pb2

Shape = dict[str, object]


def opened(view: pb.ReleaseView) -> Release:
    """The release inside a view. Raises BadInputError when the hub sent none."""
    return decode_release(view.signed.release)


def release(view: pb.ReleaseView) -> Shape:
    """A release."""
    inner = opened(view)
    return {
        "model": view.model,
        "number": view.number,
        "release_digest": to_text(digest_of(view.signed.release)),
        "channels": list(view.channels),
        "bytes": content_size(inner),
        "files": sum(variant.manifest.files for variant in inner.variants[:1]),
        "variants": [variant(one) for one in inner.variants],
        "members": [
            {"model": str(member.model), "number": member.number, "place": member.place} for member in inner.members
        ],
        "parents": [
            {"model": str(parent.model), "number": parent.number, "role": parent.role} for parent in inner.parents
        ],
        "labels": dict(inner.labels),
        "metrics": dict(inner.metrics),
        "note": inner.note,
        "producer": inner.producer,
        "created_at": utc(inner.created_at),
        "committed_at": utc(view.committed_at),
        "signatures": len(view.signed.signatures),
    }


def content_size(inner: Release) -> int:
    """Plain bytes of a release's first variant; 0 when there is none."""
    return inner.variants[0].manifest.content_size if inner.variants else 0


def members(inner: Release) -> str:
    """What a bundle was put together from: "big=acme/big:4 little=acme/little:2"; empty for what is none."""
    return " ".join(f"{one.place}={one.model}:{one.number}" for one in inner.members)


def variant(one: Variant) -> Shape:
    """One form of a release."""
    return {
        "name": one.name,
        "manifest_digest": to_text(one.manifest.digest),
        "manifest_bytes": one.manifest.size,
        "bytes": one.manifest.content_size,
        "files": one.manifest.files,
        "selector": dict(one.selector),
    }


def model(view: pb.ModelView) -> Shape:
    """A model with its newest release."""
    return {
        "model": view.model,
        "releases": view.releases,
        "channels": [
            {"name": channel.name, "number": channel.number, "moved_at": utc(channel.moved_at)}
            for channel in view.channels
        ],
        "newest": release(view.newest) if view.HasField("newest") else None,
    }


def move(view: pb.Move) -> Shape:
    """A channel's move; numbers are null for none."""
    return {
        "channel": view.channel,
        "from": view.from_number or None,
        "to": view.to_number or None,
        "who": view.who,
        "at": utc(view.at),
        "why": view.why,
    }


def assignment(view: pb.AssignmentView) -> Shape:
    """Who follows which channel."""
    return {
        "model": view.model,
        "channel": view.channel,
        "node": view.node or None,
        "selector": dict(view.selector),
        "priority": view.priority,
        "nodes": list(view.nodes),
    }


def node(view: pb.NodeView) -> Shape:
    """A node with what it last reported."""
    return {
        "name": view.name,
        "labels": dict(view.labels),
        "online": view.online,
        "last_seen": utc(view.last_seen),
        "enrolled_at": utc(view.enrolled_at),
        "software": view.software,
        "facts": {fact.name: list(fact.values) for fact in view.facts},
        "report": report(view.report) if view.HasField("report") else None,
    }


def report(view: sync_pb2.Report) -> Shape:
    """What a node said of itself."""
    return {
        "generation": view.generation,
        "disk_free": view.disk_free,
        "disk_used": view.disk_used,
        "quota_bytes": view.quota_bytes or None,
        "month": view.month or None,
        "month_wire": view.month_wire,
        "utc_offset": view.utc_offset or None,
        "outbox_length": view.outbox_length,
        "outbox_bytes": view.outbox_bytes,
        "standings": [standing(one) for one in view.standings],
    }


def standing(view: sync_pb2.Standing) -> Shape:
    """Where one assignment stands on a node; numbers are null for none."""
    return {
        "model": view.model,
        "channel": view.channel,
        "desired": view.desired or None,
        "staged": view.staged or None,
        "active": view.active or None,
        "variant": view.variant or None,
        "active_variant": view.active_variant or None,
        "phase": phase(view.phase),
        "bytes_total": view.bytes_total,
        "bytes_done": view.bytes_done,
        "bytes_had": view.bytes_had,
        "bytes_coded": view.bytes_coded,
        "bytes_plain": max(0, view.bytes_done - view.bytes_had - view.bytes_coded),
        "bytes_wire": view.bytes_wire,
        "giver_cpu": round(view.giver_cpu, 3),
        "taker_cpu": round(view.taker_cpu, 3),
        "error": fault(view.fault) if view.HasField("fault") else None,
        "next_try": utc(view.next_try),
        "tries": view.tries,
        "hold": hold(view.hold),
        "hold_until": utc(view.hold_until),
        "since": utc(view.since),
        "bytes_resent": view.bytes_resent,
        "rate": round(view.rate),
        "forecast": forecast(view.forecast) if view.HasField("forecast") else None,
    }


def forecast(view: sync_pb2.Forecast) -> Shape:
    """What a node expects a transfer to take; `bytes_wire` is of the release in all."""
    expected = forecast_from_pb(view)
    return {
        "bytes_had": expected.had,
        "bytes_coded": expected.priced.coded,
        "coded_wire": expected.priced.coded_wire,
        "bytes_plain": expected.priced.alone,
        "plain_wire": expected.priced.alone_wire,
        "bytes_guessed": expected.priced.left,
        "spent_wire": expected.spent,
        "bytes_wire": expected.wire,
        "disk_bytes": expected.disk,
        "rate": round(expected.rate) or None,
        "revision": expected.revision,
        "made_at": utc(expected.made_at),
    }


def fault(view: nouns_pb2.Fault) -> Shape:
    """What went wrong elsewhere."""
    return {
        "code": view.code,
        "message": view.message,
        "safe": view.safe,
        "hint": view.hint,
        "retryable": view.retryable,
    }


def hold(number: int) -> str | None:
    """What holds an assignment up, as docs/glossary.md has it; None for nothing."""
    known = {hold.value: hold.name.lower() for hold in Hold if hold is not Hold.NONE}
    return known.get(number)


def phase(number: int) -> str:
    """A phase's word, as docs/glossary.md has it; "unknown" for one of a newer node."""
    known = {phase.value: phase.name.lower().replace("_", "-") for phase in Phase}
    return known.get(number, "unknown")

"""The only place where what the agent knows becomes the messages that jobs get, and what they ask becomes values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from edge_agent.callers import Caller
from edge_agent.outbox.words import FINE_TUNED, Done, Item, Measured, Origin, Publication, Sending, Stored
from edge_agent.watchers import Active
from modelsyncd.digest import to_text
from modelsyncd.errors import BadInputError, LimitError
from modelsyncd.limits import LIMITS
from modelsyncd.names import DEFAULT_CHANNEL, ModelName, ModelRef, parse_ref
from modelsyncd.release import check_labels
from modelsyncd.wire.v1 import jobs_pb2

HOLDER_CHARS = 200  # of what a job calls itself
WORD_CHARS = 200  # of a dataset's or stage's name
WHY_CHARS = 1_000  # of why a version does not work


def channel_ref(text: str) -> ModelRef:
    """A model's channel, "stable" when none is named. Raises InvalidNameError, BadInputError for a number."""
    ref = parse_ref(text)
    if ref.number is not None:
        raise BadInputError(
            f"{text[:80]!r} names a release; jobs follow channels", hint=f"ask for {ref.model}@{DEFAULT_CHANNEL}"
        )
    return ModelRef(ref.model, channel=ref.channel or DEFAULT_CHANNEL)


def release_ref(text: str) -> ModelRef:
    """A release by number, or what a channel leads to; "stable" when neither is named. Raises InvalidNameError."""
    ref = parse_ref(text)
    return ref if ref.number is not None else ModelRef(ref.model, channel=ref.channel or DEFAULT_CHANNEL)


def patience(seconds: float) -> float | None:
    """Seconds to wait, None for ever. Raises BadInputError for what is no time."""
    if not seconds >= 0:  # false for NaN, too
        raise BadInputError(f"can't wait {seconds} seconds")
    return None if math.isinf(seconds) else seconds


def holder_of(asked: str, caller: Caller) -> str:
    """What a hold is called: what the job calls itself, and who it is in any case. Raises LimitError."""
    return f"{_short(asked, HOLDER_CHARS, 'holder')} ({caller})" if asked else str(caller)


def why_of(request: jobs_pb2.ConfirmRequest) -> str:
    """Why a version does not work. Raises LimitError."""
    return " ".join(_short(request.why, WHY_CHARS, "why").split())


def active_pb(active: Active) -> jobs_pb2.ActiveRelease:
    """For the wire."""
    return jobs_pb2.ActiveRelease(
        model=str(active.ref.model),
        channel=active.ref.channel or "",
        number=active.number,
        manifest=to_text(active.manifest),
        release=to_text(active.release),
        path=str(active.path),
        channel_path=str(active.channel_path),
        labels=active.labels,
        active_since=active.since,
        variant=active.variant,
        forms=active.forms,
    )


def publication_of(request: jobs_pb2.PublishRequest, caller: Caller) -> Publication:
    """What is to be published. Raises InvalidNameError, BadInputError, LimitError."""
    path = Path(request.path)
    if not path.is_absolute() or "\0" in request.path:
        raise BadInputError(f"{request.path[:200]!r} is no absolute path", hint="the agent has another working folder")
    ref = parse_ref(request.model)
    if ref.number is not None:
        raise BadInputError(f"the hub gives the number: publish to {ref.model}, without :{ref.number}")
    check_labels(request.labels)
    return Publication(
        path=path,
        model=ref.model,
        channel=ref.channel or "",
        parents=tuple(Origin(release_ref(one.ref), one.role or FINE_TUNED) for one in request.parents),
        labels=dict(request.labels),
        metrics=_metrics(request.metrics),
        note=_short(request.note, LIMITS.note_chars, "note"),
        user=caller.name,
    )


def numbers_of(
    request: jobs_pb2.RecordRequest, model: ModelName, number: int, now: float, *, variant: str = ""
) -> list[Measured]:
    """What was measured. Raises BadInputError, LimitError."""
    if not request.metrics:
        raise BadInputError("no number is given", hint='as in metrics={"accuracy": 0.93}')
    if not (0 <= request.at < math.inf):
        raise BadInputError(f"{request.at} is no time")
    dataset, stage = _short(request.dataset, WORD_CHARS, "dataset"), _short(request.stage, WORD_CHARS, "stage")
    _short(variant, LIMITS.label_chars, "variant")
    return [
        Measured(model, number, name, value, dataset, stage, request.at or now, variant=variant)
        for name, value in sorted(_metrics(request.metrics).items())
    ]


def stored_pb(stored: Stored) -> jobs_pb2.PublishResponse:
    """For the wire."""
    return jobs_pb2.PublishResponse(
        stored=jobs_pb2.PublishStored(
            id=stored.id, manifest=to_text(stored.manifest), size=stored.size, known=stored.known
        )
    )


def way_pb(step: Sending | Done) -> jobs_pb2.PublishResponse:
    """For the wire."""
    match step:
        case Sending(done, total, wire, waits):
            sending = jobs_pb2.PublishSending(bytes_done=done, bytes_total=total, bytes_wire=wire, waits=waits)
            return jobs_pb2.PublishResponse(sending=sending)
        case Done(model, number, release, created, wire):
            return jobs_pb2.PublishResponse(
                published=jobs_pb2.PublishDone(
                    model=str(model), number=number, release=to_text(release), created=created, bytes_wire=wire
                )
            )


def outgoing_pb(item: Item) -> jobs_pb2.Outgoing:
    """For the wire."""
    wanted, sending = item.publication, item.sending
    return jobs_pb2.Outgoing(
        id=item.id,
        model=str(wanted.model),
        channel=wanted.channel,
        manifest=to_text(item.manifest),
        bytes_total=sending.total,
        bytes_done=sending.done,
        bytes_wire=sending.wire,
        stored_at=item.stored_at,
        waits=sending.waits or (item.fault.message if item.fault is not None else ""),
        refused=item.refused,
        user=wanted.user,
        labels=wanted.labels,
    )


def _metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    if len(metrics) > LIMITS.labels:
        raise LimitError(f"at most {LIMITS.labels} numbers, not {len(metrics)}")
    for name, value in metrics.items():
        _short(name, LIMITS.label_chars, "name of a number")
        if not name or not math.isfinite(value):
            raise BadInputError(f"{name[:40]!r} = {value} is no number", hint="leave it out")
    return dict(metrics)


def _short(text: str, most: int, what: str) -> str:
    if len(text) > most:
        raise LimitError(f"a {what} may have {most} characters, not {len(text)}")
    return text

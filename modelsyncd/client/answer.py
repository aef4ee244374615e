"""The only place where an agent's answers become values, and its refusals errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import grpc

from modelsyncd.client.finding import Findings, Found
from modelsyncd.client.model import Failure, LocalModel, LocalVersion, Model, Shown
from modelsyncd.client.outgoing import Outbox, Published, Step, Waiting
from modelsyncd.errors import ModelsyncError, RoadError
from modelsyncd.wire.status import error_from
from modelsyncd.wire.v1 import jobs_pb2, search_pb2


def model_of(active: jobs_pb2.ActiveRelease, previous: int = 0) -> Model:
    """The version that a message tells of."""
    return Model(
        name=active.model,
        channel=active.channel,
        number=active.number,
        manifest=active.manifest,
        release=active.release,
        path=Path(active.path),
        channel_path=Path(active.channel_path),
        labels=dict(active.labels),
        active_since=active.active_since,
        previous=previous,
        variant=active.variant,
        forms=active.forms,
    )


def acquired(message: jobs_pb2.AcquireResponse) -> Model:
    """The version that a message tells of, and whether it is tried."""
    model = model_of(message.active, message.previous)
    return replace(model, trial=message.trial, trial_seconds=message.trial_seconds)


def listed(message: jobs_pb2.LocalModel) -> LocalModel:
    """The channel that a message tells of."""
    active = model_of(message.active) if message.HasField("active") else None
    return LocalModel(message.model, message.channel, message.phase, message.desired, active)


def shown(message: jobs_pb2.ShowResponse) -> Shown:
    """All that a message tells of a channel."""
    failed = message.failed if message.HasField("failed") else None
    return Shown(
        local=listed(message.local),
        versions=tuple(
            LocalVersion(one.number, one.manifest, Path(one.path), one.size, one.whole, tuple(one.holders), one.variant)
            for one in message.versions
        ),
        previous=message.previous,
        failure=Failure(failed.number, failed.why, failed.at) if failed is not None else None,
        trial_seconds=message.trial_seconds,
    )


def outbox_of(message: jobs_pb2.ListOutboxResponse) -> Outbox:
    """What waits, as a message tells."""
    return Outbox(
        tuple(
            Waiting(
                id=one.id,
                model=one.model,
                channel=one.channel,
                manifest=one.manifest,
                done=one.bytes_done,
                total=one.bytes_total,
                wire=one.bytes_wire,
                stored_at=one.stored_at,
                waits=one.waits,
                refused=one.refused,
                user=one.user,
                labels=dict(one.labels),
            )
            for one in message.items
        ),
        message.records,
    )


class Publishing:
    """A publication whose steps come one after the other; `result` is what has come of it so far."""

    def __init__(self, model: str) -> None:
        self.result: Published | None = None
        self._model = model.partition("@")[0]

    def hear(self, message: jobs_pb2.PublishResponse) -> Step | None:
        """What a message tells, and nothing for the last one."""
        match message.WhichOneof("step"):
            case "reading":
                return Step("reading", message.reading.bytes_done, message.reading.bytes_total)
            case "stored":
                stored = message.stored
                self.result = Published(self._model, stored.id, stored.manifest, stored.size, stored.known)
                return Step("stored", 0, stored.size)
            case "sending":
                sending = message.sending
                return Step("sending", sending.bytes_done, sending.bytes_total, sending.bytes_wire, sending.waits)
            case "published" if self.result is not None:
                done = message.published
                self.result = replace(
                    self.result,
                    number=done.number,
                    release=done.release,
                    created=done.created,
                    wire=done.bytes_wire,
                )
        return None

    def ended(self, error: ModelsyncError) -> ModelsyncError:
        """The error for a call that broke off: what was stored goes on without us."""
        if self.result is None or not isinstance(error, RoadError):
            return error
        return type(error)(
            error.message,
            safe=f"it is stored as {self.result.id} in the outbox, and reaches the hub without this program",
            hint="modelsyncctl outbox list",
        )


def is_gone(error: grpc.RpcError) -> bool:
    """Whether the agent went away, or is not there yet: worth waiting for."""
    return isinstance(error_of(error, ""), RoadError)


def error_of(error: grpc.RpcError, target: str) -> ModelsyncError:
    """The error of ours for a failed call; RoadError names the socket and what to look at."""
    found = error_from(error, target)
    if type(found) is not RoadError:
        return found
    return no_agent(target)


def no_agent(target: str) -> RoadError:
    """The error for an agent that is not there."""
    return RoadError(
        f"no agent answers at {target}",
        safe="versions that were active stay on the disk",
        hint="is it running (systemctl status modelsync-agent), and may this user open its socket?",
    )


def findings(answer: jobs_pb2.FindResponse) -> Findings:
    """What was found."""
    return Findings(tuple(map(_found, answer.releases)), answer.total, answer.heard_at)


def _found(message: search_pb2.FoundRelease) -> Found:
    values: dict[str, dict[str | float, None]] = {}
    for one in message.traits:
        value = one.text if one.WhichOneof("value") == "text" else one.number
        values.setdefault(one.key, {})[value] = None
    return Found(
        message.model,
        message.number,
        tuple(message.channels),
        {key: tuple(several) for key, several in values.items()},
        message.committed_at,
        message.who,
    )

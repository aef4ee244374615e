"""The only place where an agent's answers become values, and its refusals errors."""

from __future__ import annotations

from pathlib import Path

import grpc

from modelsyncd.client.model import LocalModel, Model
from modelsyncd.errors import ModelsyncError, RoadError
from modelsyncd.wire.status import error_from
from modelsyncd.wire.v1 import jobs_pb2


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
    )


def listed(message: jobs_pb2.LocalModel) -> LocalModel:
    """The channel that a message tells of."""
    active = model_of(message.active) if message.HasField("active") else None
    return LocalModel(message.model, message.channel, message.phase, message.desired, active)


def is_gone(error: grpc.RpcError) -> bool:
    """Whether the agent went away, or is not there yet: worth waiting for."""
    return isinstance(error_of(error, ""), RoadError)


def error_of(error: grpc.RpcError, target: str) -> ModelsyncError:
    """The error of ours for a failed call; RoadError names the socket and what to look at."""
    found = error_from(error, target)
    if type(found) is not RoadError:
        return found
    return RoadError(
        f"no agent answers at {target}",
        safe="versions that were active stay on the disk",
        hint="is it running (systemctl status modelsync-agent), and may this user open its socket?",
    )

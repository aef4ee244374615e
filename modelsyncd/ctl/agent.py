"""The only place where a verb reaches the agent of this machine instead of a hub, and says in JSON what it answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click

from modelsyncd.ctl.figures import utc

if TYPE_CHECKING:
    from modelsyncd.client import LocalModel, LocalVersion, Model, Shown, Waiting
    from modelsyncd.client.aio import AsyncClient

Verb = TypeVar("Verb", bound=Callable[..., object])
Shape = dict[str, object]


def agent_option(verb: Verb) -> Verb:
    """Adds --socket."""
    return click.option(
        "--socket",
        metavar="PATH",
        help="The agent's socket, or HOST:PORT. Default: $MODELSYNCD_AGENT, or the usual one.",
    )(verb)


def reach(socket: str | None) -> AsyncClient:
    """The agent; to be entered. Raises BadInputError for a path that no socket can have."""
    from modelsyncd.client.aio import AsyncClient  # noqa: PLC0415 -- gRPC, which --help need not wait for

    return AsyncClient(socket)


def active(model: Model | None) -> Shape | None:
    """What is active."""
    if model is None:
        return None
    return {
        "number": model.number,
        "variant": model.variant or None,
        "manifest_digest": model.manifest,
        "release_digest": model.release,
        "path": str(model.path),
        "channel_path": str(model.channel_path),
        "labels": dict(model.labels),
        "active_since": utc(model.active_since),
    }


def channel(local: LocalModel) -> Shape:
    """A channel on this machine."""
    return {
        "model": local.name,
        "channel": local.channel,
        "phase": local.phase,
        "desired": local.desired or None,
        "active": active(local.active),
    }


def whole(shown: Shown) -> Shape:
    """All that is known of a channel."""
    failure = shown.failure
    failed = {"number": failure.number, "why": failure.why, "at": utc(failure.at)} if failure is not None else None
    return {
        **channel(shown.local),
        "previous": shown.previous or None,
        "trial_seconds": shown.trial_seconds or None,
        "failed": failed,
        "versions": [_version(one) for one in shown.versions],
    }


def waiting(item: Waiting) -> Shape:
    """Something in the outbox."""
    return {
        "id": item.id,
        "model": item.model,
        "channel": item.channel or None,
        "manifest_digest": item.manifest,
        "bytes_total": item.total,
        "bytes_done": item.done,
        "bytes_wire": item.wire,
        "stored_at": utc(item.stored_at),
        "waits": item.waits or None,
        "refused": item.refused,
        "user": item.user,
        "labels": dict(item.labels),
    }


def _version(one: LocalVersion) -> Shape:
    return {
        "number": one.number,
        "variant": one.variant or None,
        "manifest_digest": one.manifest,
        "path": str(one.path),
        "bytes": one.size,
        "whole": one.whole,
        "holders": list(one.holders),
    }

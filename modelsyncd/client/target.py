"""The only place that says where the agent of this machine is listening."""

from __future__ import annotations

import math
import os
from pathlib import Path

from modelsyncd.errors import BadInputError

DEFAULT_SOCKET = "/run/modelsync-agent/agent.sock"
VARIABLE = "MODELSYNCD_AGENT"
TOKEN = "MODELSYNCD_AGENT_TOKEN"  # noqa: S105 - the name of a variable
_SOCKET_PATH_BYTES = 107  # sun_path of Linux has 108 bytes with its end

OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5_000),  # for a handshake, in truth: an agent on a busy machine takes its time
    ("grpc.max_reconnect_backoff_ms", 2_000),  # an agent on the same machine is back within seconds
    ("grpc.enable_http_proxy", 0),  # the agent is on this machine: no proxy could reach it
    ("grpc.use_local_subchannel_pool", 1),  # another client's backoff is not ours
)
REPLY_SECONDS = 10.0  # seconds beyond `wait` within which an agent on the same machine has answered


def resolve(target: str | Path | None) -> str:
    """A gRPC target: from "unix:PATH", a path, "HOST:PORT"; without one from $MODELSYNCD_AGENT or the usual socket.

    Raises BadInputError for a path that no socket can have.
    """
    text = str(target or os.environ.get(VARIABLE) or DEFAULT_SOCKET)
    if not text.startswith("unix:") and "/" not in text:
        return text
    path = text.removeprefix("unix:")
    if path.startswith("/"):
        path = "/" + path.lstrip("/")  # "unix:///run/…" and "unix:/run/…" are the same socket
    absolute = str(Path(path).absolute())
    if len(absolute.encode()) > _SOCKET_PATH_BYTES:
        raise BadInputError(
            f"{absolute[:80]}… is longer than the {_SOCKET_PATH_BYTES} bytes that a socket's path may have",
            hint="give the agent a shorter one with --socket",
        )
    return f"unix:{absolute}"


def metadata_of(token: str) -> tuple[tuple[str, str], ...]:
    """What goes with each call; without a token that of $MODELSYNCD_AGENT_TOKEN. Raises BadInputError."""
    found = token or os.environ.get(TOKEN, "")
    if not (found.isascii() and found.isprintable()):
        raise BadInputError("a token has only letters, digits and the signs of ASCII")
    return (("authorization", f"Bearer {found}"),) if found else ()


def seconds_of(wait: float | None) -> float:
    """Seconds to wait; None is 0. Raises BadInputError for what is no time."""
    if wait is None:
        return 0.0
    if math.isnan(wait) or wait < 0:
        raise BadInputError(f"can't wait {wait} seconds")
    return wait


def deadline_of(wait: float) -> float | None:
    """Seconds after which an agent that is there must have answered; None for never."""
    return None if math.isinf(wait) else wait + REPLY_SECONDS

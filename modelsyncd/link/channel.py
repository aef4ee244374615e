"""The only place that opens channels: to a hub over mutual TLS, and to an agent over its Unix socket.

The hub is known by its authority and one fixed name, not by its address, so a hub may move or be reached through any
tunnel. Numbers are measured (docs/benchmarks.md): a silent link is noticed within 50 seconds, one that came back is
used within seconds, and a keepalive is no faster than the other end allows (`link/server.py`).
"""

from __future__ import annotations

from pathlib import Path

import grpc
import grpc.aio

from modelsyncd.limits import LIMITS, Limits
from modelsyncd.link.address import unix_target
from modelsyncd.trust.identity import HUB_TLS_NAME, Identity

Options = list[tuple[str, int | str]]

KEEPALIVE_MS = 20_000  # of hearing nothing until a ping is sent; at both ends
PING_TIMEOUT_MS = 30_000  # until an unanswered ping means a dead link; data that comes meanwhile does not count
LOOKAHEAD = 16 << 20  # bytes that may be under way in one stream: 100 Mbit/s over a second of round trip
FIRST_RETRY_MS = 500
LAST_RETRY_MS = 5_000
CONNECT_MS = 10_000  # for one try to connect: two round trips of TLS at 600 ms, and a certificate at 256 kbit/s


def keepalive_options() -> Options:
    """For both ends: noticing silence, also when nothing is being said.

    The answer to a ping waits behind what is under way already, which on a slow link takes long. So gRPC's own probing
    of the bandwidth is off: it pings while data comes, and at 256 kbit/s one large message made it hang up. Without it
    pings go out only where nothing comes; the price is a fixed bound on what may be under way.
    """
    return [
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", PING_TIMEOUT_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.ping_timeout_ms", PING_TIMEOUT_MS),  # gRPC never acts on keepalive_timeout_ms (grpc#39239)
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", LOOKAHEAD),
    ]


def size_options(limits: Limits = LIMITS) -> Options:
    """For both ends: no message larger than ours can be."""
    return [
        ("grpc.max_receive_message_length", limits.message_bytes),
        ("grpc.max_send_message_length", limits.message_bytes),
    ]


def open_channel(address: str, identity: Identity, limits: Limits = LIMITS) -> grpc.aio.Channel:
    """A channel to the hub at "HOST:PORT" as `identity`; connects when it is first used. Close it when done."""
    credentials = grpc.ssl_channel_credentials(identity.authority, identity.key, identity.certificate)
    options = [
        *keepalive_options(),
        *size_options(limits),
        ("grpc.ssl_target_name_override", HUB_TLS_NAME),
        ("grpc.use_local_subchannel_pool", 1),  # two channels are two connections
        ("grpc.initial_reconnect_backoff_ms", FIRST_RETRY_MS),
        ("grpc.max_reconnect_backoff_ms", LAST_RETRY_MS),
        ("grpc.min_reconnect_backoff_ms", CONNECT_MS),
        ("grpc.enable_retries", 0),  # who asks again is decided above, by who knows what it costs
    ]
    return grpc.aio.secure_channel(address, credentials, options, grpc.Compression.NoCompression)


def open_local(path: Path, limits: Limits = LIMITS) -> grpc.aio.Channel:
    """A channel to the agent whose socket is at `path`. Raises BadInputError for a path that no socket can have."""
    options = [
        *size_options(limits),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.initial_reconnect_backoff_ms", FIRST_RETRY_MS),
        ("grpc.max_reconnect_backoff_ms", FIRST_RETRY_MS),
    ]
    return grpc.aio.insecure_channel(unix_target(path), options)

"""The only place that makes gRPC servers, lets them listen, and asks who calls."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio

from modelsyncd.limits import LIMITS, Limits
from modelsyncd.link.address import join, split, unix_target, why_not_tcp, why_not_unix
from modelsyncd.link.channel import keepalive_options, size_options
from modelsyncd.store.durable import disk_errors
from modelsyncd.trust.identity import Identity, Peer, peer_of
from modelsyncd.wire.status import Context

PING_FLOOR_MS = 5_000  # a peer that pings more often is hung up on (too_many_pings)
HANDSHAKE_MS = 30_000  # for a caller to get through TLS: several round trips at any real link; gRPC gives two minutes
GRACE = 5.0  # seconds that running calls have to end by themselves when the server stops
_NAMES = "x509_subject_alternative_name"  # grpc's name for it, grpc/include/grpc/grpc_security_constants.h


def make_server(limits: Limits = LIMITS) -> grpc.aio.Server:
    """A server that listens nowhere yet. Add its services, bind it, then start it."""
    return grpc.aio.server(
        options=[
            *keepalive_options(),
            *size_options(limits),
            ("grpc.http2.min_ping_interval_without_data_ms", PING_FLOOR_MS),
            ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
            ("grpc.so_reuseport", 0),  # else a second process would quietly take every other connection
        ]
    )


def bind_tls(server: grpc.aio.Server, listen: str, identity: Identity) -> str:
    """Listens at "HOST:PORT" for peers with a certificate of our authority; port 0 takes any that is free.

    Returns the address with the port it got. Raises ConflictError when the port is taken, BadInputError for an address
    that this machine does not have.
    """
    host, _ = split(listen)
    credentials = grpc.ssl_server_credentials(
        [(identity.key, identity.certificate)], root_certificates=identity.authority, require_client_auth=True
    )
    try:
        port = server.add_secure_port(listen, credentials)
    except RuntimeError as error:
        raise why_not_tcp(listen) from error
    return join(host, port)


def bind_unix(server: grpc.aio.Server, path: Path, mode: int = 0o600) -> None:
    """Listens at a Unix socket that `mode` says who may open; one that a killed process left there is replaced.

    The caller holds the lock of the folder, so the socket is nobody else's. Raises BadInputError for a path that is too
    long, ConflictError when something that is no socket lies there, DiskError.
    """
    target = unix_target(path)
    try:
        server.add_insecure_port(target)
    except RuntimeError as error:
        raise why_not_unix(path) from error
    with disk_errors(path):
        path.chmod(mode)


@asynccontextmanager
async def serving(server: grpc.aio.Server, grace: float = GRACE) -> AsyncIterator[None]:
    """Serves while the block runs; then takes no more calls, and cancels what runs after `grace` seconds."""
    await server.start()
    try:
        yield
    finally:
        await server.stop(grace)


def peer(context: Context) -> Peer:
    """Who calls, as its certificate says. Raises RefusedError when it says nothing."""
    return peer_of(name.decode("utf-8", "replace") for name in context.auth_context().get(_NAMES, ()))

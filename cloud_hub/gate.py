"""The only place where the hub decides who may call what, beyond holding a certificate of its authority.

An admin may call everything but enrolment. A node may hold a session, and its certificate counts only while the
catalogue knows its key: that of a removed node, or of one whose name was invited anew, is refused in words.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from cloud_hub.catalog import Catalog
from modelsyncd.errors import RefusedError
from modelsyncd.link.server import peer
from modelsyncd.trust.identity import Kind, Peer
from modelsyncd.trust.keys import public_key_in
from modelsyncd.wire.status import Context

_CERTIFICATE = "x509_pem_cert"  # grpc's name for it, grpc/include/grpc/grpc_security_constants.h


class Known(Protocol):
    """Whom the hub has let in: the catalogue's nodes."""

    def known_key(self, name: str, /) -> bytes | None:
        """The public key that the node enrolled with; None for a node that is not in."""


def admin(context: Context) -> Peer:
    """The admin who calls. Raises RefusedError for anybody else."""
    caller = peer(context)
    if caller.kind is not Kind.ADMIN:
        raise RefusedError(f"{caller} may not do this", safe="nothing was changed", hint="use an admin's context")
    return caller


async def talker(context: Context, catalog: Catalog) -> Peer:
    """The node or admin who begins a session. Raises RefusedError for anybody else."""
    caller = peer(context)
    if caller.kind is Kind.INVITE:
        raise RefusedError("an invite lets a node enrol, and nothing else", hint="enrol first")
    if caller.kind is Kind.NODE:
        await asyncio.to_thread(check_node, catalog.nodes, caller.name, certificate(context))
    return caller


def certificate(context: Context) -> bytes:
    """The certificate (PEM) that the caller showed at the handshake."""
    return next(iter(context.auth_context().get(_CERTIFICATE, ())), b"")


def check_node(nodes: Known, name: str, shown: bytes) -> bytes:
    """The key that the node enrolled with. Raises RefusedError unless this certificate (PEM) holds it."""
    known = nodes.known_key(name)
    if known is None or known != public_key_in(shown):
        raise removed(name)
    return known


def removed(name: str) -> RefusedError:
    """Why a node's certificate counts no more."""
    return RefusedError(
        f"{name} was removed from this hub, or was let in again with another key",
        safe="the models on the node stay and keep working",
        hint=f"to let it in again: modelsyncctl node invite {name}",
    )

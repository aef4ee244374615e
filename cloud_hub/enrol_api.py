"""The only place where the hub lets a node in, and renews what lets it in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from cloud_hub import gate
from modelsyncd.daemon.log import Log
from modelsyncd.errors import RefusedError
from modelsyncd.link.server import peer
from modelsyncd.names import parse_node
from modelsyncd.store.failpoints import Point, passing
from modelsyncd.trust.authority import Authority
from modelsyncd.trust.identity import Kind, Peer
from modelsyncd.trust.keys import public_key_of
from modelsyncd.wire.status import Context, answering
from modelsyncd.wire.v1 import sync_pb2, sync_pb2_grpc


class Nodes(Protocol):
    """Who was invited and who is in; the catalogue's nodes are one. Both calls block."""

    def redeem(self, invite: str, name: str, key: bytes, now: float, /) -> None:
        """Lets the holder of a public key in. The same key may come again. Raises InviteError."""

    def known_key(self, name: str, /) -> bytes | None:
        """The public key that the node enrolled with; None for a node that is not in."""


class EnrolService(sync_pb2_grpc.EnrolServiceServicer):
    """An invite may enrol, a node may renew, and nobody may do anything else here."""

    def __init__(self, authority: Authority, nodes: Nodes, clock: Callable[[], float] = time.time) -> None:
        self._authority = authority
        self._nodes = nodes
        self._clock = clock
        self._log = Log()

    @answering
    async def Enrol(  # noqa: N802
        self, request: sync_pb2.EnrolRequest, context: Context
    ) -> sync_pb2.EnrolResponse:
        """A certificate for the node that the invite names. Raises RefusedError, InviteError, BadInputError."""
        caller = peer(context)
        if caller.kind is not Kind.INVITE:
            raise RefusedError(f"{caller} is no invite", hint="a node renews its certificate with Renew")
        certificate = await asyncio.to_thread(self._enrol, caller.name, request.name, request.csr)
        self._log.info("node.enrolled", node=request.name)
        return sync_pb2.EnrolResponse(certificate=certificate.decode(), authority=self._authority.certificate.decode())

    @answering
    async def Renew(  # noqa: N802
        self, request: sync_pb2.RenewRequest, context: Context
    ) -> sync_pb2.RenewResponse:
        """A fresh certificate for the node that calls, for the key it has. Raises RefusedError, BadInputError."""
        caller = peer(context)
        certificate = await asyncio.to_thread(self._renew, caller, gate.certificate(context), request.csr)
        self._log.info("node.renewed", node=caller.name)
        return sync_pb2.RenewResponse(certificate=certificate.decode(), authority=self._authority.certificate.decode())

    def _enrol(self, invite: str, name: str, csr: bytes) -> bytes:
        now = self._clock()
        # The request is judged before the invite is used up. A crash between the two steps costs nothing: the same
        # key may come again.
        key = public_key_of(csr)
        self._nodes.redeem(invite, parse_node(name), key, now)
        passing(Point.INVITE_REDEEMED)
        return self._authority.issue_node(name, csr, now)

    def _renew(self, caller: Peer, shown: bytes, csr: bytes) -> bytes:
        if caller.kind is not Kind.NODE:
            raise RefusedError(f"{caller} is no node, and has nothing to renew")
        if public_key_of(csr) != gate.check_node(self._nodes, caller.name, shown):
            raise RefusedError("a certificate is renewed for the same key only", hint="ask with the node's own key")
        return self._authority.issue_node(caller.name, csr, self._clock())

"""A hub that can do nothing but let nodes in: a real port on loopback, a real catalogue, a clock to turn."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cloud_hub.catalog import Catalog
from cloud_hub.enrol_api import EnrolService
from modelsyncd.errors import DiskError
from modelsyncd.link.server import bind_tls, make_server, serving
from modelsyncd.store.durable import write_file
from modelsyncd.trust import invite as invites
from modelsyncd.trust.authority import Authority
from modelsyncd.trust.invite import Invite
from modelsyncd.wire.v1 import sync_pb2_grpc

DAY = 86_400.0


class Nodes:
    """The catalogue's nodes, on a disk that may fail once the invite is redeemed."""

    def __init__(self, catalog: Catalog) -> None:
        self._nodes = catalog.nodes
        self.dies_after_redeeming = False

    def redeem(self, invite: str, name: str, key: bytes, now: float, /) -> None:
        self._nodes.redeem(invite, name, key, now)
        if self.dies_after_redeeming:
            self.dies_after_redeeming = False
            raise DiskError("planted")

    def known_key(self, name: str, /) -> bytes | None:
        return self._nodes.known_key(name)


@dataclass
class Hub:
    """A hub that can only let nodes in. `ahead` is by how many seconds its clock is ahead of the machine's."""

    catalog: Catalog
    authority: Authority
    nodes: Nodes
    address: str = ""
    ahead: float = 0.0

    def clock(self) -> float:
        return time.time() + self.ahead

    def invite(self, name: str = "kiosk-7", ttl: float = DAY) -> str:
        expires_at = self.clock() + ttl
        identifier = self.catalog.nodes.invite(name, {}, expires_at, self.clock())
        identity = self.authority.issue_invite(identifier, self.clock())
        return invites.encode(Invite(identifier, name, expires_at, identity))

    def service(self) -> EnrolService:
        return EnrolService(self.authority, self.nodes, self.clock)


@asynccontextmanager
async def open_hub(folder: Path) -> AsyncIterator[Hub]:
    """Serves while the block runs."""
    with Catalog.open(f"sqlite:///{folder}/catalog.db") as catalog:
        authority = Authority.open(folder / "authority", time.time(), write_file)
        it = Hub(catalog, authority, Nodes(catalog))
        server = make_server()
        sync_pb2_grpc.add_EnrolServiceServicer_to_server(it.service(), server)
        it.address = bind_tls(server, "127.0.0.1:0", authority.issue_hub(time.time()))
        async with serving(server, grace=0):
            yield it

"""What the certificates of one authority can and can't do, at a real TLS port on loopback."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from modelsyncd.link.channel import open_channel
from modelsyncd.link.server import bind_tls, make_server, peer, serving
from modelsyncd.store.durable import write_file
from modelsyncd.trust import keys
from modelsyncd.trust.authority import Authority
from modelsyncd.trust.identity import Identity, Kind, Peer
from modelsyncd.wire.status import Context

DAY = 86_400.0


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.open(tmp_path / "authority", time.time(), write_file)


def a_node(authority: Authority, now: float) -> Identity:
    key = keys.new_key()
    certificate = authority.issue_node("kiosk-7", keys.new_request(key, Peer(Kind.NODE, "kiosk-7")), now)
    return Identity(key, certificate, authority.certificate)


@asynccontextmanager
async def at(identity: Identity) -> AsyncIterator[str]:
    """The address of a server with this identity that tells callers who they are."""

    async def who(_: bytes, context: Context) -> bytes:
        return str(peer(context)).encode()

    server = make_server()
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {"Am": grpc.unary_unary_rpc_method_handler(who)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Who", handlers),))
    address = bind_tls(server, "127.0.0.1:0", identity)
    async with serving(server, grace=0):
        yield address


async def ask(address: str, identity: Identity) -> str:
    async with open_channel(address, identity) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/test.Who/Am")
        return (await call(b"", timeout=20)).decode()


async def test_a_hub_at_any_address_knows_each_kind_of_caller_by_its_certificate(authority: Authority) -> None:
    now = time.time()
    async with at(authority.issue_hub(now)) as address:
        assert await ask(address, a_node(authority, now)) == "node/kiosk-7"
        assert await ask(address, authority.issue_admin("ana", now)) == "admin/ana"
        assert await ask(address, authority.issue_invite("a1b2", now)) == "invite/a1b2"


@pytest.mark.parametrize("kind", ["node", "admin", "invite"])
async def test_nobody_but_a_hub_can_serve(authority: Authority, kind: str) -> None:
    now = time.time()
    identity = {
        "node": a_node(authority, now),
        "admin": authority.issue_admin("ana", now),
        "invite": authority.issue_invite("a1b2", now),
    }[kind]
    async with at(identity) as address:
        with pytest.raises(grpc.aio.AioRpcError, match="unsupported certificate purpose"):
            await ask(address, identity)


async def test_a_hub_can_not_call(authority: Authority) -> None:
    hub = authority.issue_hub(time.time())
    async with at(hub) as address:
        with pytest.raises(grpc.aio.AioRpcError):
            await ask(address, hub)


async def test_a_certificate_outside_its_time_is_refused(authority: Authority) -> None:
    now = time.time()
    async with at(authority.issue_hub(now)) as address:
        for wrong in (now - 91 * DAY, now + 1 * DAY):
            with pytest.raises(grpc.aio.AioRpcError):
                await ask(address, a_node(authority, wrong))
    async with at(authority.issue_hub(now + DAY)) as address:
        with pytest.raises(grpc.aio.AioRpcError, match="not yet valid"):
            await ask(address, a_node(authority, now))


async def test_a_caller_of_another_authority_is_refused_and_so_is_another_authoritys_hub(
    authority: Authority, tmp_path: Path
) -> None:
    now = time.time()
    other = Authority.open(tmp_path / "other", now, write_file)
    stranger = a_node(other, now)
    async with at(authority.issue_hub(now)) as address:
        with pytest.raises(grpc.aio.AioRpcError):
            await ask(address, Identity(stranger.key, stranger.certificate, authority.certificate))
        with pytest.raises(grpc.aio.AioRpcError, match="CERTIFICATE_VERIFY_FAILED"):
            await ask(address, stranger)


async def test_a_certificate_made_again_for_the_authoritys_key_changes_nothing_for_anybody(
    authority: Authority, tmp_path: Path
) -> None:
    now = time.time()
    node = a_node(authority, now)
    (tmp_path / "authority" / "authority.crt").unlink()
    again = Authority.open(tmp_path / "authority", now, write_file)
    assert again.certificate != authority.certificate
    async with at(again.issue_hub(now)) as address:
        assert await ask(address, node) == "node/kiosk-7"
        assert await ask(address, a_node(again, now)) == "node/kiosk-7"

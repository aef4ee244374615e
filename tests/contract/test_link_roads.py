"""What a person reads when a hub can't be reached, or is not the right one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
import pytest

from modelsyncd.errors import ModelsyncError, RoadError, WrongProtocolError
from modelsyncd.link.channel import open_channel
from modelsyncd.link.server import bind_tls, make_server, serving
from modelsyncd.link.stream import ServicerStream, open_session, serve_sessions
from modelsyncd.trust.authority import Authority
from modelsyncd.trust.identity import Identity
from modelsyncd.wire.status import Context
from tests.fakes.authorities import make_authority

LONG_AGO = 40 * 365 * 86_400  # seconds: longer than any certificate lives


@asynccontextmanager
async def hub(identity: Identity) -> AsyncIterator[str]:
    async def hold(stream: ServicerStream, _: Context) -> None:
        await stream.read()

    server = make_server()
    serve_sessions(server, hold)
    address = bind_tls(server, "127.0.0.1:0", identity)
    async with serving(server, grace=0):
        yield address


@asynccontextmanager
async def stranger(answer: bytes | None) -> AsyncIterator[str]:
    """Something that is no hub: says `answer` to whoever connects, or just hangs up."""

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if answer is not None:
            await reader.read(100)
            writer.write(answer)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(meet, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def failure(address: str, identity: Identity) -> ModelsyncError:
    async with asyncio.timeout(10), open_channel(address, identity) as channel:
        with pytest.raises(ModelsyncError) as caught:
            async with open_session(channel, address) as stream:
                await stream.read()
    return caught.value


@pytest.fixture(name="authority")
def _authority(tmp_path: Path) -> Authority:
    return make_authority(tmp_path)


@pytest.fixture(name="anna")
def _anna(authority: Authority) -> Identity:
    return authority.issue_admin("anna", time.time())


async def test_an_address_where_nothing_listens_is_named(anna: Identity) -> None:
    found = await failure("127.0.0.1:1", anna)
    assert isinstance(found, RoadError)
    assert found.message == "nothing listens at 127.0.0.1:1"


async def test_a_name_that_does_not_exist_is_named(anna: Identity) -> None:
    found = await failure("no-such-host.invalid:7443", anna)
    assert isinstance(found, RoadError)
    assert "no-such-host.invalid:7443 can't be found" in found.message


async def test_a_hub_of_another_authority_is_not_our_hub(anna: Identity, tmp_path: Path) -> None:
    other = make_authority(tmp_path / "other")
    async with hub(other.issue_hub(time.time())) as address:
        found = await failure(address, anna)
    assert isinstance(found, RoadError)
    assert "not our hub" in found.message


async def test_a_certificate_of_another_authority_is_not_accepted(authority: Authority, tmp_path: Path) -> None:
    other = make_authority(tmp_path / "other").issue_admin("anna", time.time())
    async with hub(authority.issue_hub(time.time())) as address:
        found = await failure(address, Identity(other.key, other.certificate, authority.certificate))
    assert isinstance(found, RoadError)
    assert "seen our certificate" in found.message


async def test_an_expired_certificate_of_ours_is_not_accepted(authority: Authority) -> None:
    async with hub(authority.issue_hub(time.time())) as address:
        found = await failure(address, authority.issue_admin("anna", time.time() - LONG_AGO))
    assert "seen our certificate" in found.message
    assert "expired" in found.hint


async def test_an_expired_hub_is_said_to_be_so_by_this_machines_clock(authority: Authority, anna: Identity) -> None:
    async with hub(authority.issue_hub(time.time() - LONG_AGO)) as address:
        found = await failure(address, anna)
    assert "by this machine's clock" in found.message


async def test_a_node_can_not_pass_for_a_hub(authority: Authority, anna: Identity) -> None:
    async with hub(authority.issue_admin("mallory", time.time())) as address:
        found = await failure(address, anna)
    assert isinstance(found, RoadError)
    assert "hub" in found.message


async def test_a_captive_portal_is_not_a_hub(anna: Identity) -> None:
    async with stranger(b"HTTP/1.1 302 Found\r\nLocation: http://portal.invalid/\r\n\r\n") as address:
        found = await failure(address, anna)
    assert isinstance(found, RoadError)
    assert "does not speak TLS" in found.message


async def test_something_that_hangs_up_at_once_is_said_to(anna: Identity) -> None:
    async with stranger(None) as address:
        found = await failure(address, anna)
    assert isinstance(found, RoadError)
    assert "before a word was said" in found.message


async def test_a_hub_without_sessions_is_of_another_protocol(authority: Authority, anna: Identity) -> None:
    server = make_server()
    address = bind_tls(server, "127.0.0.1:0", authority.issue_hub(time.time()))
    async with serving(server, grace=0):
        found = await failure(address, anna)
    assert isinstance(found, WrongProtocolError)


async def test_whoever_has_no_certificate_gets_nowhere(authority: Authority) -> None:
    async with hub(authority.issue_hub(time.time())) as address:
        credentials = grpc.ssl_channel_credentials(authority.certificate)
        options = [("grpc.ssl_target_name_override", "hub.modelsyncd")]
        async with asyncio.timeout(10), grpc.aio.secure_channel(address, credentials, options) as channel:
            with pytest.raises(RoadError):
                async with open_session(channel, address) as stream:
                    await stream.read()

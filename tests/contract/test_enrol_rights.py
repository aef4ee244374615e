"""Who may call the service that lets nodes in, and how others are refused."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent import enrolment
from edge_agent.enrol import enrol
from modelsyncd.errors import BadInputError, InviteError, RefusedError, RoadError
from modelsyncd.link.channel import open_channel
from modelsyncd.store.durable import write_file
from modelsyncd.trust import invite as invites
from modelsyncd.trust import keys
from modelsyncd.trust.authority import Authority
from modelsyncd.trust.identity import Identity, Kind, Peer
from modelsyncd.wire.status import translated
from modelsyncd.wire.v1 import sync_pb2, sync_pb2_grpc
from tests.fakes.enrolling import Hub, open_hub

NODE = Peer(Kind.NODE, "kiosk-7")


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    async with open_hub(tmp_path) as it:
        yield it


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "agent"


async def _renew(hub: Hub, identity: Identity, key: bytes) -> None:
    async with open_channel(hub.address, identity) as channel:
        request = sync_pb2.RenewRequest(csr=keys.new_request(key, NODE))
        with translated():
            await sync_pb2_grpc.EnrolServiceStub(channel).Renew(request, timeout=20)


async def _enrol(hub: Hub, identity: Identity, csr: bytes | None = None) -> None:
    async with open_channel(hub.address, identity) as channel:
        request = sync_pb2.EnrolRequest(name="kiosk-7", csr=csr or keys.new_request(keys.new_key(), NODE))
        with translated():
            await sync_pb2_grpc.EnrolServiceStub(channel).Enrol(request, timeout=20)


async def test_only_an_invite_may_enrol(hub: Hub, data: Path) -> None:
    await enrol(data, hub.address, hub.invite(), time.time())
    for identity in (enrolment.identity(data), hub.authority.issue_admin("root", time.time())):
        with pytest.raises(RefusedError, match="no invite"):
            await _enrol(hub, identity)


async def test_an_invite_that_this_hub_never_made_is_refused(hub: Hub) -> None:
    with pytest.raises(InviteError, match="does not know"):
        await _enrol(hub, hub.authority.issue_invite("0" * 32, time.time()))


async def test_a_bad_request_does_not_use_the_invite_up(hub: Hub, data: Path) -> None:
    token = hub.invite()
    with pytest.raises(BadInputError):
        await _enrol(hub, invites.decode(token).identity, b"rubbish")
    assert (await enrol(data, hub.address, token, time.time())).name == "kiosk-7"


async def test_only_a_node_that_is_in_may_renew(hub: Hub, data: Path) -> None:
    token = hub.invite()
    await enrol(data, hub.address, token, time.time())
    identity = enrolment.identity(data)
    for other in (invites.decode(token).identity, hub.authority.issue_admin("kiosk-7", time.time())):
        with pytest.raises(RefusedError, match="is no node"):
            await _renew(hub, other, identity.key)
    hub.catalog.nodes.remove("kiosk-7")
    with pytest.raises(RefusedError, match="was removed from this hub"):
        await _renew(hub, identity, identity.key)


async def test_the_old_certificate_of_a_name_that_was_let_in_anew_renews_nothing(
    hub: Hub, data: Path, tmp_path: Path
) -> None:
    await enrol(data, hub.address, hub.invite(), time.time())
    old = enrolment.identity(data)
    hub.catalog.nodes.remove("kiosk-7")
    await enrol(tmp_path / "other", hub.address, hub.invite(), time.time())
    with pytest.raises(RefusedError, match="another key"):
        await _renew(hub, old, old.key)


async def test_a_certificate_is_renewed_for_its_own_key_only(hub: Hub, data: Path) -> None:
    await enrol(data, hub.address, hub.invite(), time.time())
    with pytest.raises(RefusedError, match="same key"):
        await _renew(hub, enrolment.identity(data), keys.new_key())


async def test_an_identity_of_another_hub_gets_no_word(hub: Hub, tmp_path: Path) -> None:
    theirs = Authority.open(tmp_path / "theirs", time.time(), write_file).issue_admin("root", time.time())
    with pytest.raises(RoadError):
        await _enrol(hub, replace(theirs, authority=hub.authority.certificate))
    with pytest.raises(RoadError):
        await _enrol(hub, theirs)

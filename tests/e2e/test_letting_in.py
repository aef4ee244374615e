"""Who gets in, and what they may read there: real agents, and peers that misuse the certificates of real nodes."""

from __future__ import annotations

import subprocess
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from modelsyncd.errors import ModelsyncError, RefusedError
from modelsyncd.link.channel import open_channel
from modelsyncd.session.frames import Offer
from modelsyncd.trust import invite as invites
from modelsyncd.trust.identity import Identity
from modelsyncd.wire.nouns import decode_release, signed_from_pb
from modelsyncd.wire.v1 import catalog_pb2 as pb
from modelsyncd.wire.v1.catalog_pb2_grpc import CatalogServiceStub
from tests.e2e.conftest import StartAgent
from tests.e2e.content import folder, tree
from tests.e2e.fleet import admin, until_active
from tests.e2e.processes import AgentProgram, HubProgram
from tests.e2e.waiting import until
from tests.fakes.hub import talking
from tests.fakes.publisher import Puller

ENDS = 30.0  # seconds in which an agent that is not let in must have ended


def refused(program: AgentProgram) -> str:
    """Runs an agent that must not be let in; what it says."""
    done = subprocess.run(program.command, capture_output=True, text=True, check=False, timeout=ENDS)
    assert done.returncode == 4, done.stderr
    assert not (program.data / "identity" / "node.crt").exists()
    return done.stdout + done.stderr


def with_token(program: AgentProgram, token: str) -> AgentProgram:
    program.command[program.command.index("--invite") + 1] = token
    return program


def token_of(program: AgentProgram) -> str:
    return program.command[program.command.index("--invite") + 1]


@pytest.fixture
def guest(hub: HubProgram, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[AgentProgram]:
    """An agent with a fresh invite that was not started yet."""
    program = AgentProgram.invited(hub, f"guest-{zlib.crc32(request.node.name.encode())}", tmp_path / "guest")
    yield program
    program.kill()


def test_an_invite_lets_in_once_and_tells_the_second_what_to_do(guest: AgentProgram, tmp_path: Path) -> None:
    guest.start()
    until((guest.data / "identity" / "node.crt").exists, "the first is let in")
    thief = replace(guest, data=tmp_path / "thief", command=list(guest.command), process=None)
    thief.command[thief.command.index("--data") + 1] = str(thief.data)
    said = refused(thief)
    assert "used already" in said
    assert "modelsyncctl node invite" in said


def test_an_expired_invite_is_refused_in_words(hub: HubProgram, guest: AgentProgram) -> None:
    token = hub.ctl.json("node", "invite", "guest-late", "--hours", "0.0001")["token"]
    wait = invites.decode(token)
    until(lambda: _past(wait.expires_at), "the invite has expired")
    said = refused(with_token(guest, token))
    assert "expired" in said
    assert "modelsyncctl node invite guest-late" in said


def _past(moment: float) -> bool:
    return time.time() > moment


def test_an_invite_for_another_name_is_refused_in_words(guest: AgentProgram) -> None:
    theirs = invites.decode(token_of(guest))
    said = refused(with_token(guest, invites.encode(replace(theirs, name="guest-mallory"))))
    assert f"for {theirs.name}, not for guest-mallory" in said


def test_a_damaged_invite_is_refused_before_anything_is_sent(guest: AgentProgram) -> None:
    said = refused(with_token(guest, token_of(guest)[:-20]))
    assert "copy the whole line" in said


async def offer_of(hub: HubProgram, ref: str) -> Offer:
    """What the hub would offer of a release."""
    async with open_channel(hub.address, admin(hub)) as channel:
        view = (await CatalogServiceStub(channel).GetRelease(pb.GetReleaseRequest(ref=ref))).release
    signed = signed_from_pb(view.signed)
    return Offer(signed, decode_release(signed.release).variants[0].manifest.digest)


async def outcome(hub: HubProgram, identity: Identity, offer: Offer, puller: Puller) -> ModelsyncError | None:
    """How it ends when somebody takes this release."""
    async with talking(hub.address, identity, taker=puller) as talk:
        talk.take(offer)
        found = await talk.outcome(offer)
    return found if isinstance(found, ModelsyncError) else None


async def test_a_node_reads_what_it_is_assigned_and_not_a_byte_of_anything_else(
    hub: HubProgram, start_agent: StartAgent, tmp_path: Path
) -> None:
    agent = start_agent(hub, "reader-1")
    origin = folder(tmp_path / "mine", seed=31)
    hub.ctl.json("push", str(origin), "reader/mine", "--channel", "stable")
    hub.ctl.json("push", str(folder(tmp_path / "other", seed=32)), "reader/other", "--channel", "stable")
    hub.ctl.json("push", str(folder(tmp_path / "later", seed=33)), "reader/mine", "--channel", "canary")
    hub.ctl.json("assign", "reader/mine@stable", "--node", "reader-1")
    assert tree(until_active(agent, "reader/mine@stable", 1)) == tree(origin)
    agent.stop()
    node = Identity.load(agent.data / "identity")
    assert await outcome(hub, node, await offer_of(hub, "reader/mine@stable"), Puller()) is None
    for ref in ("reader/other@stable", "reader/mine@canary"):
        puller = Puller()
        error = await outcome(hub, node, await offer_of(hub, ref), puller)
        assert isinstance(error, RefusedError), ref
        assert "not assigned" in error.message
        assert puller.arrived == []
    hub.ctl.json("unassign", "reader/mine@stable", "--node", "reader-1")
    puller = Puller()
    assert isinstance(await outcome(hub, node, await offer_of(hub, "reader/mine:1"), puller), RefusedError)
    assert puller.arrived == []


async def test_a_removed_node_is_turned_away_and_its_files_stay(
    hub: HubProgram, start_agent: StartAgent, tmp_path: Path
) -> None:
    agent = start_agent(hub, "removed-1")
    origin = folder(tmp_path / "origin", seed=34)
    hub.ctl.json("push", str(origin), "removed/model", "--channel", "stable")
    hub.ctl.json("assign", "removed/model@stable", "--node", "removed-1")
    path = until_active(agent, "removed/model@stable", 1)
    offer = await offer_of(hub, "removed/model@stable")
    hub.ctl.json("node", "remove", "removed-1")
    until(lambda: "removed" in agent.log.read_text(), "the agent was told that it was removed")
    error = await outcome(hub, Identity.load(agent.data / "identity"), offer, Puller())
    assert isinstance(error, RefusedError)
    assert tree(path) == tree(origin)
    assert agent.running

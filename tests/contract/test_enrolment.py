"""How a node is let in, stays in and comes back: a real hub's port on loopback, a real catalogue, real files."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent import enrol as child
from edge_agent import enrolment
from edge_agent.enrol import enrol
from edge_agent.settings import Settings
from modelsyncd.digest import Buffer
from modelsyncd.errors import (
    DamageError,
    DiskError,
    DiskFullError,
    InviteError,
    NoProgressError,
    RoadError,
)
from modelsyncd.store.durable import write_file
from modelsyncd.trust import invite as invites
from modelsyncd.trust import keys
from modelsyncd.trust.authority import Authority
from modelsyncd.trust.identity import Kind, Peer
from modelsyncd.trust.invite import Invite
from tests.fakes.enrolling import DAY, Hub, open_hub

NODE = Peer(Kind.NODE, "kiosk-7")


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    async with open_hub(tmp_path) as it:
        yield it


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "agent"


def contents(data: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in enrolment.folder_of(data).iterdir()}


class TestLettingIn:
    async def test_an_invite_becomes_a_certificate_for_a_key_that_never_left_the_node(
        self, hub: Hub, data: Path
    ) -> None:
        facts = await enrol(data, hub.address, hub.invite(), time.time())
        identity = enrolment.identity(data)
        assert (facts.name, facts.problem) == ("kiosk-7", None)
        assert keys.holder_of(identity.certificate) == NODE
        assert keys.public_key_in(identity.certificate) == hub.catalog.nodes.known_key("kiosk-7")
        assert identity.authority == hub.authority.certificate
        assert enrolment.known(data) == facts
        assert {file.stat().st_mode & 0o777 for file in enrolment.folder_of(data).iterdir()} == {0o600}

    async def test_an_invite_in_the_unit_file_does_no_harm_afterwards(self, hub: Hub, data: Path) -> None:
        token = hub.invite()
        facts = await enrol(data, hub.address, token, time.time())
        before = contents(data)
        assert await enrol(data, "127.0.0.1:1", token, time.time()) == facts
        assert await enrol(data, "127.0.0.1:1", "", time.time()) == facts
        assert contents(data) == before

    async def test_an_invite_lets_one_node_in_and_says_so_to_the_second(
        self, hub: Hub, data: Path, tmp_path: Path
    ) -> None:
        token = hub.invite()
        await enrol(data, hub.address, token, time.time())
        with pytest.raises(InviteError, match="used already") as caught:
            await enrol(tmp_path / "thief", hub.address, token, time.time())
        assert "modelsyncctl node invite" in caught.value.hint

    async def test_an_expired_invite_is_refused_in_words(self, hub: Hub, data: Path) -> None:
        with pytest.raises(InviteError, match="expired"):
            await enrol(data, hub.address, hub.invite(ttl=-1), time.time())
        assert enrolment.known(data) is None

    async def test_an_invite_for_another_name_is_refused_in_words(self, hub: Hub, data: Path) -> None:
        theirs = replace(invites.decode(hub.invite("kiosk-8")), name="kiosk-7")
        with pytest.raises(InviteError, match="for kiosk-8, not for kiosk-7"):
            await enrol(data, hub.address, invites.encode(theirs), time.time())

    async def test_without_an_invite_a_new_node_is_told_how_to_get_one(self, data: Path) -> None:
        with pytest.raises(InviteError, match="not let in") as caught:
            await enrol(data, "127.0.0.1:1", "", time.time())
        assert "modelsyncctl node invite" in caught.value.hint

    async def test_a_hub_that_is_away_is_the_roads_fault(self, hub: Hub, data: Path) -> None:
        with pytest.raises(RoadError):
            await enrol(data, "127.0.0.1:1", hub.invite(), time.time())
        assert (await enrol(data, hub.address, "", time.time())).name == "kiosk-7"

    async def test_a_clock_in_1970_is_named_as_the_reason(self, hub: Hub, data: Path) -> None:
        with pytest.raises(RoadError, match="1970-01-01") as caught:
            await enrol(data, hub.address, hub.invite(), 60.0)
        assert "clock" in caught.value.hint

    async def test_a_hub_that_answers_with_another_nodes_certificate_is_not_believed(
        self, hub: Hub, data: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            Authority, "issue_node", lambda self, name, csr, now: self.issue_admin("mallory", now).certificate
        )
        with pytest.raises(DamageError, match="not for node/kiosk-7"):
            await enrol(data, hub.address, hub.invite(), time.time())
        assert not (enrolment.folder_of(data) / "node.crt").exists()


class TestCrashing:
    @pytest.mark.parametrize("room", range(7))
    async def test_a_crash_after_any_write_is_healed_by_trying_again_even_untold(
        self, hub: Hub, data: Path, monkeypatch: pytest.MonkeyPatch, room: int
    ) -> None:
        token = hub.invite()
        left = room

        def crashing(path: Path, content: Buffer, mode: int = 0o644) -> None:
            nonlocal left
            if left == 0:
                raise DiskFullError
            left -= 1
            write_file(path, content, mode)

        with monkeypatch.context() as patch:
            patch.setattr(child, "write_file", crashing)
            with pytest.raises(DiskFullError):
                await enrol(data, hub.address, token, time.time())
        stored = (enrolment.folder_of(data) / child.INVITE_FILE).exists()
        facts = await enrol(data, hub.address, "" if stored else token, time.time())
        assert stored == (room >= 2)
        assert keys.public_key_in(enrolment.identity(data).certificate) == hub.catalog.nodes.known_key("kiosk-7")
        assert facts.problem is None

    async def test_a_hub_that_dies_after_using_up_the_invite_lets_the_same_key_in_again(
        self, hub: Hub, data: Path
    ) -> None:
        hub.nodes.dies_after_redeeming = True
        token = hub.invite()
        with pytest.raises(DiskError, match="planted"):
            await enrol(data, hub.address, token, time.time())
        assert (await enrol(data, hub.address, token, time.time())).name == "kiosk-7"

    async def test_lost_facts_are_made_again_from_the_certificate_with_no_hub_in_reach(
        self, hub: Hub, data: Path
    ) -> None:
        facts = await enrol(data, hub.address, hub.invite(), time.time())
        (enrolment.folder_of(data) / enrolment.FACTS_FILE).unlink()
        again = await enrol(data, "127.0.0.1:1", "", time.time())
        assert (again.name, again.ends) == (facts.name, facts.ends)

    async def test_a_damaged_certificate_is_replaced_with_the_invite_that_was_kept(self, hub: Hub, data: Path) -> None:
        await enrol(data, hub.address, hub.invite(), time.time())
        (enrolment.folder_of(data) / "node.crt").write_bytes(b"rot")
        assert (await enrol(data, hub.address, "", time.time())).problem is None
        assert keys.holder_of(enrolment.identity(data).certificate) == NODE


class TestStayingIn:
    async def test_a_certificate_is_renewed_for_the_same_key_after_two_thirds_of_its_life(
        self, hub: Hub, data: Path
    ) -> None:
        first = await enrol(data, hub.address, hub.invite(), time.time())
        key = enrolment.identity(data).key
        hub.ahead = 61 * DAY
        second = await enrol(data, hub.address, "", hub.clock())
        assert second.ends - first.ends == pytest.approx(61 * DAY, abs=60)
        assert enrolment.identity(data).key == key
        assert second.problem is None

    async def test_a_hub_that_is_away_when_renewal_is_due_is_no_error_while_the_certificate_holds(
        self, hub: Hub, data: Path
    ) -> None:
        first = await enrol(data, hub.address, hub.invite(), time.time())
        second = await enrol(data, "127.0.0.1:1", "", time.time() + 61 * DAY)
        assert second.problem is not None
        assert second.problem.code == "road"
        assert replace(second, problem=None) == first == enrolment.known(data)

    async def test_a_certificate_that_ended_is_replaced_with_the_invite_that_was_kept(
        self, hub: Hub, data: Path
    ) -> None:
        await enrol(data, hub.address, hub.invite(), time.time())
        hub.ahead = 200 * DAY
        facts = await enrol(data, hub.address, "", hub.clock())
        assert facts.ends > hub.clock()
        assert facts.problem is None

    async def test_a_node_whose_certificate_ended_and_who_was_removed_is_told(self, hub: Hub, data: Path) -> None:
        await enrol(data, hub.address, hub.invite(), time.time())
        hub.catalog.nodes.remove("kiosk-7")
        with pytest.raises(InviteError, match="removed"):
            await enrol(data, hub.address, "", time.time() + 100 * DAY)
        (enrolment.folder_of(data) / child.INVITE_FILE).unlink()
        with pytest.raises(InviteError, match="certificate ended on 20") as caught:
            await enrol(data, hub.address, "", time.time() + 100 * DAY)
        assert "keep working" in caught.value.safe

    async def test_a_removed_node_comes_back_with_a_new_invite_while_its_old_certificate_holds(
        self, hub: Hub, data: Path
    ) -> None:
        await enrol(data, hub.address, hub.invite(), time.time())
        hub.catalog.nodes.remove("kiosk-7")
        assert hub.catalog.nodes.known_key("kiosk-7") is None
        facts = await enrol(data, hub.address, hub.invite(), time.time())
        assert facts.problem is None
        assert hub.catalog.nodes.known_key("kiosk-7") is not None

    @pytest.mark.parametrize("kind", ["garbage", "void", "unreachable"])
    async def test_a_bad_invite_is_a_problem_but_not_the_end_of_a_certificate_that_holds(
        self, hub: Hub, data: Path, kind: str
    ) -> None:
        void = hub.invite()
        await enrol(data, hub.address, hub.invite(), time.time())
        before = contents(data)
        token = {"garbage": "msi1_x", "void": void, "unreachable": void}[kind]
        address = "127.0.0.1:1" if kind == "unreachable" else hub.address
        facts = await enrol(data, address, token, time.time())
        assert facts.problem is not None
        assert facts.problem.code == ("road" if kind == "unreachable" else "invite-refused")
        assert contents(data) == before

    async def test_an_old_invite_in_the_unit_file_does_not_stand_in_the_way_of_the_one_that_was_kept(
        self, hub: Hub, data: Path
    ) -> None:
        void = hub.invite()
        await enrol(data, hub.address, hub.invite(), time.time())
        hub.ahead = 200 * DAY
        assert (await enrol(data, hub.address, void, hub.clock())).problem is None


class TestTheAgentsSide:
    """What runs in the agent itself, which starts a child when there is something to do."""

    async def test_a_child_enrols_and_then_none_is_needed(
        self, hub: Hub, data: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        token = hub.invite()
        facts = await enrolment.ensure(data, hub.address, token, time.time())
        assert facts == enrolment.known(data)
        assert keys.holder_of(enrolment.identity(data).certificate) == NODE
        monkeypatch.setattr("sys.executable", "/nonexistent")
        assert await enrolment.ensure(data, hub.address, token, time.time()) == facts
        assert await enrolment.ensure(data, hub.address, "\n", time.time()) == facts

    async def test_what_the_hub_says_to_the_child_reaches_the_agent_whole(self, hub: Hub, data: Path) -> None:
        with pytest.raises(InviteError, match="expired") as caught:
            await enrolment.ensure(data, hub.address, hub.invite(ttl=-1), time.time())
        assert "modelsyncctl node invite kiosk-7" in caught.value.hint
        with pytest.raises(InviteError, match="is not an invite"):
            await enrolment.ensure(data, hub.address, "rubbish", time.time())

    async def test_an_invite_file_may_be_removed_once_the_node_is_let_in(self, hub: Hub, data: Path) -> None:
        file = data.parent / "invite"
        file.write_text(hub.invite() + "\n")
        settings = Settings(data, hub.address, invite_file=file)
        facts = await enrol(data, hub.address, await settings.token(), time.time())
        file.unlink()
        assert await enrol(data, hub.address, await settings.token(), time.time()) == facts

    async def test_a_problem_is_logged_and_told_again_next_time(
        self, hub: Hub, data: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        facts = await enrolment.ensure(data, hub.address, hub.invite(), time.time())
        other = hub.authority.issue_invite("0" * 32, time.time())
        unknown = invites.encode(Invite("0" * 32, "kiosk-7", time.time(), other))
        for _ in range(2):
            again = await enrolment.ensure(data, hub.address, unknown, time.time())
            assert again.problem is not None
            assert replace(again, problem=None) == facts
        assert [record.message for record in caplog.records].count("enrolment.stale") == 2

    async def test_a_child_that_dies_without_a_word_is_reported_with_its_last_ones(
        self, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broken = tmp_path / "python"
        broken.write_text("#!/bin/sh\ncat > /dev/null\necho out of luck >&2\nexit 3\n")
        broken.chmod(0o755)
        monkeypatch.setattr("sys.executable", str(broken))
        with pytest.raises(Exception, match="out of luck"):
            await enrolment.ensure(data, "127.0.0.1:1", "", time.time())

    async def test_a_child_that_somebody_kills_is_no_reason_to_give_up(
        self, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        killed = tmp_path / "python"
        killed.write_text("#!/bin/sh\ncat > /dev/null\nkill -9 $$\n")
        killed.chmod(0o755)
        monkeypatch.setattr("sys.executable", str(killed))
        with pytest.raises(NoProgressError, match="signal 9") as caught:
            await enrolment.ensure(data, "127.0.0.1:1", "", time.time())
        assert caught.value.retryable

    @pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({"problem": {"x": 1}})])
    async def test_damaged_facts_are_made_again(self, hub: Hub, data: Path, text: str) -> None:
        facts = await enrol(data, hub.address, hub.invite(), time.time())
        (enrolment.folder_of(data) / enrolment.FACTS_FILE).write_text(text)
        assert enrolment.known(data) is None
        again = await enrol(data, hub.address, "", time.time())
        assert (again.name, again.invite, again.problem) == (facts.name, facts.invite, None)
        assert enrolment.known(data) == again

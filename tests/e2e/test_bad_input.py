"""What comes from outside and means harm: refused in words, and nothing of it is ever written."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from modelsyncd.errors import BadInputError, HostilePathError, ModelsyncError
from modelsyncd.session.events import Encoded
from modelsyncd.session.frames import Part
from tests.e2e.conftest import StartAgent
from tests.e2e.content import folder
from tests.e2e.fleet import admin
from tests.e2e.processes import AgentProgram, HubProgram
from tests.e2e.travel import pushing
from tests.e2e.waiting import until
from tests.fakes.hub import talking
from tests.fakes.impostor import Impostor, flipped, impostor
from tests.fakes.link.shape import Way
from tests.fakes.oracle import whole_versions
from tests.fakes.publisher import Publication, publication, weights

HOSTILE = {
    "up": "../evil",
    "up-in-the-middle": "a/../../../evil",
    "absolute": "/evil",
    "zero-byte": "ev\0il",
    "long": "e" * 4_096,
    "deep": "/".join(["e"] * 3_000),
    "empty-part": "a//b",
    "backslash": "..\\evil",
    "nothing": "",
}


def hostile(name: str, path: str, number: int = 1, producer: str = "admin/admin") -> Publication:
    """A release with an honest file and one that would lie where it must not."""
    files = {path: weights(1, 100_000), "model.bin": weights(2, 300_000)}
    return publication(files, model=f"hostile/{name}", number=number, producer=producer, channel="stable")


# --- folders that people push ---


def leave_by_a_link(origin: Path) -> None:
    (origin / "outside").symlink_to("/etc/hostname")


def add_a_fifo(origin: Path) -> None:
    os.mkfifo(origin / "pipe")


def clash_in_case(origin: Path) -> None:
    (origin / "Weights.bin").write_bytes(b"other")


def add_a_name_that_is_no_text(origin: Path) -> None:
    Path(os.fsdecode(os.fsencode(origin) + b"/\xff\xfe")).write_bytes(b"x")


@pytest.mark.parametrize("harm", [leave_by_a_link, add_a_fifo, clash_in_case, add_a_name_that_is_no_text])
def test_a_folder_that_not_every_node_could_hold_is_refused_by_name(
    hub: HubProgram, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    model = f"hostile/{harm.__name__.replace('_', '-')}"
    origin = folder(tmp_path / "origin", size=100_000)
    harm(origin)
    error = hub.ctl.error(2, "push", str(origin), model)
    assert error["code"] in ("hostile-path", "bad-input")
    assert error["message"]
    assert hub.ctl.error(3, "show", model)["code"] == "not-found"


def test_a_source_that_changes_while_it_is_pushed_publishes_nothing(own_hub: HubProgram, tmp_path: Path) -> None:
    with pushing(own_hub, tmp_path) as push:
        push.link.reach(Way.UP, 4_000_000)
        with (push.origin / "weights.bin").open("r+b") as file:
            file.seek(15_000_000)
            file.write(b"changed while it was on its way")
        assert push.process is not None
        _, err = push.process.communicate(timeout=60)
        assert push.process.returncode == 2, err
        assert '"source-changed"' in err
        assert own_hub.ctl.json("list")["models"] == []
    again = own_hub.ctl.json("push", str(push.origin), "far/model")
    assert again["number"] == 1
    assert again["bytes_had"] > 2_000_000, "what arrived before is not sent again"


# --- manifests that a peer gives to the hub ---


async def outcome(hub: HubProgram, what: Publication) -> ModelsyncError:
    """How the hub ends the push of this, which it must not take."""
    async with talking(hub.address, admin(hub), giver=what) as talk:
        talk.say(what.offer)
        found = await talk.outcome(what.offer)
    assert isinstance(found, ModelsyncError), f"the hub took {what.offer}"
    return found


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hub_refuses_a_hostile_path_before_a_byte_of_content(hub: HubProgram, name: str) -> None:
    what = hostile(name, HOSTILE[name])
    error = await outcome(hub, what)
    assert isinstance(error, HostilePathError)
    assert {part for part, _ in what.given} == {Part.MANIFEST}
    assert (await asyncio.to_thread(hub.ctl.error, 3, "show", f"hostile/{name}"))["code"] == "not-found"


@pytest.mark.parametrize("files", [{"a": b"1", "A": b"2"}, {"a": b"1", "a/b": b"2"}], ids=["case", "file and folder"])
async def test_a_hub_refuses_files_that_can_not_be_together(hub: HubProgram, files: dict[str, bytes]) -> None:
    what = publication(files, model="hostile/together", producer="admin/admin")
    assert isinstance(await outcome(hub, what), BadInputError)
    assert {part for part, _ in what.given} == {Part.MANIFEST}


# --- a hub that has gone bad ---


@pytest.fixture
def enrolled(own_hub: HubProgram, start_agent: StartAgent) -> AgentProgram:
    """An agent that was let in by its hub and does not run; the hub does not either."""
    agent = start_agent(own_hub, "victim")
    until((agent.data / "identity" / "enrolment.json").exists, "the agent is let in")
    agent.stop()
    own_hub.stop()
    return agent


def point(agent: AgentProgram, at: Impostor) -> None:
    agent.command[agent.command.index("--hub") + 1] = at.address


def outside(tmp_path: Path, agent: AgentProgram) -> set[str]:
    """Everything that lies around the agent's folder."""
    inside = (agent.data, tmp_path / "hub")
    return {str(path) for path in tmp_path.rglob("*") if not any(folder in path.parents for folder in inside)}


async def test_an_agent_refuses_hostile_paths_of_its_own_hub_and_writes_nothing(
    own_hub: HubProgram, enrolled: AgentProgram, tmp_path: Path
) -> None:
    paths = HOSTILE | {"absolute": str(tmp_path / "evil")}
    gives = [hostile(name, path) for name, path in paths.items()]
    honest = publication({"model.bin": weights(3, 300_000)}, model="honest/model", producer="admin/admin")
    before = outside(tmp_path, enrolled)
    async with impostor(own_hub.data, [*gives, honest]) as bad:
        point(enrolled, bad)
        await asyncio.to_thread(enrolled.start)
        await bad.until(lambda: len(bad.faults()) == len(paths) and bad.active())
        assert {fault.code for fault in bad.faults().values()} == {"hostile-path"}
        assert bad.active() == {"honest/model": 1}
        hostile_ones = {one.manifest for one in gives}
        assert {part for manifest, part, _ in bad.asked if manifest in hostile_ones} == {Part.MANIFEST}
    assert set(whole_versions(enrolled.data)) == {"honest/model:1"}
    assert outside(tmp_path, enrolled) == before


async def test_chunks_that_arrive_changed_are_asked_for_again_and_nothing_of_them_is_kept(
    own_hub: HubProgram, enrolled: AgentProgram
) -> None:
    what = publication({"model.bin": weights(4, 3_000_000)}, model="flipped/twice", producer="admin/admin")
    times: dict[int, int] = {}

    def tamper(chunk: Encoded) -> Encoded:
        times[chunk.ordinal] = times.get(chunk.ordinal, 0) + 1
        return flipped(chunk) if chunk.ordinal % 5 == 0 and times[chunk.ordinal] <= 2 else chunk

    async with impostor(own_hub.data, [what]) as bad:
        bad.tamper = tamper
        point(enrolled, bad)
        await asyncio.to_thread(enrolled.start)
        await bad.until(bad.active)
        assert {times[ordinal] for ordinal in times if ordinal % 5 == 0} == {3}
        assert {times[ordinal] for ordinal in times if ordinal % 5} == {1}
    assert set(whole_versions(enrolled.data)) == {"flipped/twice:1"}


async def test_a_chunk_that_never_arrives_right_ends_its_transfer_and_the_old_version_serves(
    own_hub: HubProgram, enrolled: AgentProgram
) -> None:
    old = publication({"model.bin": weights(5, 600_000)}, model="flipped/always", producer="admin/admin")
    new = publication({"model.bin": weights(6, 600_000)}, model="flipped/always", number=2, producer="admin/admin")
    async with impostor(own_hub.data, [old]) as good:
        point(enrolled, good)
        await asyncio.to_thread(enrolled.start)
        await good.until(good.active)
    await asyncio.to_thread(enrolled.stop)
    async with impostor(own_hub.data, [new]) as bad:
        bad.tamper = lambda chunk: flipped(chunk) if chunk.ordinal == 3 else chunk
        point(enrolled, bad)
        await asyncio.to_thread(enrolled.start)
        fault = (await bad.until(bad.faults))["flipped/always"]
        assert fault.code == "damage"
        assert fault.safe
        assert fault.hint
        assert bad.active() == {"flipped/always": 1}
        assert [ordinal for _, part, ordinal in bad.asked if part is Part.CONTENT].count(3) == 3
    assert set(whole_versions(enrolled.data)) == {"flipped/always:1"}


async def test_a_hub_with_another_protocol_number_is_left_alone_and_jobs_are_told_nothing_new(
    own_hub: HubProgram, enrolled: AgentProgram
) -> None:
    what = publication({"model.bin": weights(7, 100_000)}, model="future/model", producer="admin/admin")
    async with impostor(own_hub.data, [what], protocol=2) as newer:
        point(enrolled, newer)
        await asyncio.to_thread(enrolled.start)
        await asyncio.to_thread(until, lambda: "wrong-protocol" in enrolled.log.read_text(), "the agent says why")
        assert "upgrade the older of the two" in enrolled.log.read_text()
        assert newer.asked == []
    assert enrolled.running
    assert whole_versions(enrolled.data) == {}

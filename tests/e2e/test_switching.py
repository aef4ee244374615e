"""Readers of a channel's path on a real node, while people promote and roll back at the hub."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.conftest import StartAgent
from tests.e2e.content import change, folder
from tests.e2e.fleet import channel_path, until_active
from tests.e2e.processes import HubProgram
from tests.fakes.oracle import whole_versions
from tests.fakes.readers import digest_of_folder, reading

REF = "switch/model@stable"


def test_readers_see_whole_versions_while_people_change_their_minds(
    hub: HubProgram, start_agent: StartAgent, tmp_path: Path
) -> None:
    agent = start_agent(hub, "switching")
    origin = folder(tmp_path / "origin", size=1_000_000)
    (origin / "deep" / "config.json").rename(origin / "config.json")
    (origin / "deep").rmdir()
    hub.ctl.json("assign", REF, "--node", agent.name)
    hub.ctl.json("push", str(origin), "switch/model", "--channel", "stable")
    valid = {digest_of_folder(until_active(agent, REF, 1))}
    with reading(channel_path(agent, REF)) as readers:
        hub.ctl.json("push", str(change(origin, at=500_000)), "switch/model", "--channel", "stable")
        valid.add(digest_of_folder(until_active(agent, REF, 2)))
        for number in (1, 2, 1, 2):
            if number == 1:
                hub.ctl.json("rollback", "switch/model", "stable")
            else:
                hub.ctl.json("promote", "switch/model:2", "stable")
            until_active(agent, REF, number)
    for reader in readers:
        assert set(reader.seen) == valid
    assert set(whole_versions(agent.data)) == {"switch/model:1", "switch/model:2"}

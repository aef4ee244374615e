"""`modelsyncctl allow`, `disallow` and `retry` against a real hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelsyncd.client import Client
from tests.e2e.conftest import StartAgent
from tests.e2e.content import folder
from tests.e2e.processes import HubProgram
from tests.e2e.waiting import until


def test_rights_are_given_listed_and_taken_back_and_recorded(hub: HubProgram) -> None:
    hub.ctl.run("node", "invite", "rights-1", "--label", "rights=yes")
    given = hub.ctl.json("allow", "rights-1", "rights/helmet-*", "--channel", "edge-*", "--channel", "canary")["right"]
    assert (given["node"], given["models"], given["channels"]) == ("rights-1", "rights/helmet-*", ["canary", "edge-*"])
    assert (given["who"], given["nodes"]) == ("admin/admin", ["rights-1"])
    hub.ctl.json("allow", "--selector", "rights=yes", "rights/vest")
    listed = hub.ctl.json("allow", "rights-1")["rights"]
    assert [one["models"] for one in listed] == ["rights/vest", "rights/helmet-*"]
    assert "It moves no channel" in hub.ctl.text("allow", "rights-1", "rights/helmet-*")
    shown = hub.ctl.text("allow", "rights-1")
    assert "every node with rights=yes" in shown
    hub.ctl.json("disallow", "rights-1", "rights/helmet-*")
    assert [one["models"] for one in hub.ctl.json("allow", "rights-1")["rights"]] == ["rights/vest"]
    told = hub.ctl.error(3, "disallow", "rights-1", "rights/helmet-*")
    assert "rights-1 may not publish rights/helmet-*" in told["message"]
    kinds = [one["kind"] for one in hub.ctl.json("limit", "--history", "--node", "rights-1")["decisions"]]
    rights = [kind for kind in kinds if kind.endswith("allow")]  # others of this hub may concern all nodes
    assert rights == ["disallow", "allow", "allow", "allow"]


def test_what_can_be_no_right_is_refused_with_an_example(hub: HubProgram) -> None:
    for words in (
        ["rights-2", "*/*"],
        ["rights-2", "a/b", "c/d"],
        ["rights-2", "--channel", "stable"],
        ["rights-2", "acme/**"],
    ):
        told = hub.ctl.error(2, "allow", *words)
        assert "acme/*" in told["hint"], words
    assert "nobody" in hub.ctl.error(3, "allow", "nobody", "acme/*")["message"]


def test_nodes_that_follow_a_channel_are_told_to_try_again(hub: HubProgram, tmp_path: Path) -> None:
    hub.ctl.run("node", "invite", "retry-1", "--label", "retry=yes")
    told = hub.ctl.error(3, "retry", "retries/helmet", "--node", "retry-1")
    assert "does not follow retries/helmet@stable" in told["message"]
    hub.ctl.json("push", str(folder(tmp_path / "origin", seed=3)), "retries/helmet@stable")
    hub.ctl.json("assign", "retries/helmet", "--selector", "retry=yes")
    expected = {"channel": "retries/helmet@stable", "nodes": ["retry-1"]}
    assert hub.ctl.json("retry", "retries/helmet") == expected
    assert hub.ctl.json("retry", "retries/helmet@stable", "--selector", "retry=yes", "--note", "new lens") == expected
    newest = hub.ctl.json("limit", "--history", "--node", "retry-1")["decisions"][0]
    assert (newest["kind"], newest["ref"], newest["note"]) == ("retry", "retries/helmet@stable", "new lens")
    assert "follow channels" in hub.ctl.error(2, "retry", "retries/helmet:1")["message"]


@pytest.mark.slow
def test_what_waits_for_a_right_is_told_with_what_to_type_until_it_was_typed(
    hub: HubProgram, start_agent: StartAgent, tmp_path: Path
) -> None:
    agent = start_agent(hub, "waits-1")
    with Client(agent.data / "agent.sock") as client:
        client.publish(folder(tmp_path / "origin", seed=5), "waits/helmet", wait=False)

    def look() -> dict[str, Any] | None:
        told = hub.ctl.json("node", "show", "waits-1")["outbox"]
        return told if told["waiting"] and told["waiting"][0]["error"] else None

    outbox: dict[str, Any] = until(look, "the hub knows what waits, and why", pause=0.5)
    assert (outbox["releases"], outbox["waiting"][0]["model"]) == (1, "waits/helmet")
    command = "modelsyncctl allow waits-1 waits/helmet"
    assert outbox["waiting"][0]["error"]["hint"] == command
    for words in (
        ["status", "--node", "waits-1"],
        ["transfers", "--node", "waits-1"],
        ["why", "waits-1", "waits/helmet"],
    ):
        text = hub.ctl.text(*words)
        assert "waits on waits-1 since" in text, words
        assert command in text, words
    hub.ctl.json(*command.split()[1:])
    until(lambda: not hub.ctl.json("node", "show", "waits-1")["outbox"]["waiting"], "nothing waits there", pause=0.5)
    (release,) = hub.ctl.json("history", "waits/helmet")["releases"]
    assert release["producer"] == "node/waits-1"

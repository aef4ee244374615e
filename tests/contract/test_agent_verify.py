"""`modelsync-agent verify` names damage, marks it, and says truly who was told and what to type next."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.settings import LOCK, Settings
from edge_agent.verify import verify
from modelsyncd.errors import BadInputError, DiskError
from modelsyncd.store.durable import lock_folder
from modelsyncd.store.tree import EdgeTree
from modelsyncd.store.version import Version
from modelsyncd.wire import nouns
from tests.fakes.installed import install
from tests.fakes.publisher import publication, weights


@pytest.fixture
def version(tmp_path: Path) -> Version:
    """One that is damaged in one place."""
    version = install(tmp_path, publication({"weights.bin": weights(1, 50_000)}))
    (file,) = (path for path in EdgeTree(tmp_path, nouns).layout.version(version).iterdir())
    file.chmod(0o644)
    plain = bytearray(file.read_bytes())
    plain[5] ^= 1
    file.write_bytes(plain)
    return version


@pytest.fixture
def hangups() -> Iterator[list[int]]:
    """Each SIGHUP that came to this process."""
    seen: list[int] = []
    before = signal.signal(signal.SIGHUP, lambda number, _: seen.append(number))
    yield seen
    signal.signal(signal.SIGHUP, before)


def run(folder: Path) -> tuple[int, list[str]]:
    said: list[str] = []
    return verify(folder, said.append), "".join(said).splitlines()


def test_damage_is_marked_and_the_agent_that_runs_is_told(tmp_path: Path, version: Version, hangups: list[int]) -> None:
    with lock_folder(tmp_path, LOCK):
        code, said = run(tmp_path)
    assert code == 8
    assert said[0] == "acme/helmet:1  damaged"
    assert said[1].startswith("  weights.bin  chunk ")
    assert said[-1].startswith(f"next: nothing, the agent (process {os.getpid()}) was told")
    assert hangups == [signal.SIGHUP]
    assert EdgeTree(tmp_path, nouns).observed().damaged == {version}


def test_without_an_agent_the_next_one_is_to_be_started(tmp_path: Path, version: Version, hangups: list[int]) -> None:
    lock_folder(tmp_path, LOCK).release()
    code, said = run(tmp_path)
    assert code == 8
    assert said[-1].startswith("next: start the agent: ")
    assert hangups == []
    assert not EdgeTree(tmp_path, nouns).holds(version)


def test_a_mark_that_can_not_be_made_is_said_and_nobody_is_told(
    tmp_path: Path, version: Version, hangups: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise DiskError("Read-only file system")

    monkeypatch.setattr(EdgeTree, "quarantine", refused)
    with lock_folder(tmp_path, LOCK):
        code, said = run(tmp_path)
    assert code == 8
    assert said[-2:] == [
        "the agent was not told: Read-only file system",
        "next: run this again as the owner of the folder, once it can be written to",
    ]
    assert hangups == []
    assert EdgeTree(tmp_path, nouns).holds(version)


def test_what_is_right_is_left_alone(tmp_path: Path, hangups: list[int]) -> None:
    version = install(tmp_path, publication({"weights.bin": weights(1, 50_000)}))
    with lock_folder(tmp_path, LOCK):
        assert run(tmp_path) == (0, ["acme/helmet:1  ok"])
    assert hangups == []
    assert EdgeTree(tmp_path, nouns).holds(version)


def test_json_says_what_was_marked_and_who_was_told(tmp_path: Path, version: Version) -> None:
    said: list[str] = []
    assert verify(tmp_path, said.append, as_json=True) == 8
    (found,) = map(json.loads, said)
    assert (found["marked"], found["told"]) == (True, None)
    assert [(one["number"], one["file"]) for one in found["damage"]] == [(version.number, "weights.bin")]


@pytest.mark.parametrize("hub", ["", "hub", "hub:", ":7443", "hub:seven", "hub:70000", "::1:7443"])
def test_an_address_of_a_hub_that_can_not_be_is_refused_at_the_start(tmp_path: Path, hub: str) -> None:
    with pytest.raises(BadInputError) as caught:
        Settings(tmp_path, hub)
    assert "is no address" in caught.value.message
    assert "HOST:PORT" in caught.value.hint

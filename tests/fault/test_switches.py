"""Nobody ever sees half a version: readers of a channel's path, while it is switched a thousand times."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.waiting import until
from tests.fakes.installed import activate, install
from tests.fakes.oracle import whole_versions
from tests.fakes.publisher import publication, weights
from tests.fakes.readers import digest_of_folder, reading

REF = "acme/helmet@stable"
SWITCHES = 1_000


@pytest.fixture
def channel(tmp_path: Path) -> Path:
    """The path of a channel of a model of two versions, the files of which differ in all bytes."""
    for number in (1, 2):
        files = {name: weights(10 * number + index, 200_000) for index, name in enumerate(("a.bin", "b.bin", "c.bin"))}
        version = install(tmp_path, publication(files, number=number))
        activate(tmp_path, REF, version)
    return tmp_path / "models" / "acme" / "helmet" / "stable"


@contextmanager
def switcher(data: Path, count: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process that switches; killed at the end of the block if it still does."""
    command = [sys.executable, "-m", "tests.fault.switcher", str(data), REF, str(count)]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_readers_see_two_versions_whole_and_nothing_else_in_a_thousand_switches(channel: Path, tmp_path: Path) -> None:
    valid = {digest_of_folder(folder) for folder in (channel.parent / "versions").iterdir()}
    with reading(channel) as readers, switcher(tmp_path, SWITCHES) as process:
        assert process.wait(60) == 0
    for reader in readers:
        assert set(reader.seen) == valid
        assert len(reader.seen) > 20, "the reader saw too few of the switches to prove anything"
    assert digest_of_folder(channel) == readers[0].read(channel)
    assert set(whole_versions(tmp_path)) == {"acme/helmet:1", "acme/helmet:2"}


@pytest.mark.slow
def test_a_switch_that_is_killed_at_any_moment_has_happened_or_not(channel: Path, tmp_path: Path) -> None:
    valid = {digest_of_folder(folder) for folder in (channel.parent / "versions").iterdir()}
    rng = random.Random(5)
    with reading(channel) as readers:
        for _ in range(8):
            with switcher(tmp_path, 1_000_000) as process:
                before = len(readers[0].seen)
                until(lambda: len(readers[0].seen) >= before + 3, "it is at work")  # noqa: B023 - called at once
                time.sleep(rng.uniform(0, 0.01))  # no waiting for anything: a random moment is the point
                assert process.poll() is None
            whole_versions(tmp_path)
    assert all(set(reader.seen) == valid for reader in readers)

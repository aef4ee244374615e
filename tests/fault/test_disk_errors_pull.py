"""A pull whose disk fails at the n-th call: said in words, DEST has whole files only, the same command goes on."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelsyncd.errors import DiskError, ModelsyncError
from modelsyncd.session.frames import Part
from tests.fakes.disk.calls import watched
from tests.fakes.disk.errnos import ERRNOS, Failing
from tests.fakes.memory_disk import memory_disk
from tests.fakes.node_life import story
from tests.fakes.pulling import pull
from tests.fakes.versions import content_of
from tests.fault.reach import reach

STORY = story(8, step=4_096, batch=2, changes=2)
STRIDE = reach(pr=3, full=1)
NAMES = [errno.errorcode[number] for number in ERRNOS]


@pytest.fixture
def disk() -> Iterator[Path]:
    with memory_disk() as folder:
        yield folder


def say(error: ModelsyncError, failing: Failing) -> None:
    """An error that a person can act on."""
    assert isinstance(error, DiskError), f"{error!r}: {failing.failed}"
    assert error.hint, failing.failed


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "until it is mended"])
@pytest.mark.parametrize("number", ERRNOS, ids=NAMES)
def test_a_pull_says_what_the_disk_did_and_the_same_command_goes_on(disk: Path, number: int, lasting: bool) -> None:
    old, new = STORY.release(2), STORY.release(3)
    ends = 0
    for nth in range(1 + ERRNOS.index(number) % STRIDE, 5_000, STRIDE):
        root = disk / str(nth)
        root.mkdir()
        pull(root / "dest", old, 2)
        failing = Failing(number, nth, lasting=lasting)
        kept: list[tuple[Part, int]] = []
        with watched(root, failing):
            try:
                pull(root / "dest", new, 2, kept.append)
            except ModelsyncError as error:
                say(error, failing)
            failing.heal()
        for name, plain in content_of(root / "dest").items():
            if not name.lstrip(".").startswith("modelsyncd-"):  # the hidden folder, or what is left of it
                assert plain in (old.files.get(name), new.files.get(name)), f"half a file: {failing.failed}"
        again: list[tuple[Part, int]] = []
        pull(root / "dest", new, 2, again.append)
        assert not {one for one in kept if one[0] is Part.CONTENT} & set(again), f"{nth}: {failing.failed}"
        assert content_of(root / "dest") == new.files
        ends = nth
        if not failing.failed:
            break
    assert 10 < ends < 4_990, "the calls were not seen"

"""A disk that fails at the n-th call, for every n until none fails: said in words, nothing lost, gone on with later.

Five errnos, each once and from then on until it is over; SQLite's calls fail too. CI takes every fifth n and another
fifth with each errno; `make faults` takes all.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from modelsyncd.errors import DamageError, DiskError, DiskFullError, ModelsyncError
from tests.fakes.disk.calls import watched
from tests.fakes.disk.errnos import ERRNOS, Failing
from tests.fakes.disk.sqlite_calls import sqlite_watched
from tests.fakes.hub_life import HubLife, Released, Taken, pushes
from tests.fakes.memory_disk import memory_disk
from tests.fakes.node_life import STABLE, Kept, NodeLife, story
from tests.fakes.oracle import whole_versions
from tests.fakes.versions import content_of
from tests.fault.reach import reach

STORY = story(6, step=4_096, batch=2, changes=2)
PUSHES = pushes(6, step=4_096, batch=2, changes=2)
STRIDE = reach(pr=5, full=1)
NAMES = [errno.errorcode[number] for number in ERRNOS]


@pytest.fixture
def disk() -> Iterator[Path]:
    with memory_disk() as folder:
        yield folder


def counts(number: int) -> range:
    """Which calls fail: in CI another fifth for each errno."""
    return range(1 + ERRNOS.index(number) % STRIDE, 5_000, STRIDE)


def say(error: ModelsyncError, number: int, failing: Failing) -> None:
    """An error that a person can act on."""
    kinds = DiskError, DamageError  # what lies on a bad sector is damaged, and fetched again
    assert isinstance(error, kinds if number == errno.EIO else DiskError), f"{error!r} is none of the disk's"
    assert error.message
    assert error.hint, f"no word about what to do next: {error.message}"
    by_sqlite = ".db" in failing.failed and not failing.failed.startswith("pwrite")
    if number == errno.ENOSPC and not by_sqlite:
        # of its files SQLite tells only for a write why it failed
        assert isinstance(error, DiskFullError), failing.failed


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "until it is mended"])
@pytest.mark.parametrize("number", ERRNOS, ids=NAMES)
def test_a_node_says_what_its_disk_did_serves_on_and_goes_on_when_it_is_over(
    disk: Path, number: int, lasting: bool
) -> None:
    NodeLife.begin(disk / "origin", STORY)
    ends = 0
    for nth in counts(number):
        root = disk / "node"
        shutil.copytree(disk / "origin", root, symlinks=True)
        failing = Failing(number, nth, lasting=lasting)
        with watched(root, failing) as gate, sqlite_watched(gate):
            try:
                _fail_and_go_on(root, number, failing)
            except BaseException as error:
                error.add_note(f"{errno.errorcode[number]} at call {nth}: {failing.failed}")
                raise
        shutil.rmtree(root)
        ends = nth
        if not failing.failed:
            break
    assert 20 < ends < 4_990, "the calls were not seen"


def _fail_and_go_on(root: Path, number: int, failing: Failing) -> None:
    told: list[object] = []

    def tell(word: object) -> None:
        if isinstance(word, Kept):
            told.extend((word.number, word.part, ordinal) for ordinal in word.ordinals)

    node: NodeLife | None = None
    try:
        node = NodeLife(root, STORY, tell)
        node.live()
    except ModelsyncError as error:
        say(error, number, failing)
    failing.heal()
    promised = set(told)
    whole_versions(root)
    assert (root / "models/acme/helmet/stable").is_dir(), "the old version is gone"
    node = node or NodeLife(root, STORY)
    before = len(node.fetched)
    node.live()
    node.close()
    assert not promised & set(node.fetched[before:]), "what was durable travels again"
    if (
        number == errno.EIO and "/releases/" in failing.failed
    ):  # a version that this life never knew is left to the next
        node = NodeLife(root, STORY)
        node.live()
        node.close()
        assert not node.fetched
    assert set(whole_versions(root)) == {"acme/helmet:2", "acme/helmet:3"}
    assert content_of(node.tree.layout.channel(STABLE)) == STORY.release(3).files


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "until it is mended"])
@pytest.mark.parametrize("number", ERRNOS, ids=NAMES)
def test_a_hub_says_what_its_disk_did_loses_nothing_and_goes_on_when_it_is_over(
    disk: Path, number: int, lasting: bool
) -> None:
    ends = 0
    (disk / "origin").mkdir()
    first = HubLife(disk / "origin", PUSHES)
    first.close()
    for nth in counts(number):
        root = disk / "hub"
        shutil.copytree(disk / "origin", root, symlinks=True)
        failing = Failing(number, nth, lasting=lasting)
        with watched(root, failing) as gate, sqlite_watched(gate):
            try:
                _push_and_go_on(root, number, failing)
            except BaseException as error:
                error.add_note(f"{errno.errorcode[number]} at call {nth}: {failing.failed}")
                raise
        shutil.rmtree(root)
        ends = nth
        if not failing.failed:
            break
    assert 20 < ends < 4_990, "the calls were not seen"


def _push_and_go_on(root: Path, number: int, failing: Failing) -> None:
    words: list[object] = []
    hub: HubLife | None = None
    try:
        hub = HubLife(root, PUSHES, words.append)
        hub.live()
    except ModelsyncError as error:
        say(error, number, failing)
    failing.heal()
    words = list(words)
    hub = hub or HubLife(root, PUSHES)
    with ExitStack() as stack:
        stack.callback(hub.close)
        assert {word.number for word in words if isinstance(word, Released)} <= set(hub.numbers())
        hub.check_rows()
        before = len(hub.sent)
        hub.live()
        promised = {(t.number, t.part, ordinal) for t in words if isinstance(t, Taken) for ordinal in t.ordinals}
        assert not promised & set(hub.sent[before:]), "what was durable travels again"
        assert hub.numbers() == [2, 1]
        hub.check_rows()
    HubLife(root, PUSHES).close()
    assert not list((root / "spool").glob("*.pack")), "a pack that nobody needs takes room"

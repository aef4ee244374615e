"""What trials do to a node's real folder: links, papers, and as few steps as the way back needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.activate import TreeStore
from edge_agent.trial_file import FILE, TrialFile
from edge_agent.trials import REMEMBERED, Failed, Known, Trial
from modelsyncd.digest import checksum
from modelsyncd.errors import DamageError
from modelsyncd.names import ModelName, ModelRef
from modelsyncd.store import failpoints
from modelsyncd.store.failpoints import Point
from tests.fakes.holdings import version
from tests.fakes.node_life import STABLE
from tests.fakes.node_tale import STORY, laid_store

ONE, TWO, THREE = (what.version for what in STORY.releases)
CANARY = ModelRef(ModelName("acme", "helmet"), channel="canary")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TreeStore]:
    with laid_store(tmp_path) as found:
        yield found


def test_the_one_before_is_what_proved_itself_however_many_are_tried(store: TreeStore) -> None:
    store.activate(STABLE, ONE)
    store.try_out(STABLE, TWO, ONE)
    assert (store.tree.active(STABLE), store.tree.previous(STABLE)) == (TWO, ONE)
    store.try_out(STABLE, THREE, ONE)
    assert (store.tree.active(STABLE), store.tree.previous(STABLE)) == (THREE, ONE)


def test_what_never_proved_itself_is_never_the_one_before(store: TreeStore) -> None:
    store.try_out(STABLE, TWO, None)
    store.try_out(STABLE, THREE, None)
    assert (store.tree.active(STABLE), store.tree.previous(STABLE)) == (THREE, None)


def test_the_way_back_is_one_rename_and_reads_no_model(store: TreeStore) -> None:
    store.activate(STABLE, ONE)
    store.try_out(STABLE, TWO, ONE)
    assert not store.proven(ONE)
    passed: Counter[Point] = Counter()
    failpoints.watch(lambda point: passed.update([point]))
    active = store.go_back(STABLE, ONE)
    failpoints.watch(None)
    assert passed == {Point.LINK_MADE: 1, Point.LINK_SWITCHED: 1, Point.CHANNEL_LED_BACK: 1}
    assert (active.number, store.tree.active(STABLE)) == (1, ONE)
    assert not store.proven(ONE), "nobody read it"


def test_nobody_goes_back_to_what_is_damaged(store: TreeStore) -> None:
    store.activate(STABLE, ONE)
    store.try_out(STABLE, TWO, ONE)
    store.tree.quarantine(ONE)
    with pytest.raises(DamageError):
        store.go_back(STABLE, ONE)
    assert store.tree.active(STABLE) == TWO


# --- the file ---

HELMET = [version(CANARY.model, number) for number in range(40)]
KNOWN = (
    Known()
    .failed(STABLE, Failed(HELMET[1], None, 'no such "layer"\nat all — é', 7.5, 3))
    .failed(STABLE, Failed(HELMET[2], HELMET[3], "late", 8.0))
    .tried(STABLE, Trial(HELMET[4], HELMET[3], 1e9, 60.0, 2))
    .tried(CANARY, Trial(HELMET[5], None, 2e9, 0.5))
)


def test_what_is_known_is_the_same_after_a_restart(tmp_path: Path) -> None:
    TrialFile(tmp_path).save(KNOWN)
    assert TrialFile(tmp_path).load() == KNOWN


def test_a_file_from_before_starts_were_counted_is_read_as_one_start(tmp_path: Path) -> None:
    TrialFile(tmp_path).save(KNOWN)
    body = (tmp_path / FILE).read_bytes().partition(b"\n")[2].replace(b',\n   "starts": 1', b"")
    assert b"starts" not in body
    (tmp_path / FILE).write_bytes(b"%016x\n%s" % (checksum(body), body))
    assert TrialFile(tmp_path).load() == KNOWN


def test_before_the_first_trial_nothing_is_known(tmp_path: Path) -> None:
    assert TrialFile(tmp_path).load() == Known()


def test_a_file_with_any_bit_turned_or_any_end_missing_counts_as_none(tmp_path: Path) -> None:
    file = TrialFile(tmp_path)
    file.save(KNOWN)
    whole = (tmp_path / FILE).read_bytes()
    for at in range(0, len(whole), 7):
        turned = bytearray(whole)
        turned[at] ^= 1 << at % 8
        (tmp_path / FILE).write_bytes(turned)
        assert file.load() == Known(), at
        (tmp_path / FILE).write_bytes(whole[:at])
        assert file.load() == Known(), at


def test_a_folder_in_its_place_counts_as_none_and_gives_way(tmp_path: Path) -> None:
    (tmp_path / FILE / "in the way").mkdir(parents=True)
    file = TrialFile(tmp_path)
    assert file.load() == Known()
    file.save(KNOWN)
    assert file.load() == KNOWN


def test_only_the_last_failures_of_a_channel_are_remembered() -> None:
    known = Known()
    for which in HELMET:
        known = known.failed(STABLE, Failed(which, None, "no", 1.0))
    assert [one.version for one in known.failures[STABLE]] == HELMET[-REMEMBERED:]


def test_a_version_is_known_again_by_its_content() -> None:
    renumbered = replace(HELMET[1], number=77)
    assert KNOWN.failure(STABLE, renumbered) is not None
    assert KNOWN.forgiven(STABLE, renumbered).failure(STABLE, HELMET[1]) is None
    assert KNOWN.failure(CANARY, HELMET[1]) is None

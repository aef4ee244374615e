"""Promotion rules in the catalogue: kept, judged and carried out; on every database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cloud_hub.catalog import Catalog, NumberRow
from cloud_hub.catalog.evidence import Counted
from cloud_hub.catalog.rules import KIND, Outcome, RuleRow
from modelsyncd.digest import digest_of
from modelsyncd.errors import NotFoundError
from modelsyncd.names import ModelName, ModelRef
from modelsyncd.release import SignedRelease
from modelsyncd.wire.nouns import encode_release
from tests.contract.databases import URLS, opened
from tests.fakes.releases import HELMET, made

RULE = RuleRow(HELMET, "stable", "candidate", "metrics.precision > current.precision", Counted(), "admin/ann", 5.0)


@pytest.fixture(params=URLS)
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalog]:
    """Release 1 in use, 2 its candidate, 3 the newest; each says of itself how precise it is: 0.1, 0.2, 0.3."""
    with opened(request.param, tmp_path) as found:
        for number, channel in ((1, "stable"), (2, "candidate"), (3, None)):
            what = made(number, f"content {number}")
            release = replace(what.release, metrics={"precision": number / 10}, labels={"task": "helmet"})
            raw = encode_release(release)
            found.models.commit(
                SignedRelease(raw), release, digest_of(raw), channel=channel, who="admin/ann", now=float(number)
            )
        yield found


def test_a_rule_is_applied_when_it_is_set_and_moves_once(catalog: Catalog) -> None:
    before = catalog.revision()
    done = catalog.rules.set(RULE)
    assert (done.outcome, done.candidate, done.current) == (Outcome.MOVED, 2, 1)
    assert done.move is not None
    assert (done.move.kind, done.move.from_number, done.move.to_number) == (KIND, 1, 2)
    assert catalog.revision() > before  # nodes hear of it
    assert catalog.rules.apply(HELMET, None, 6.0) == []
    assert catalog.rules.list() == catalog.rules.list(HELMET) == [RULE]
    assert catalog.rules.models() == [HELMET]
    assert catalog.rules.list(ModelName("acme", "vest")) == []


def test_a_later_number_counts_and_the_one_it_was_published_with_no_more(catalog: Catalog) -> None:
    row = NumberRow(HELMET, 2, "precision", 0.05, "night", "eval", 9.0, "node/n1", b"k")
    catalog.numbers.add([row])
    assert catalog.rules.set(RULE).outcome is Outcome.FAILS
    catalog.numbers.add([replace(row, at=10.0, value=0.5, key=b"l")])
    assert [move.to_number for move in catalog.rules.apply(HELMET, "candidate", 11.0)] == [2]


def test_only_rules_that_judge_what_changed_are_applied_and_those_that_follow_from_them(catalog: Catalog) -> None:
    later = replace(RULE, channel="canary", candidates="", condition="metrics.precision > 0.25")
    assert catalog.rules.set(later).outcome is Outcome.MOVED  # the newest is 3
    assert (
        catalog.rules.set(replace(RULE, candidates="canary", condition="metrics.precision > 1")).outcome
        is Outcome.FAILS
    )
    assert catalog.rules.set(replace(RULE, candidates="beta", condition="number > 0")).outcome is Outcome.NONE
    catalog.models.promote(ModelRef(HELMET, number=2), "beta", "admin/ann", "", 6.0)
    assert catalog.rules.apply(HELMET, "candidate", 7.0) == []
    assert [move.channel for move in catalog.rules.apply(HELMET, "beta", 8.0)] == ["stable"]


def test_a_judgement_that_moves_nothing_changes_nothing(catalog: Catalog) -> None:
    before = catalog.revision()
    for condition in ("metrics.precision > 1", "metrics.recall > 0", "current.recall = metrics.recall"):
        assert catalog.rules.once(replace(RULE, condition=condition), ModelRef(HELMET, number=3)).move is None
    assert catalog.revision() == before
    assert catalog.rules.list() == []
    assert [move.channel for move in catalog.models.history(HELMET).moves] == ["candidate", "stable"]


def test_what_is_not_there_can_not_be_judged(catalog: Catalog) -> None:
    with pytest.raises(NotFoundError, match="there is no release acme/helmet:9"):
        catalog.rules.once(RULE, ModelRef(HELMET, number=9))
    with pytest.raises(NotFoundError, match="there is no model acme/vest"):
        catalog.rules.set(replace(RULE, model=ModelName("acme", "vest")))
    assert catalog.rules.list() == []
    catalog.rules.set(RULE)
    assert catalog.rules.remove(HELMET, "stable") == RULE
    with pytest.raises(NotFoundError, match="has no rule"):
        catalog.rules.remove(HELMET, "stable")


def _evaluated(catalog: Catalog, new: int, old: int, precisions: tuple[float, float], at: float) -> None:
    """As a node records it: the numbers of both, and what the new one has more."""
    said = {(new, "precision"): precisions[0], (old, "precision"): precisions[1]}
    said[new, "precision_delta"] = precisions[0] - precisions[1]
    rows = [
        NumberRow(HELMET, number, name, value, "", "eval", at, "node/n1", f"{at} {number} {name}".encode())
        for (number, name), value in said.items()
    ]
    assert catalog.numbers.add(rows) == (len(rows), [])


def test_what_was_better_than_what_served_before_is_compared_with_what_serves_now(catalog: Catalog) -> None:
    evaluated = Counted(stage="eval")
    catalog.models.promote(ModelRef(HELMET, number=3), "candidate", "admin/ann", "", 4.0)
    _evaluated(catalog, 2, 1, (0.75, 0.25), at=5.0)
    catalog.models.promote(ModelRef(HELMET, number=2), "stable", "admin/ann", "", 6.0)  # while 3 is evaluated
    _evaluated(catalog, 3, 1, (0.5, 0.25), at=7.0)
    assert catalog.rules.set(replace(RULE, counted=evaluated)).outcome is Outcome.FAILS
    by_difference = replace(RULE, condition="metrics.precision_delta > 0", counted=evaluated)
    assert catalog.rules.set(by_difference).outcome is Outcome.MOVED  # to what is worse: docs/promotion.md warns of it


def test_numbers_about_a_release_that_is_no_candidate_any_more_move_nothing(catalog: Catalog) -> None:
    assert catalog.rules.set(replace(RULE, counted=Counted(stage="eval"))).outcome is Outcome.UNKNOWN
    catalog.models.promote(ModelRef(HELMET, number=3), "candidate", "admin/ann", "", 6.0)
    _evaluated(catalog, 2, 1, (0.75, 0.25), at=7.0)
    assert catalog.rules.apply(HELMET, None, 8.0) == []
    _evaluated(catalog, 3, 1, (0.5, 0.25), at=9.0)
    assert [move.to_number for move in catalog.rules.apply(HELMET, None, 10.0)] == [3]


def test_the_next_one_after_a_release_that_was_taken_back_is_compared_with_what_serves(catalog: Catalog) -> None:
    evaluated = Counted(stage="eval")
    _evaluated(catalog, 2, 1, (1.0, 0.25), at=5.0)  # it looked best, and nobody could load it
    assert catalog.rules.set(replace(RULE, counted=evaluated)).outcome is Outcome.MOVED
    catalog.models.promote(ModelRef(HELMET, number=3), "candidate", "admin/ann", "", 6.0)
    _evaluated(catalog, 3, 1, (0.5, 0.25), at=7.0)
    assert catalog.rules.apply(HELMET, None, 8.0) == []  # the channel names the second still
    catalog.models.rollback(HELMET, "stable", "admin/ann", "", 9.0)
    assert [move.to_number for move in catalog.rules.apply(HELMET, None, 10.0)] == [3]

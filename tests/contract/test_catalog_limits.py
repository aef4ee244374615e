"""Limits, pins and consents: how several of them combine, and who is recorded for each; on every database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud_hub.catalog import By, Catalog, LimitRow, Terms, Whom
from cloud_hub.desired import desired
from modelsyncd.errors import BadInputError, LimitError, NotFoundError
from modelsyncd.manners import Manners, manners
from modelsyncd.names import parse_ref
from modelsyncd.schedule import parse_opening
from modelsyncd.session.frames import Assignment, Desired
from tests.contract.databases import URLS, opened
from tests.fakes.releases import HELMET, made, manifest_of

EVERYONE, N1, OSLO = Whom(), Whom("n1"), Whom(selector={"site": "oslo"})
OSLO_BOATS = Whom(selector={"site": "oslo", "kind": "boat"})
NIGHT = parse_opening("22:00-06:00")
ONE = parse_ref("acme/helmet:1")


@pytest.fixture(params=URLS)
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalog]:
    with opened(request.param, tmp_path) as found:
        found.nodes.invite("n1", {"site": "oslo", "kind": "boat"}, 2_000.0, 1.0)
        found.nodes.invite("n2", {"site": "oslo"}, 2_000.0, 1.0)
        found.nodes.invite("n3", {}, 2_000.0, 1.0)
        found.assignments.assign(HELMET, "stable", None, {"site": "oslo"})
        yield found


def by(now: float = 10.0, note: str = "") -> By:
    return By("admin/ann", now, note)


def limit(catalog: Catalog, whom: Whom, terms: Terms, now: float = 10.0, channel: str = "") -> None:
    catalog.limits.set(LimitRow(whom, terms, HELMET if channel else None, channel), by(now))


def said(catalog: Catalog, node: str = "n1") -> Desired:
    return desired(catalog.assignments.desired(node))


def only(catalog: Catalog, node: str = "n1") -> Assignment:
    (assignment,) = said(catalog, node).assignments
    return assignment


# --- how limits combine ---


def test_the_most_specific_limit_holds_field_by_field(catalog: Catalog) -> None:
    limit(catalog, EVERYONE, Terms(rate=1, month_bytes=2, quota=3, openings=(NIGHT,)), now=40.0)
    limit(catalog, OSLO, Terms(rate=10, month_bytes=20, quota=30), now=30.0)
    limit(catalog, OSLO_BOATS, Terms(rate=100, month_bytes=200), now=20.0)
    limit(catalog, N1, Terms(rate=1_000), now=10.0)
    assert said(catalog).manners == Manners(1_000, (NIGHT,), 200)
    assert said(catalog).quota == 30
    assert said(catalog, "n2").manners == Manners(10, (NIGHT,), 20)
    assert said(catalog, "n3").manners == Manners(1, (NIGHT,), 2)


def test_of_two_limits_that_are_as_specific_the_later_one_holds(catalog: Catalog) -> None:
    limit(catalog, Whom(selector={"kind": "boat"}), Terms(rate=5, background=True), now=20.0)
    limit(catalog, OSLO, Terms(rate=7), now=30.0)
    assert said(catalog).manners == Manners(7, background=True)
    limit(catalog, Whom(selector={"kind": "boat"}), Terms(rate=6), now=40.0)
    assert said(catalog).manners.rate == 6


def test_a_limit_of_nothing_excepts_a_node_from_what_is_set_for_many(catalog: Catalog) -> None:
    limit(catalog, OSLO, Terms(rate=10, openings=(NIGHT,), month_bytes=9, background=True, quota=8))
    limit(catalog, N1, Terms(rate=0, openings=(), month_bytes=0, background=False, quota=0))
    assert (said(catalog).manners, said(catalog).quota) == (Manners(), 0)
    assert said(catalog, "n2").manners == Manners(10, (NIGHT,), 9, background=True)


def test_any_pause_that_reaches_a_node_holds_until_that_one_is_taken_back(catalog: Catalog) -> None:
    limit(catalog, OSLO, Terms(paused=True))
    limit(catalog, N1, Terms(paused=True, rate=4))
    limit(catalog, N1, Terms(paused=False))
    assert said(catalog).manners == Manners(4, paused=True)
    limit(catalog, OSLO, Terms(paused=False))
    assert said(catalog).manners == Manners(4)
    assert [str(row.whom) for row in catalog.limits.list()] == ["node n1"]


def test_limits_of_a_channel_hold_besides_those_for_all_and_for_no_other_channel(catalog: Catalog) -> None:
    catalog.assignments.assign(HELMET, "canary", "n1", {})
    limit(catalog, N1, Terms(rate=9))
    limit(catalog, EVERYONE, Terms(rate=5, paused=True), channel="stable")
    limit(catalog, OSLO, Terms(rate=6), channel="stable")
    assert said(catalog).manners == Manners(9)
    assert {one.channel: one.manners for one in said(catalog).assignments} == {
        "canary": Manners(),
        "stable": Manners(6, paused=True),
    }


def test_what_is_not_set_again_stays_and_what_is_replaced_goes(catalog: Catalog) -> None:
    limit(catalog, N1, Terms(rate=9, openings=(NIGHT,)))
    limit(catalog, N1, Terms(rate=8))
    assert said(catalog).manners == Manners(8, (NIGHT,))
    catalog.limits.set(LimitRow(N1, Terms(month_bytes=7)), by(), replace=True)
    assert said(catalog).manners == Manners(month_bytes=7)
    row, changed = catalog.limits.set(LimitRow(N1, Terms()), by(), replace=True)
    assert (row.terms, changed, catalog.limits.list()) == (Terms(), True, [])
    assert catalog.limits.set(LimitRow(N1, Terms()), by(), replace=True)[1] is False


def test_openings_are_kept_as_they_are_written(catalog: Catalog) -> None:
    words = ["mon-fri 22:00-06:00", "sat-sun"]
    limit(catalog, N1, Terms(openings=tuple(map(parse_opening, words))))
    assert said(catalog).manners == manners(openings=words)
    assert said(catalog).manners.words == tuple(words)


def test_all_nodes_at_once_are_told_the_same_as_one_after_the_other(catalog: Catalog) -> None:
    what = made(1, "a", model=HELMET)
    catalog.models.commit(what.signed, what.release, what.digest, channel="stable", who="admin/ann", now=1.0)
    catalog.assignments.assign(HELMET, "canary", "n3", {}, 7)
    catalog.assignments.assign(HELMET, "stable", "n1", {}, 3)
    for whom in (EVERYONE, OSLO, OSLO_BOATS, N1):
        limit(catalog, whom, Terms(rate=len(str(whom)), quota=5))
        limit(catalog, whom, Terms(month_bytes=len(str(whom))), channel="stable")
        catalog.pins.pin(ONE, whom, by())
    catalog.pins.pin(parse_ref("acme/alpha:2"), N1, by())
    catalog.consents.give("n1", ONE, manifest_of("a"), by())
    found = catalog.assignments.desired_by_node()
    assert list(found) == ["n1", "n2", "n3"]
    assert found == {name: catalog.assignments.desired(name) for name in found}


# --- what can't be ---


def test_what_can_not_be_is_refused_in_words(catalog: Catalog) -> None:
    with pytest.raises(NotFoundError, match="no node n9") as lost:
        limit(catalog, Whom("n9"), Terms(rate=1))
    assert "n1" in lost.value.hint
    with pytest.raises(BadInputError, match="not for one model"):
        limit(catalog, N1, Terms(quota=1), channel="stable")
    with pytest.raises(BadInputError, match="not both"):
        Whom("n1", {"site": "oslo"})
    with pytest.raises(LimitError, match="more than any limit"):
        Terms(rate=1 << 63)
    with pytest.raises(BadInputError, match="negative"):
        Terms(month_bytes=-1)
    assert catalog.limits.list() == []


# --- revisions and decisions ---


def test_every_change_raises_the_revision_once_and_what_changes_nothing_does_not(catalog: Catalog) -> None:
    manifest = manifest_of("a")
    for change in (
        lambda: limit(catalog, N1, Terms(rate=9)),
        lambda: limit(catalog, N1, Terms(rate=9)),
        lambda: catalog.pins.pin(ONE, OSLO, by()),
        lambda: catalog.pins.pin(ONE, OSLO, by()),
        lambda: catalog.consents.give("n1", ONE, manifest, by()),
        lambda: catalog.consents.give("n1", ONE, manifest, by()),
        lambda: catalog.consents.withdraw("n1", ONE, manifest, by()),
        lambda: catalog.consents.withdraw("n1", ONE, manifest, by()),
    ):
        before, decided = catalog.revision(), len(catalog.decisions.list())
        change()
        grown = catalog.revision() - before
        assert grown == len(catalog.decisions.list()) - decided
        assert grown in (0, 1)
    assert len(catalog.decisions.list()) == 4


def test_decisions_say_who_set_what_for_whom_when_and_why_newest_first(catalog: Catalog) -> None:
    catalog.limits.set(LimitRow(OSLO, Terms(rate=9, openings=(NIGHT,), paused=True)), By("admin/ann", 5.0, "storm"))
    catalog.pins.pin(ONE, N1, By("admin/ben", 6.0))
    catalog.limits.set(LimitRow(Whom("n3"), Terms(month_bytes=7), HELMET, "stable"), By("admin/ben", 7.0))
    catalog.limits.set(LimitRow(OSLO, Terms()), By("admin/cas", 8.0), replace=True)
    shown = [(row.kind, str(row.whom), row.ref, row.what, row.by.who, row.by.note) for row in catalog.decisions.list()]
    assert shown == [
        ("limit", "every node with site=oslo", "", "none", "admin/cas", ""),
        ("limit", "node n3", "acme/helmet@stable", "month=7", "admin/ben", ""),
        ("pin", "node n1", "acme/helmet:1", "", "admin/ben", ""),
        ("limit", "every node with site=oslo", "", "rate=9 windows=22:00-06:00 paused=yes", "admin/ann", "storm"),
    ]
    assert [row.by.now for row in catalog.decisions.list("n3")] == [7.0]
    assert [row.by.now for row in catalog.decisions.list("n1", 2)] == [8.0, 6.0]
    with pytest.raises(NotFoundError):
        catalog.decisions.list("n9")


# --- pins and consents ---


def test_all_pins_that_reach_a_node_hold_together_each_once(catalog: Catalog) -> None:
    two = parse_ref("acme/helmet:2")
    for ref, whom in ((ONE, OSLO), (ONE, N1), (two, EVERYONE)):
        assert catalog.pins.pin(ref, whom, by())[1] is True
    assert said(catalog).pins == (ONE, two)
    assert said(catalog, "n3").pins == (two,)
    assert catalog.pins.unpin(ONE, N1, by()).whom == N1
    assert said(catalog).pins == (ONE, two)
    catalog.pins.unpin(ONE, OSLO, by())
    assert said(catalog).pins == (two,)
    with pytest.raises(NotFoundError, match="not pinned") as lost:
        catalog.pins.unpin(ONE, N1, by())
    assert "nothing" not in (lost.value.hint or "")
    with pytest.raises(BadInputError, match="which release"):
        catalog.pins.pin(parse_ref("acme/helmet@stable"), N1, by())


def test_a_consent_is_for_one_release_on_one_node_and_for_no_later_one(catalog: Catalog) -> None:
    for number, content in ((1, "a"), (2, "b")):
        what = made(number, content, model=HELMET)
        catalog.models.commit(what.signed, what.release, what.digest, channel="stable", who="admin/ann", now=1.0)
    two = parse_ref("acme/helmet:2")
    _, created = catalog.consents.give("n1", two, manifest_of("b"), by(note="needed"))
    assert created
    assert (only(catalog).consent, only(catalog, "n2").consent) == (manifest_of("b"), None)
    catalog.models.promote(ONE, "stable", who="a", note="", now=3.0)
    assert only(catalog).consent is None
    catalog.models.promote(two, "stable", who="a", note="", now=4.0)
    assert only(catalog).consent == manifest_of("b")
    assert catalog.consents.withdraw("n1", two, manifest_of("b"), by()) is not None
    assert only(catalog).consent is None


def test_a_node_that_was_removed_takes_what_names_it_along(catalog: Catalog) -> None:
    limit(catalog, N1, Terms(rate=1))
    limit(catalog, OSLO, Terms(rate=2))
    catalog.pins.pin(ONE, N1, by())
    catalog.consents.give("n1", ONE, manifest_of("a"), by())
    catalog.nodes.remove("n1")
    catalog.nodes.invite("n1", {"site": "oslo"}, 2_000.0, 1.0)
    assert said(catalog).manners == Manners(2)
    assert (said(catalog).pins, catalog.consents.list("n1")) == ((), [])

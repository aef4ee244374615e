"""Rights to publish, numbers about releases, and who is told to try again; on every database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cloud_hub.catalog import By, Catalog, NumberRow, Whom
from cloud_hub.desired import desired
from modelsyncd.errors import NotFoundError
from modelsyncd.names import ModelName, parse_ref
from tests.contract.databases import URLS, opened
from tests.fakes.releases import HELMET, made, manifest_of

EVERYONE, N1, OSLO = Whom(), Whom("n1"), Whom(selector={"site": "oslo"})
VEST = ModelName("acme", "vest")
ALL = parse_ref("acme/helmet")


@pytest.fixture(params=URLS)
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalog]:
    with opened(request.param, tmp_path) as found:
        found.nodes.invite("n1", {"site": "oslo"}, 2_000.0, 1.0)
        found.nodes.invite("n2", {"site": "oslo"}, 2_000.0, 1.0)
        found.nodes.invite("n3", {}, 2_000.0, 1.0)
        yield found


def by(now: float = 10.0, note: str = "") -> By:
    return By("admin/ann", now, note)


def commit(catalog: Catalog, number: int, content: str, who: str = "admin/ann", model: ModelName = HELMET) -> None:
    what = made(number, content, model=model)
    catalog.models.commit(what.signed, what.release, what.digest, channel=None, who=who, now=1.0)


def kinds(catalog: Catalog) -> list[tuple[str, str, str]]:
    return [(row.kind, row.ref, row.what) for row in catalog.decisions.list()]


# --- rights ---


def test_rights_are_kept_by_whom_and_models_and_the_channels_of_the_last_word_count(catalog: Catalog) -> None:
    before = catalog.revision()
    row, changed = catalog.rights.allow(N1, "acme/*", ["b", "a", "b"], by())
    assert (row.channels, changed) == (("a", "b"), True)
    assert catalog.revision() > before
    assert catalog.rights.allow(N1, "acme/*", ["a", "b"], by(11.0)) == (row, False)
    assert catalog.rights.allow(N1, "acme/*", [], by(12.0))[1]
    catalog.rights.allow(OSLO, "acme/helmet", ["edge"], by())
    catalog.rights.allow(EVERYONE, "acme/logs", [], by())
    assert [(row.models, row.channels) for row in catalog.rights.list("n1")] == [
        ("acme/helmet", ("edge",)),
        ("acme/logs", ()),
        ("acme/*", ()),
    ]
    assert [row.models for row in catalog.rights.list("n3")] == ["acme/logs"]
    assert kinds(catalog)[-2:] == [("allow", "acme/*", ""), ("allow", "acme/*", "channels=a,b")]


def test_a_right_that_is_taken_back_is_gone_and_recorded(catalog: Catalog) -> None:
    catalog.rights.allow(N1, "acme/*", [], by())
    assert catalog.rights.disallow(N1, "acme/*", by(11.0)).models == "acme/*"
    assert catalog.rights.list("n1") == []
    assert kinds(catalog)[0] == ("disallow", "acme/*", "")
    with pytest.raises(NotFoundError, match="node n1 may not publish"):
        catalog.rights.disallow(N1, "acme/*", by())
    with pytest.raises(NotFoundError, match="no node n9"):
        catalog.rights.allow(Whom("n9"), "acme/*", [], by())


def test_a_node_that_is_removed_leaves_no_rights_to_who_gets_its_name(catalog: Catalog) -> None:
    catalog.rights.allow(N1, "acme/*", [], by())
    catalog.nodes.remove("n1")
    catalog.nodes.invite("n1", {}, 2_000.0, 1.0)
    assert catalog.rights.list("n1") == []


def test_what_a_peer_published_is_found_by_who_it_was(catalog: Catalog) -> None:
    for number, who in enumerate(("node/n1", "node/n2", "node/n1"), start=1):
        commit(catalog, number, f"v{number}", who)
    commit(catalog, 1, "other", "node/n1", VEST)
    assert [row.number for row in catalog.models.published_by("node/n1", HELMET, 5)] == [3, 1]
    assert [row.number for row in catalog.models.published_by("node/n1", HELMET, 1)] == [3]
    several = [manifest_of(content) for content in ("v1", "v2", "other", "none")]
    assert catalog.models.brought_by("node/n1", several) == {several[0], several[2]}
    assert catalog.models.brought_by("node/n1", []) == frozenset()


# --- retries ---


def counts(catalog: Catalog, node: str) -> list[int]:
    return [each.retry for each in desired(catalog.assignments.desired(node)).assignments]


def test_nodes_that_follow_the_channel_hear_a_larger_count_and_others_do_not(catalog: Catalog) -> None:
    catalog.assignments.assign(HELMET, "stable", None, {"site": "oslo"})
    catalog.assignments.assign(HELMET, "canary", "n3", {})
    assert counts(catalog, "n1") == [0]
    before = catalog.revision()
    assert catalog.retries.retry(HELMET, "stable", EVERYONE, by(100.5, "lens")) == ["n1", "n2"]
    assert catalog.revision() > before
    assert (counts(catalog, "n1"), counts(catalog, "n2"), counts(catalog, "n3")) == ([100], [100], [0])
    assert catalog.retries.retry(HELMET, "stable", N1, by(100.6)) == ["n1"]
    assert catalog.retries.retry(HELMET, "stable", N1, by(50.0)) == ["n1"]
    assert (counts(catalog, "n1"), counts(catalog, "n2")) == ([102], [100])
    catalog.retries.retry(HELMET, "stable", Whom("n2"), by(500.0))
    assert counts(catalog, "n2") == [500]
    every = {node: desired(rows) for node, rows in catalog.assignments.desired_by_node().items()}
    assert every == {node: desired(catalog.assignments.desired(node)) for node in ("n1", "n2", "n3")}
    assert kinds(catalog)[0] == ("retry", "acme/helmet@stable", "")
    assert [row.by.note for row in catalog.decisions.list("n2")] == ["", "lens"]


def test_a_node_let_in_anew_is_never_told_a_count_that_it_heard_before(catalog: Catalog) -> None:
    for now in (100.0, 200.0):
        catalog.assignments.assign(HELMET, "stable", "n1", {})
        catalog.retries.retry(HELMET, "stable", N1, by(now))
        assert counts(catalog, "n1") == [int(now)]
        catalog.nodes.remove("n1")
        catalog.nodes.invite("n1", {}, 2_000.0, 1.0)


def test_nobody_is_told_to_try_what_it_does_not_follow(catalog: Catalog) -> None:
    catalog.assignments.assign(HELMET, "stable", "n1", {})
    for whom, words in ((Whom("n2"), "node n2 does not follow"), (Whom(selector={"a": "b"}), "none follows")):
        with pytest.raises(NotFoundError, match=words):
            catalog.retries.retry(HELMET, "stable", whom, by())
    with pytest.raises(NotFoundError, match="no node n9"):
        catalog.retries.retry(HELMET, "stable", Whom("n9"), by())
    assert kinds(catalog) == []


# --- numbers ---


def number(place: int, name: str = "precision", at: float = 0.0, of: int = 1, who: str = "node/n1") -> NumberRow:
    return NumberRow(HELMET, of, name, place / 10, "night", "eval", at or float(place), who, f"k{place}".encode())


def test_each_number_counts_once_for_its_sender_and_key(catalog: Catalog) -> None:
    commit(catalog, 1, "v1")
    first = [number(1), number(2)]
    assert catalog.numbers.add(first) == (2, [])
    assert catalog.numbers.add([*first, number(3), number(3)]) == (1, [])
    assert catalog.numbers.add([number(1, who="node/n2")]) == (1, [])
    assert catalog.numbers.add([replace(number(1), value=99.0)]) == (0, [])
    assert [(row.who, row.value) for row in catalog.numbers.list(ALL).rows] == [
        ("node/n1", 0.1),
        ("node/n2", 0.1),
        ("node/n1", 0.2),
        ("node/n1", 0.3),
    ]


def test_a_number_of_a_release_that_is_not_there_is_named_and_the_others_are_kept(catalog: Catalog) -> None:
    commit(catalog, 1, "v1")
    lost = [number(2, of=2), replace(number(3), model=VEST)]
    assert catalog.numbers.add([number(1), *lost]) == (1, lost)
    commit(catalog, 2, "v2")
    assert catalog.numbers.add(lost) == (1, lost[1:])


def test_what_a_release_says_of_itself_is_kept_among_the_numbers_about_it_once(catalog: Catalog) -> None:
    what = made(1, "a")
    said = replace(what.release, metrics={"recall": 0.5, "precision": 0.9}, created_at=7)
    for now in (10.0, 20.0):  # the second time it is there already
        catalog.models.commit(what.signed, said, what.digest, channel=None, who="node/n1", now=now)
    rows = catalog.numbers.list(ALL).rows
    assert [(row.name, row.value, row.at, row.who) for row in rows] == [
        ("precision", 0.9, 7.0, "node/n1"),
        ("recall", 0.5, 7.0, "node/n1"),
    ]
    catalog.numbers.add([number(1)])
    assert len(catalog.numbers.list(ALL).rows) == 3


def test_the_newest_number_is_told_of_each_form_of_a_release(catalog: Catalog) -> None:
    commit(catalog, 1, "a")
    catalog.numbers.add([number(1), number(2), replace(number(3), variant="int8"), replace(number(4), variant="int8")])
    assert [(row.variant, row.value) for row in catalog.numbers.newest(ALL)] == [("", 0.2), ("int8", 0.4)]


def test_numbers_come_by_time_page_by_page_and_none_twice(catalog: Catalog) -> None:
    commit(catalog, 1, "v1")
    rows = [number(place, at=float(place // 3 + 1)) for place in range(1, 11)]
    catalog.numbers.add(rows[::-1])
    seen: list[float] = []
    after = None
    for _ in range(20):
        page = catalog.numbers.list(ALL, limit=3, after=after)
        seen += [row.at for row in page.rows]
        after = page.next
        if after is None:
            break
    assert seen == sorted(row.at for row in rows)
    assert catalog.numbers.list(ALL, limit=10).next is None


def test_numbers_are_asked_for_by_release_and_name_and_the_newest_of_each(catalog: Catalog) -> None:
    commit(catalog, 1, "v1")
    commit(catalog, 2, "v2")
    catalog.numbers.add([number(1), number(2, "recall"), number(3), number(4, of=2), number(5, "recall", at=0.5)])
    catalog.numbers.add([number(6, "loss", at=1.0), number(7, "loss", at=1.0, of=2), number(8, "loss", at=1.0, of=2)])
    one = parse_ref("acme/helmet:1")
    assert [row.value for row in catalog.numbers.list(one).rows] == [0.5, 0.1, 0.6, 0.2, 0.3]
    assert [row.value for row in catalog.numbers.list(one, "recall").rows] == [0.5, 0.2]
    assert [(row.number, row.name, row.value) for row in catalog.numbers.newest(ALL)] == [
        (1, "loss", 0.6),
        (1, "precision", 0.3),
        (1, "recall", 0.2),
        (2, "loss", 0.8),
        (2, "precision", 0.4),
    ]
    assert [row.value for row in catalog.numbers.newest(one, "recall")] == [0.2]


def test_numbers_change_nothing_that_nodes_should_hold(catalog: Catalog) -> None:
    commit(catalog, 1, "v1")
    before = catalog.revision()
    catalog.numbers.add([number(1)])
    assert catalog.revision() == before

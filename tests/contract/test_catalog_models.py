"""Models, numbers, channels and their past, on every database."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from cloud_hub.catalog import Catalog, HistoryPlace, HistoryRows
from cloud_hub.catalog.offers import KEPT
from modelsyncd.errors import BadInputError, ConflictError, NotFoundError, NumberTakenError
from modelsyncd.names import parse_model, parse_ref
from modelsyncd.release import Release
from modelsyncd.session.events import Settled
from tests.contract.databases import URLS, opened
from tests.fakes.releases import HELMET, Made, made, manifest_of


@pytest.fixture(params=URLS)
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalog]:
    with opened(request.param, tmp_path) as found:
        yield found


def commit(catalog: Catalog, what: Made, channel: str | None = None, now: float = 1.0) -> Settled:
    return catalog.models.commit(what.signed, what.release, what.digest, channel=channel, who="admin/ann", now=now)


def fill(catalog: Catalog, count: int, channel: str | None = None) -> None:
    for number in range(1, count + 1):
        commit(catalog, made(number, f"content {number}"), channel, now=float(number))


def number_at(catalog: Catalog, ref: str) -> int:
    return catalog.models.release(parse_ref(ref)).number


# --- revision ---


def test_a_restored_catalogue_counts_on_ahead_of_what_nodes_have_heard(catalog: Catalog) -> None:
    fill(catalog, 3, "stable")
    catalog.lift(1_800_000_000.0)
    assert catalog.revision() == 1_800_000_000
    catalog.lift(5.0)  # a clock that went back takes nothing back
    assert catalog.revision() == 1_800_000_000


# --- an offer that is made again ---


def offered(catalog: Catalog, what: Made, offer: bytes, *, who: str = "admin/ann", now: float = 9.0) -> Settled:
    return catalog.models.commit(
        what.signed, what.release, what.digest, channel="stable", who=who, now=now, offer=offer
    )


def test_an_offer_whose_answer_was_lost_does_not_undo_a_rollback(catalog: Catalog) -> None:
    fill(catalog, 1, "stable")
    new = made(2, "new")
    assert offered(catalog, new, b"i" * 16) == Settled(2, True, new.digest)
    catalog.models.rollback(HELMET, "stable", "admin/ben", "it fails", 10.0)
    before = catalog.models.history(HELMET), catalog.revision()
    for number in (2, 3):  # as the outbox guesses it
        assert offered(catalog, made(number, "new"), b"i" * 16, now=11.0) == Settled(2, False, new.digest)
    assert (catalog.models.history(HELMET), catalog.revision()) == before
    assert number_at(catalog, "acme/helmet@stable") == 1


def test_the_same_content_wished_for_anew_is_another_offer(catalog: Catalog) -> None:
    fill(catalog, 1, "stable")
    offered(catalog, made(2, "new"), b"i" * 16)
    catalog.models.rollback(HELMET, "stable", "admin/ben", "", 10.0)
    assert not offered(catalog, made(3, "new"), b"j" * 16).created
    assert number_at(catalog, "acme/helmet@stable") == 2
    catalog.models.rollback(HELMET, "stable", "admin/ben", "", 12.0)
    assert not offered(catalog, made(3, "new"), b"i" * 16, who="node/oslo").created  # an id is its sender's own
    assert number_at(catalog, "acme/helmet@stable") == 2


def test_an_id_is_not_used_for_two_models(catalog: Catalog) -> None:
    offered(catalog, made(1, "a"), b"i" * 16)
    other = made(1, "b", model=parse_model("acme/gloves"))
    with pytest.raises(BadInputError, match="was of acme/helmet, and can't be of acme/gloves"):
        offered(catalog, other, b"i" * 16)
    assert [str(row.model) for row in catalog.models.list()] == ["acme/helmet"]


def test_what_nobody_asks_for_any_more_is_forgotten(catalog: Catalog) -> None:
    fill(catalog, 1, "stable")
    offered(catalog, made(2, "new"), b"i" * 16)
    catalog.models.rollback(HELMET, "stable", "admin/ben", "", 10.0)
    offered(catalog, made(3, "newer"), b"j" * 16, now=10.0 + KEPT)
    catalog.models.rollback(HELMET, "stable", "admin/ben", "", 11.0 + KEPT)
    offered(catalog, made(4, "new"), b"i" * 16, now=12.0 + KEPT)
    assert number_at(catalog, "acme/helmet@stable") == 2


# --- commit ---


def test_a_release_comes_back_byte_for_byte_with_its_signatures(catalog: Catalog) -> None:
    what = made(1, "a", "b", signatures=3)
    assert commit(catalog, what, "stable", now=12.5) == Settled(1, True, what.digest)
    row = catalog.models.release(parse_ref("acme/helmet"))
    assert row.signed == what.signed
    assert (row.model, row.number, row.digest) == (HELMET, 1, what.digest)
    assert row.variants == what.release.variants
    assert (row.channels, row.committed_at, row.who) == (("stable",), 12.5, "admin/ann")


def test_numbers_begin_at_1_and_each_is_the_next(catalog: Catalog) -> None:
    assert catalog.models.next_number(HELMET) == 1
    fill(catalog, 3)
    assert catalog.models.next_number(HELMET) == 4


@pytest.mark.parametrize("number", [1, 2, 4, 900])
def test_a_number_that_is_not_the_next_is_refused_with_the_next_and_changes_nothing(
    catalog: Catalog, number: int
) -> None:
    fill(catalog, 2, "stable")
    before = catalog.models.history(HELMET), catalog.revision()
    with pytest.raises(NumberTakenError) as caught:
        commit(catalog, made(number, "new"), "stable")
    assert "next free number is 3" in caught.value.message
    assert "acme/helmet:3" in caught.value.hint
    assert (catalog.models.history(HELMET), catalog.revision()) == before


def test_a_refused_first_release_leaves_no_model_behind(catalog: Catalog) -> None:
    with pytest.raises(NumberTakenError):
        commit(catalog, made(2, "a"))
    assert catalog.models.list() == []


def test_the_same_commit_again_is_settled_as_it_was(catalog: Catalog) -> None:
    first = commit(catalog, made(1, "a"), "stable")
    revision = catalog.revision()
    again = commit(catalog, made(1, "a"), "stable")
    assert again == Settled(1, False, first.release_digest)
    assert catalog.revision() == revision
    assert len(catalog.models.history(HELMET).moves) == 1


def test_identical_content_keeps_its_number_and_the_channel_still_moves_to_it(catalog: Catalog) -> None:
    fill(catalog, 3, "stable")
    settled = commit(catalog, made(4, "content 2"), "stable")
    assert (settled.number, settled.created) == (2, False)
    assert number_at(catalog, "acme/helmet@stable") == 2
    assert number_at(catalog, "acme/helmet") == 3


def test_content_is_identical_only_when_all_variants_are(catalog: Catalog) -> None:
    commit(catalog, made(1, "a", "b"))
    assert commit(catalog, made(2, "a")).created
    assert commit(catalog, made(3, "a", "c")).created
    assert not commit(catalog, made(4, "a", "b")).created


def test_the_same_content_under_other_names_or_selectors_is_another_release(catalog: Catalog) -> None:
    commit(catalog, made(1, "a", "b"))
    assert commit(catalog, made(2, "b", "a")).created  # now b is what every node gets
    what = made(3, "a", "b")
    wider = tuple(replace(variant, selector={}) for variant in what.release.variants)
    assert commit(catalog, Made(what.signed, replace(what.release, variants=wider), what.digest)).created
    assert commit(catalog, made(4, "a", "b")).number == 1


def test_two_models_may_have_the_same_content(catalog: Catalog) -> None:
    commit(catalog, made(1, "a"))
    other = parse_model("acme/other")
    assert commit(catalog, made(1, "a", model=other)).created
    found = catalog.models.by_manifest(other, manifest_of("a"))
    assert found is not None
    assert found.model == other


def test_releases_without_content_are_never_identical(catalog: Catalog) -> None:
    for number in (1, 2):
        what = made(number)
        assert commit(catalog, Made(what.signed, Release(HELMET, number, ()), what.digest)).created


def test_of_many_that_publish_at_once_each_gets_its_own_number(catalog: Catalog) -> None:
    def publish(worker: int) -> list[int]:
        numbers: list[int] = []
        while len(numbers) < 5:
            number = catalog.models.next_number(HELMET)
            try:
                settled = commit(catalog, made(number, f"{worker} {len(numbers)}"), "stable")
            except NumberTakenError:
                continue
            assert settled.created
            numbers.append(settled.number)
        return numbers

    with ThreadPoolExecutor(4) as threads:
        numbers = [number for found in threads.map(publish, range(4)) for number in found]
    assert sorted(numbers) == list(range(1, 21))
    assert [move.to_number for move in catalog.models.history(HELMET).moves] == list(range(20, 0, -1))


# --- asking ---


def test_a_reference_names_the_newest_a_number_or_what_a_channel_names(catalog: Catalog) -> None:
    fill(catalog, 3)
    catalog.models.promote(parse_ref("acme/helmet:2"), "stable", who="admin/ann", note="", now=9.0)
    assert number_at(catalog, "acme/helmet") == 3
    assert number_at(catalog, "acme/helmet:1") == 1
    assert number_at(catalog, "acme/helmet@stable") == 2


@pytest.mark.parametrize(
    ("ref", "hint"),
    [
        ("acme/helmt", "did you mean acme/helmet?"),
        ("acme/helmet@stabel", "did you mean acme/helmet@stable?"),
        ("acme/helmet@x", "did you mean acme/helmet@stable?"),
        ("acme/helmet:9", "its releases are 1 to 2; the nearest is acme/helmet:2"),
        ("zzz/q", ""),
    ],
)
def test_what_is_not_there_is_answered_with_what_comes_nearest(catalog: Catalog, ref: str, hint: str) -> None:
    fill(catalog, 2, "stable")
    with pytest.raises(NotFoundError) as caught:
        catalog.models.release(parse_ref(ref))
    assert caught.value.hint == hint


def test_a_model_without_channels_says_how_to_make_one(catalog: Catalog) -> None:
    fill(catalog, 1)
    with pytest.raises(NotFoundError) as caught:
        catalog.models.release(parse_ref("acme/helmet@stable"))
    assert "modelsyncctl promote acme/helmet:" in caught.value.hint


def test_a_release_is_found_by_its_manifest_within_its_model(catalog: Catalog) -> None:
    commit(catalog, made(1, "a", "b"))
    commit(catalog, made(2, "c", "b"))
    for content, number in [("a", 1), ("b", 2), ("c", 2)]:
        found = catalog.models.by_manifest(HELMET, manifest_of(content))
        assert found is not None
        assert found.number == number
    assert catalog.models.by_manifest(HELMET, manifest_of("d")) is None
    assert catalog.models.by_manifest(parse_model("acme/other"), manifest_of("a")) is None


def test_manifests_are_known_from_the_commit_on(catalog: Catalog) -> None:
    what = made(1, "a")
    assert catalog.manifests.get(manifest_of("a")) is None
    commit(catalog, what)
    assert catalog.manifests.get(manifest_of("a")) == what.release.variants[0].manifest
    wanted = [manifest_of(text) for text in ("a", "b")]
    assert catalog.manifests.known(wanted) == {manifest_of("a")}


def test_models_are_listed_by_name_in_pages_and_by_prefix(catalog: Catalog) -> None:
    names = ["acme/b", "acme/a", "acme/a-b", "acme/a.b", "acme2/a", "zoo/a"]
    for name in names:
        commit(catalog, made(1, "a", model=parse_model(name)), "stable", now=3.0)
    listed = [str(row.model) for row in catalog.models.list()]
    assert listed == sorted(names)
    paged: list[str] = []
    while page := catalog.models.list(limit=2, after=paged[-1] if paged else ""):
        paged += [str(row.model) for row in page]
    assert paged == listed
    assert [str(row.model) for row in catalog.models.list("acme/a")] == ["acme/a", "acme/a-b", "acme/a.b"]
    assert catalog.models.list("ACME") == catalog.models.list("acme_") == []


def test_a_listed_model_has_its_newest_release_and_its_channels(catalog: Catalog) -> None:
    fill(catalog, 3, "canary")
    catalog.models.promote(parse_ref("acme/helmet:1"), "stable", who="admin/ann", note="", now=9.0)
    (row,) = catalog.models.list()
    assert (row.newest.number, row.releases) == (3, 3)
    assert [(each.name, each.number, each.moved_at) for each in row.channels] == [
        ("canary", 3, 3.0),
        ("stable", 1, 9.0),
    ]
    assert row.channels == tuple(catalog.models.channels(HELMET))


def test_each_of_many_models_is_listed_with_its_own_releases_and_channels(catalog: Catalog) -> None:
    names = [f"acme/m{number}" for number in range(20)]
    for name in names:
        for number in (1, 2):
            commit(catalog, made(number, f"{name} {number}", model=parse_model(name)), f"c{number}")
    rows = catalog.models.list()
    assert {str(row.model) for row in rows} == set(names)
    assert all(row.newest.number == 2 and row.newest.channels == ("c2",) and len(row.channels) == 2 for row in rows)


# --- channels ---


def test_a_promotion_is_recorded_with_who_when_and_why(catalog: Catalog) -> None:
    fill(catalog, 2, "canary")
    move = catalog.models.promote(parse_ref("acme/helmet@canary"), "stable", who="admin/bob", note="good", now=7.0)
    assert (move.from_number, move.to_number, move.who, move.at, move.why) == (0, 2, "admin/bob", 7.0, "promote: good")
    assert catalog.models.history(HELMET).moves[0] == move
    assert [each.kind for each in catalog.models.history(HELMET).moves] == ["promote", "push", "push"]


def test_promoting_to_what_the_channel_names_records_nothing(catalog: Catalog) -> None:
    fill(catalog, 2, "stable")
    before = catalog.models.history(HELMET), catalog.revision()
    move = catalog.models.promote(parse_ref("acme/helmet:2"), "stable", who="admin/ann", note="", now=7.0)
    assert (move.from_number, move.to_number, move.moved) == (2, 2, False)
    assert (catalog.models.history(HELMET), catalog.revision()) == before


def test_rolling_back_twice_goes_two_releases_back_and_never_to_and_fro(catalog: Catalog) -> None:
    fill(catalog, 3, "stable")
    numbers = []
    for _ in range(2):
        move = catalog.models.rollback(HELMET, "stable", who="admin/ann", note="bad", now=8.0)
        assert number_at(catalog, "acme/helmet@stable") == move.to_number
        numbers.append((move.from_number, move.to_number))
    assert numbers == [(3, 2), (2, 1)]


def test_a_promotion_after_a_rollback_begins_from_there(catalog: Catalog) -> None:
    fill(catalog, 3)
    for step in (1, 2, "back", 3, "back"):
        if step == "back":
            catalog.models.rollback(HELMET, "stable", who="admin/ann", note="", now=8.0)
        else:
            catalog.models.promote(parse_ref(f"acme/helmet:{step}"), "stable", who="admin/ann", note="", now=8.0)
    assert [move.to_number for move in catalog.models.history(HELMET).moves] == [1, 3, 1, 2, 1]
    assert number_at(catalog, "acme/helmet@stable") == 1


def test_a_past_in_parts_is_the_whole_past(catalog: Catalog) -> None:
    fill(catalog, 5)
    for step in (1, 2, 1):
        catalog.models.promote(parse_ref(f"acme/helmet:{step}"), "stable", who="admin/ann", note="", now=8.0)
    whole = catalog.models.history(HELMET)
    first = catalog.models.history(HELMET, limit=2)
    second = catalog.models.history(HELMET, limit=9, below=HistoryPlace(first.releases[-1].number, first.move_ids[-1]))
    assert (len(first.releases), len(first.moves)) == (2, 2)
    assert (first.releases + second.releases, first.moves + second.moves) == (whole.releases, whole.moves)
    assert whole.move_ids == first.move_ids + second.move_ids
    assert catalog.models.history(HELMET, below=HistoryPlace(1, 1)) == HistoryRows((), (), ())


def test_a_channel_that_named_one_release_only_has_nothing_to_go_back_to(catalog: Catalog) -> None:
    fill(catalog, 1, "stable")
    with pytest.raises(ConflictError, match="no release to go back to") as caught:
        catalog.models.rollback(HELMET, "stable", who="admin/ann", note="", now=8.0)
    assert caught.value.hint == "modelsyncctl promote acme/helmet:NUMBER stable"
    assert number_at(catalog, "acme/helmet@stable") == 1


def test_rolling_back_what_is_not_there_names_what_comes_nearest(catalog: Catalog) -> None:
    fill(catalog, 1, "stable")
    with pytest.raises(NotFoundError, match="no channel") as caught:
        catalog.models.rollback(HELMET, "stabl", who="admin/ann", note="", now=8.0)
    assert "stable" in caught.value.hint
    with pytest.raises(NotFoundError, match="no model"):
        catalog.models.rollback(parse_model("acme/none"), "stable", who="admin/ann", note="", now=8.0)


def test_channels_of_two_models_do_not_touch_each_other(catalog: Catalog) -> None:
    other = parse_model("acme/other")
    fill(catalog, 2, "stable")
    commit(catalog, made(1, "x", model=other), "stable")
    catalog.models.rollback(HELMET, "stable", who="admin/ann", note="", now=8.0)
    assert number_at(catalog, "acme/other@stable") == 1
    assert len(catalog.models.history(other).moves) == 1

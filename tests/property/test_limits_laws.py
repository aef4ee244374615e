"""What several limits come to depends on what they say, and not on the order in which they are found."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from cloud_hub.catalog import LimitRow, Terms, Whom
from cloud_hub.catalog.terms import combined
from modelsyncd.schedule import Opening

_numbers = some.none() | some.integers(0, 5)
_flags = some.none() | some.booleans()
_openings = some.none() | some.lists(some.builds(Opening, some.just((0, 3))), max_size=2).map(tuple)
_terms = some.builds(Terms, _numbers, _openings, _numbers, _flags, _flags, _numbers)
_whom = some.just(Whom("n1")) | some.builds(
    lambda selector: Whom(None, selector), some.dictionaries(some.sampled_from("abc"), some.just("x"))
)


@given(some.lists(some.tuples(_whom, _terms), max_size=6), some.randoms(use_true_random=False))
def test_limits_come_to_the_same_in_any_order_and_each_value_was_set_by_somebody(
    said: list[tuple[Whom, Terms]], random: object
) -> None:
    rows = [LimitRow(whom, terms, at=float(at)) for at, (whom, terms) in enumerate(said)]
    manners, quota = combined(rows)
    mixed = list(rows)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert combined(mixed) == (manners, quota)
    terms = [row.terms for row in rows]
    assert manners.rate in {0, *(each.rate for each in terms)}
    assert quota in {0, *(each.quota for each in terms)}
    assert manners.paused is any(each.paused for each in terms)
    for row in rows:
        stronger = [one for one in rows if (one.whom.weight, one.at) > (row.whom.weight, row.at)]
        if row.terms.rate is not None and all(one.terms.rate is None for one in stronger):
            assert manners.rate == row.terms.rate


@given(_terms, _terms)
def test_setting_the_same_twice_changes_nothing_more(before: Terms, wanted: Terms) -> None:
    once = before.changed_by(wanted)
    assert once.changed_by(wanted) == once
    assert once.paused is not False

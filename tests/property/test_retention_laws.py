"""Laws of what rules let go: they hold for any releases, rules, holders and ties."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cloud_hub.catalog import By
from cloud_hub.catalog.lineage import Name
from cloud_hub.catalog.removals import Aged, Holdings
from cloud_hub.catalog.retentions import RetentionRow
from cloud_hub.patterns import covers
from cloud_hub.retention import best_rule, judge

NOW = 100.0
NAMES = [Name(model, number) for model in ("acme/a", "acme/ab", "else/a") for number in range(1, 5)]
names = st.sampled_from(NAMES)
rules = st.lists(
    st.builds(
        RetentionRow,
        st.sampled_from(("acme/*", "acme/a", "acme/a*", "else/*")),
        st.none() | st.integers(1, 3),
        st.none() | st.sampled_from((10.0, 60.0)),
        st.just(By("a", 0.0)),
    ),
    unique_by=lambda rule: rule.models,
)
holdings = st.builds(
    Holdings,
    st.lists(st.builds(Aged, names, st.sampled_from((5.0, 50.0, 95.0))), unique_by=lambda each: each.name),
    st.dictionaries(names, st.just("is held")),
    st.lists(st.tuples(names, names)),
)


@given(holdings, rules)
def test_only_what_a_rule_covers_goes_and_nothing_held_newest_or_that_something_staying_came_from(
    there: Holdings, kept: list[RetentionRow]
) -> None:
    going = judge(there, kept, NOW).going
    all_names = {each.name for each in there.releases}
    staying = all_names - going.keys()
    assert going.keys() <= all_names
    assert not going.keys() & there.held.keys()
    for child, parent in there.ties:
        assert child not in staying or parent not in going
    for model in {name.model for name in all_names}:
        numbers = [name.number for name in all_names if name.model == model]
        assert Name(model, max(numbers)) in staying
    for name in going:
        rule = best_rule(name.model, kept)
        assert rule is not None
        assert covers(rule.models, name.model)
        newer = sum(other.model == name.model and other.number > name.number for other in all_names)
        assert rule.newest is None or newer >= rule.newest
        at = next(each.at for each in there.releases if each.name == name)
        assert rule.seconds is None or NOW - at > rule.seconds


@given(holdings, rules)
def test_what_goes_once_leaves_nothing_to_go(there: Holdings, kept: list[RetentionRow]) -> None:
    going = judge(there, kept, NOW).going
    left = Holdings(
        [each for each in there.releases if each.name not in going],
        there.held,
        [(child, parent) for child, parent in there.ties if child not in going],
    )
    assert judge(left, kept, NOW).going == {}


@given(holdings)
def test_without_rules_nothing_goes(there: Holdings) -> None:
    assert judge(there, [], NOW).going == {}

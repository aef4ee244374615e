"""Queries and rules that are written to do harm cost nothing, and end nothing."""

from __future__ import annotations

import math

import pytest

from modelsyncd.errors import BadInputError
from modelsyncd.query.deciding import Answer, decide
from modelsyncd.query.judging import matches
from modelsyncd.query.parser import parse_query, parse_rule
from modelsyncd.query.words import Compare


@pytest.mark.timeout(10)
def test_a_text_with_many_stars_is_compared_in_one_go() -> None:
    assert not matches("a" * 256, Compare.EQUAL, "*a" * 200 + "*b")
    assert matches("a" * 256, Compare.EQUAL, "*a" * 200)


@pytest.mark.parametrize(
    ("found", "wanted", "same"),
    [
        ("", "*", True),
        ("", "**", True),
        ("aba", "a*a", True),
        ("a", "a*a", False),
        ("abab", "*ab", True),
        ("xaby", "*ab*", True),
        ("abc", "a*b", False),
        ("a.c\nd", "a.c*d", True),
        ("aXbYb", "a*b*b", True),
        ("ab", "a*b*b", False),
    ],
)
def test_a_star_stands_for_any_characters(found: str, wanted: str, same: bool) -> None:
    assert matches(found, Compare.EQUAL, wanted) is same


@pytest.mark.parametrize("said", ["1e999", "1e999 - 1e999", "1e308 * 10", "-1e999", f"{'9' * 400} days ago"])
def test_numbers_beyond_all_bounds_are_refused(said: str) -> None:
    with pytest.raises(BadInputError, match="too large"):
        parse_rule(f"created > {said}", 0.0)
    with pytest.raises(BadInputError, match="NUL"):
        parse_query('note = "a\0b"', 0.0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_finite_number_is_not_known(value: float) -> None:
    rule = parse_rule("metrics.precision * 0 >= current.precision * 0", 0.0)
    assert decide(rule, lambda _: [value]) is Answer.UNKNOWN

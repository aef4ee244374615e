"""Plans: the size of a transfer is known before its first byte."""

from __future__ import annotations

from array import array

import pytest

from modelsyncd.plan import Plan, make


def test_a_plan_says_what_is_here_and_what_must_travel() -> None:
    plan = make(array("I", [10, 20, 30, 40]), [1, 3])
    assert plan == Plan(total=100, have=40, fetch=60, chunks_total=4, chunks_fetch=2)
    assert str(plan) == "60 of 100 bytes in 2 of 4 chunks"


def test_nothing_missing_costs_nothing() -> None:
    assert make([5, 5], []) == Plan(10, 10, 0, 2, 0)
    assert make([], []) == Plan(0, 0, 0, 0, 0)


def test_an_ordinal_without_a_size_is_no_plan() -> None:
    with pytest.raises(IndexError):
        make([1, 2], [2])

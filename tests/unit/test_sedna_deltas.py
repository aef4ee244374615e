"""What a new model has more than the old one, metric by metric."""

from __future__ import annotations

import pytest

from edge_agent.sedna.deltas import metrics_of
from edge_agent.sedna.reports import numbers


@pytest.mark.parametrize(("new", "old", "delta"), [(0.3, 0.2, 0.1), (0.92, 0.91, 0.01), (0.7, 0.8, -0.1), (1, 1, 0)])
def test_a_difference_is_that_of_the_numbers_as_people_write_them(new: float, old: float, delta: float) -> None:
    assert metrics_of({"precision": new}, {"precision": old}) == {"precision": new, "precision_delta": delta}


def test_each_of_many_classes_has_its_difference() -> None:
    new, old = numbers({"precision": [0.5, 0.9]}), numbers({"precision": [0.6, 0.7]})
    found = metrics_of(new, old)
    assert (found["precision_delta[0]"], found["precision_delta[1]"]) == (-0.1, 0.2)


def test_what_only_one_of_both_has_and_what_no_number_can_say_has_no_difference() -> None:
    new, old = {"recall": 0.9, "loss": 1.7e308}, {"precision": 0.9, "loss": -1.7e308}
    assert metrics_of(new, old) == new

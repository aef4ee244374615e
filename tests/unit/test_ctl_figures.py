"""Numbers, times and foreign words as people read them."""

from __future__ import annotations

from datetime import UTC

import click
import pytest

from modelsyncd.ctl import figures
from modelsyncd.ctl.screen import seen
from modelsyncd.ctl.table import Cell, Column, fields, table, width


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1,023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        ((1 << 20) - 1, "1.0 MiB"),
        (5 << 30, "5.0 GiB"),
        (3 << 50, "3,072.0 TiB"),
    ],
)
def test_a_size_is_in_the_largest_unit_that_leaves_something_before_the_point(count: int, text: str) -> None:
    assert figures.size(count) == text


@pytest.mark.parametrize(("part", "text"), [(0, "0.0 %"), (999_999, "99.9 %"), (1_000_000, "100 %")])
def test_a_share_is_100_per_cent_only_when_nothing_is_missing(part: int, text: str) -> None:
    assert figures.share(part, 1_000_000) == text


def test_a_share_of_nothing_is_a_dash() -> None:
    assert figures.share(0, 0) == "-"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.42, "0.4 s"), (12.3, "12 s"), (200, "3 min 20 s"), (7500, "2 h 05 min"), (4 * 86400 + 3600, "4 d 1 h")],
)
def test_a_duration_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert figures.duration(seconds) == text


def test_times_are_relative_both_ways_and_never_for_none() -> None:
    assert figures.ago(0, 100) == "never"
    assert figures.ago(100, 100.5) == "just now"
    assert figures.ago(100, 3700) == "1 h ago"
    assert figures.ago(160, 100) == "in 1 min"


def test_times_for_programs_are_utc_with_a_z() -> None:
    assert figures.utc(1_700_000_000.25) == "2023-11-14T22:13:20.250Z"
    assert figures.utc(0) is None
    assert figures.local(1_700_000_000, UTC) == "2023-11-14 22:13:20"


def test_numbers_lean_right_and_words_lean_left_whatever_their_width() -> None:
    lines = table([Column("NAME"), Column("N", right=True)], [["模型", "5"], ["a", Cell("1,234", "red")]]).splitlines()
    shown = [click.unstyle(seen(line)) for line in lines]
    assert shown == ["NAME      N", "模型      5", "a     1,234"]


def test_a_wide_character_counts_twice_and_a_combining_one_not_at_all() -> None:
    assert width("模") == 2
    assert width("e\u0301") == 1


def test_fields_stand_below_one_another() -> None:
    assert fields([("a", "1"), ("long", "2")]) == "a     1\nlong  2"

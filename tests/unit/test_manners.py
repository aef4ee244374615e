"""What several wishes about one link mean together."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelsyncd.errors import BadInputError
from modelsyncd.manners import FREE, MOST_OPENINGS, Manners, is_closed, manners, opens_at

MONDAY = datetime(2026, 11, 2)  # noqa: DTZ001 - wherever it is
NIGHTS = manners(openings=["22:00-06:00"])
WEEKENDS = manners(openings=["sat,sun"])
EARLY, NINE = manners(openings=["08:00-09:30"]), manners(openings=["09:00-10:00"])
NOON_ON_WEEKDAYS = manners(openings=["mon-fri 12:00-13:00"])


def test_manners_without_a_wish_limit_nothing() -> None:
    assert manners() == FREE
    assert not is_closed([FREE, FREE], MONDAY)
    assert opens_at([FREE], MONDAY) == MONDAY


def test_openings_are_kept_as_people_write_them() -> None:
    assert manners(openings=["MON-fri  22:00-6:00", "sun,sat"]).words == ("mon-fri 22:00-06:00", "sat-sun")


@pytest.mark.parametrize("bad", [{"rate": -1}, {"month_bytes": -5}, {"openings": ["never"]}])
def test_what_can_not_be_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(BadInputError):
        manners(**bad)  # type: ignore[arg-type]


def test_there_is_an_end_to_openings() -> None:
    opening = manners(openings=["sat"]).openings[0]
    assert len(Manners(openings=(opening,) * MOST_OPENINGS).openings) == MOST_OPENINGS
    with pytest.raises(BadInputError, match="64 openings, not 65"):
        Manners(openings=(opening,) * (MOST_OPENINGS + 1))


def test_one_that_is_closed_closes_all() -> None:
    saturday_noon, saturday_night = MONDAY + timedelta(days=5, hours=12), MONDAY + timedelta(days=5, hours=23)
    assert is_closed([NIGHTS, WEEKENDS], saturday_noon)
    assert not is_closed([NIGHTS, WEEKENDS, FREE], saturday_night)


def test_any_of_the_openings_of_one_opens_it() -> None:
    either = manners(openings=["22:00-06:00", "sat,sun"])
    assert not is_closed([either], MONDAY + timedelta(days=5, hours=12))
    assert is_closed([either], MONDAY + timedelta(days=4, hours=12))


def test_all_must_be_open_at_the_time_that_is_named() -> None:
    assert opens_at([NIGHTS], MONDAY + timedelta(hours=12)) == MONDAY + timedelta(hours=22)
    assert opens_at([NIGHTS, WEEKENDS], MONDAY + timedelta(hours=12)) == MONDAY + timedelta(days=5)
    assert opens_at([EARLY, NINE], MONDAY + timedelta(hours=8)) == MONDAY + timedelta(hours=9)
    assert opens_at([NIGHTS], MONDAY + timedelta(hours=23, minutes=17)) == MONDAY + timedelta(hours=23, minutes=17)


def test_what_never_opens_has_no_time() -> None:
    assert opens_at([WEEKENDS, NOON_ON_WEEKDAYS], MONDAY) is None


@given(st.integers(0, 7 * 1_440), st.lists(st.sampled_from([NIGHTS, WEEKENDS, NOON_ON_WEEKDAYS, FREE]), max_size=3))
def test_it_is_closed_until_the_time_that_is_named(minute: int, several: list[Manners]) -> None:
    now = MONDAY + timedelta(minutes=minute)
    at = opens_at(several, now)
    if at is None:
        return
    assert not is_closed(several, at)
    assert all(
        is_closed(several, now + timedelta(minutes=5 * n)) for n in range(int((at - now).total_seconds() // 300))
    )

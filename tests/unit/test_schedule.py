"""Times of the week, as people write them: over midnight, over the week's end, and in the nights when clocks change."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelsyncd.errors import BadInputError
from modelsyncd.schedule import DAY, WEEK, Opening, is_open, next_change, parse_opening

MONDAY = datetime(2026, 11, 2)  # noqa: DTZ001 - at midnight, wherever it is

openings = st.builds(
    Opening,
    st.lists(st.integers(0, 6), min_size=1, unique=True).map(lambda days: tuple(sorted(days))),
    st.integers(0, 1_439),
    st.integers(0, 1_439),
)
times = st.integers(0, 2 * WEEK).map(lambda minute: MONDAY + timedelta(minutes=minute, seconds=minute % 60))


def at(day: int, clock: str) -> datetime:
    hour, minute = map(int, clock.split(":"))
    return MONDAY + timedelta(days=day, hours=hour, minutes=minute)


def opens(words: str, day: int, clock: str) -> bool:
    return is_open([parse_opening(words)], at(day, clock))


@pytest.mark.parametrize(
    ("words", "inside", "outside"),
    [
        ("09:00-17:00", [(0, "09:00"), (6, "16:59")], [(0, "08:59"), (0, "17:00")]),
        ("22:00-06:00", [(0, "22:00"), (1, "05:59"), (0, "00:00")], [(0, "21:59"), (0, "06:00")]),
        ("mon-fri 22:00-06:00", [(0, "23:00"), (5, "05:00")], [(0, "05:00"), (5, "23:00"), (6, "01:00")]),
        ("sat,sun", [(5, "00:00"), (6, "23:59")], [(4, "23:59"), (0, "00:00")]),
        ("sun 23:00-01:00", [(6, "23:30"), (0, "00:59")], [(0, "01:00"), (6, "22:59"), (1, "00:30")]),
        ("fri-mon", [(4, "00:00"), (6, "12:00"), (0, "23:59")], [(1, "00:00"), (3, "23:59")]),
        ("18:00-24:00", [(0, "23:59")], [(0, "00:00"), (0, "17:59")]),
        ("00:00-24:00", [(0, "00:00"), (6, "23:59")], []),
    ],
)
def test_an_opening_is_open_when_it_says(
    words: str, inside: list[tuple[int, str]], outside: list[tuple[int, str]]
) -> None:
    for day, clock in inside:
        assert opens(words, day, clock), (day, clock)
    for day, clock in outside:
        assert not opens(words, day, clock), (day, clock)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("22:00-06:00", "22:00-06:00"),
        (" MON-FRI  7:05-16:00", "mon-fri 07:05-16:00"),
        ("sun,sat", "sat-sun"),
        ("tue,mon,wed,fri", "mon-wed,fri"),
        ("sun-tue 1:00-2:00", "mon-tue,sun 01:00-02:00"),
        ("mon-sun", "mon-sun"),
    ],
)
def test_an_opening_is_written_as_briefly_as_can_be(words: str, said: str) -> None:
    assert str(parse_opening(words)) == said


@given(openings)
def test_what_is_written_is_read_back_as_the_same(opening: Opening) -> None:
    again = parse_opening(str(opening))
    assert (again.days, again.minutes) == (opening.days, opening.minutes)
    assert again.start == opening.start or opening.minutes == DAY


@pytest.mark.parametrize(
    "words",
    [
        *("", "  ", "noon", "25:00-26:00"),
        *("10:60-11:00", "10:00", "10:00-", "10:00-10:00"),
        *("24:00-01:00", "01:00-24:01", "mon tue 10:00-11:00", "mon;tue"),
        *("mon-", "-mon", "mon,,tue", "10:00-11:00 mon"),
        *("1000-1100", "mo", "x" * 500),
    ],
)
def test_what_is_no_time_of_the_week_is_refused_with_how_to_write_one(words: str) -> None:
    with pytest.raises(BadInputError) as caught:
        parse_opening(words)
    assert caught.value.hint
    assert len(caught.value.message) < 200


@given(st.lists(openings, min_size=1, max_size=3), times)
def test_nothing_opens_or_closes_before_the_next_change(found: list[Opening], now: datetime) -> None:
    change = next_change(found, now)
    assert now < change <= now + timedelta(weeks=1)
    assert (change.second, change.microsecond) == (0, 0)
    minute = now.replace(second=0)
    while minute < change:
        assert is_open(found, minute) == is_open(found, now)
        minute += timedelta(minutes=7)
    assert is_open(found, change - timedelta(minutes=1)) == is_open(found, now)


@given(openings, times)
def test_an_opening_alone_changes_at_its_next_change_unless_it_never_closes(opening: Opening, now: datetime) -> None:
    change = next_change([opening], now)
    touching = any(
        (one * 1_440 + opening.start + opening.minutes - other * 1_440 - opening.start) % WEEK == 0
        for one in opening.days
        for other in opening.days
    )
    if not touching:
        assert is_open([opening], change) is not is_open([opening], now)


def test_without_openings_the_next_change_is_a_week_away() -> None:
    assert next_change([], MONDAY) == MONDAY + timedelta(weeks=1)


def test_in_the_nights_in_which_clocks_change_the_wall_clock_counts() -> None:
    berlin, night = ZoneInfo("Europe/Berlin"), [parse_opening("02:30-03:30")]
    shown = datetime(2026, 10, 25, 2, 45, tzinfo=berlin)
    assert is_open(night, shown)
    assert is_open(night, shown.replace(fold=1))  # it comes twice, and is open twice
    spring = datetime(2026, 3, 29, 0, 59, tzinfo=ZoneInfo("UTC")).astimezone(berlin)
    assert not is_open(night, spring)
    after = (datetime(2026, 3, 29, 1, 0, tzinfo=ZoneInfo("UTC"))).astimezone(berlin)
    assert after.hour == 3
    assert is_open(night, after)  # the hour before it never was, and the rest is open

"""What a month took is known after a restart, and a clock that is wrong neither gives it twice nor blocks for ever."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from edge_agent.moment import Moment
from edge_agent.speed import SPAN, Speed
from edge_agent.usage import ALL, DUE_BYTES, DUE_SECONDS, MONTHS, Usage
from modelsyncd.names import ModelName, ModelRef

HELMET = ModelRef(ModelName("acme", "helmet"), channel="stable")
BERLIN = ZoneInfo("Europe/Berlin")


def again(path: Path, usage: Usage) -> Usage:
    """After a restart."""
    usage.write(usage.encode(0.0))
    kept = Usage(path)
    kept.load()
    return kept


def test_bytes_are_counted_by_month_and_by_assignment_over_restarts(tmp_path: Path) -> None:
    usage = Usage(tmp_path / "usage.json")
    usage.load()
    usage.count("2026-11", 100, HELMET)
    usage.count("2026-11", 7)
    usage = again(tmp_path / "usage.json", usage)
    assert usage.used("2026-11") == {ALL: 107, "acme/helmet@stable": 100}
    assert usage.used("2026-12") == {}


def test_a_clock_that_goes_back_takes_along_what_was_counted_meanwhile(tmp_path: Path) -> None:
    usage = Usage(tmp_path / "usage.json")
    usage.count("2026-11", 100, HELMET)
    usage.count("2027-03", 50, HELMET)
    usage = again(tmp_path / "usage.json", usage)
    assert usage.used("2026-11") == {ALL: 150, "acme/helmet@stable": 150}


def test_a_clock_that_swings_gives_no_budget_twice() -> None:
    usage = Usage()
    usage.count("2026-11", 100)
    seen = []
    for _ in range(5):
        seen += [usage.used("2027-03").get(ALL, 0), usage.used("2026-11")[ALL]]
        usage.count("2027-03", 10)
    assert seen == [0, 100, 10, 110, 20, 120, 30, 130, 40, 140]


def test_a_clock_that_was_years_ahead_blocks_no_later_month() -> None:
    usage = Usage()
    usage.count("2099-01", 1_000)
    assert usage.used("2026-11")[ALL] == 1_000
    assert usage.used("2026-12") == {}


def test_a_node_that_begins_in_1970_at_each_start_goes_on_in_its_month() -> None:
    usage = Usage()
    for _ in range(20):
        usage.used("1970-01")
        usage.count("2026-11", 5)
    assert usage.used("2026-11") == {ALL: 100}
    assert usage.used("2026-12") == {}


def test_only_so_many_months_are_remembered(tmp_path: Path) -> None:
    usage = Usage(tmp_path / "usage.json")
    for month in range(1, 13):
        usage.count(f"2026-{month:02}", 1)
    kept = (tmp_path / "usage.json").write_bytes(usage.encode(0.0))
    assert kept < 1_000
    assert (tmp_path / "usage.json").read_text().count('"2026-') == MONTHS + 1


@pytest.mark.parametrize(
    "broken", [b"", b"{", b"[]", b'{"month": 1}', b"\xff\xfe", b'{"month":"a","stay":[],"months":{}}', b"null"]
)
def test_a_file_that_is_broken_counts_as_none(tmp_path: Path, broken: bytes) -> None:
    (tmp_path / "usage.json").write_bytes(broken)
    usage = Usage(tmp_path / "usage.json")
    usage.load()
    assert usage.used("2026-11") == {}
    usage.count("2026-11", 3)
    assert again(tmp_path / "usage.json", usage).used("2026-11") == {ALL: 3}


def test_a_disk_that_takes_no_file_is_told_of_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    usage = Usage(tmp_path / "gone" / "usage.json")
    usage.load()
    usage.count("2026-11", 3)
    usage.write(usage.encode(0.0))
    assert "usage.unsaved" in caplog.text
    assert usage.used("2026-11") == {ALL: 3}


def test_it_is_due_after_a_while_after_many_bytes_or_when_a_transfer_ended() -> None:
    usage = Usage()
    usage.encode(100.0)
    assert not usage.due(1_000.0)
    usage.count("2026-11", 1)
    assert not usage.due(100.0 + DUE_SECONDS / 2)
    assert usage.due(100.0 + DUE_SECONDS)
    usage.encode(200.0)
    usage.hurry()
    assert not usage.due(200.0)  # there is nothing to save
    usage.count("2026-11", 1)
    usage.hurry()
    assert usage.due(200.0)
    usage.encode(200.0)
    usage.count("2026-11", DUE_BYTES)
    assert usage.due(200.0)


# --- the node's own time ---


def test_a_time_that_comes_twice_is_the_first_that_is_yet_to_come() -> None:
    shown = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN)
    summer, winter = shown.timestamp(), shown.replace(fold=1).timestamp()
    assert winter - summer == 3_600
    assert Moment(summer - 60, BERLIN).next(shown) == summer
    assert Moment(summer, BERLIN).next(shown) == winter
    assert Moment(winter - 60, BERLIN).next(shown) == winter
    assert Moment(winter, BERLIN).next(shown) == winter + 60  # it is over: look again soon


def test_the_night_without_two_o_clock_is_an_hour_shorter() -> None:
    moment = Moment(datetime(2026, 3, 29, 0, 0, tzinfo=BERLIN).timestamp(), BERLIN)
    assert moment.next(datetime(2026, 3, 29, 6, 0, tzinfo=BERLIN)) - moment.wall == 5 * 3_600


@pytest.mark.parametrize(
    ("now", "ends"), [("2026-11-30T22:59:59", "2026-11-30T23:00:00"), ("2026-12-31T23:00:00", "2027-01-31T23:00:00")]
)
def test_a_month_ends_at_midnight_where_the_node_is(now: str, ends: str) -> None:
    wall: Callable[[str], float] = lambda text: datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()  # noqa: E731
    assert Moment(wall(now), BERLIN).month_ends == wall(ends)


def test_without_a_zone_the_systems_counts() -> None:
    moment = Moment(1_794_000_000.0)
    assert moment.local.tzinfo is None
    assert moment.next(moment.local) == moment.wall + 60
    assert moment.month_ends > moment.wall
    assert moment.utc_offset[0] in "+-"


# --- how fast it comes ---


def test_a_rate_is_of_the_last_seconds_and_falls_to_nothing_when_nothing_comes() -> None:
    speed = Speed(0.0, 1_000)
    assert speed.rate == 0
    speed.saw(0.1, 2_000)
    assert speed.rate == 0  # too short to tell
    for second in range(1, 20):
        speed.saw(float(second), 1_000 + 500 * second)
    assert speed.rate == pytest.approx(500)
    for second in range(20, 20 + int(SPAN) + 2):
        speed.saw(float(second), 10_500)
    assert speed.rate == 0

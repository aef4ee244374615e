"""Charts of numbers: where the axes have their marks, what a terminal shows, and what an SVG says."""

from __future__ import annotations

from xml.etree import ElementTree

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelsyncd.ctl import chart, series, svg
from modelsyncd.ctl.chart import Chart, Series
from modelsyncd.ctl.screen import seen
from modelsyncd.ctl.series import By
from modelsyncd.wire.v1 import records_pb2 as pb

FINITE = st.floats(min_value=-1e12, max_value=1e12, allow_nan=False)


def number(of: int, value: float, at: float = 0.0, **more: str) -> pb.Number:
    one = pb.Number(model="acme/helmet", number=of, name="precision", value=value, at=at or of)
    one.MergeFrom(pb.Number(**more))  # type: ignore[arg-type]
    return one


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.81, 0.9, [0.8, 0.82, 0.84, 0.86, 0.88, 0.9]),
        (0.0, 0.0, [-1.0, -0.5, 0.0, 0.5, 1.0]),
        (3.0, 3.0, [2.6, 2.8, 3.0, 3.2, 3.4]),
    ],
)
def test_an_axis_has_round_marks(low: float, high: float, expected: list[float]) -> None:
    assert chart.marks(low, high) == expected


@given(st.lists(st.tuples(FINITE, FINITE), min_size=1, max_size=20))
def test_any_finite_numbers_can_be_drawn_and_lie_between_the_marks(points: list[tuple[float, float]]) -> None:
    shown = Chart("any", [Series("", tuple(sorted(points)))], str)
    marks = chart.marks(min(shown.ys), max(shown.ys))
    slack = (marks[-1] - marks[0]) * 1e-6
    assert marks[0] - slack <= min(shown.ys) <= max(shown.ys) <= marks[-1] + slack
    assert 3 <= len(marks) <= 8
    lines = click.unstyle(seen(chart.drawn(shown, 60, 12))).splitlines()
    assert len(lines) == 1 + 12 + 2
    assert any("●" in line for line in lines)
    assert ElementTree.fromstring(svg.picture([shown])) is not None  # noqa: S314  # our own


def test_a_line_rises_from_the_lower_left_to_the_upper_right() -> None:
    shown = Chart("map", [Series("a", ((1, 0.0), (2, 1.0)))], lambda x: f":{x:.0f}")
    lines = click.unstyle(seen(chart.drawn(shown, 30, 6))).splitlines()
    assert lines[0] == "map"
    assert lines[1].endswith("●")
    assert lines[6].lstrip().startswith("0 ┤●")
    assert lines[-2].split() == [":1", ":2"]
    assert lines[-1] == "● a"


def test_of_each_release_the_newest_number_of_each_kind_is_drawn() -> None:
    found = [
        number(1, 0.5, at=5.0),
        number(1, 0.6, at=3.0),
        number(2, 0.7),
        number(2, 0.4, variant="int8", dataset="night"),
    ]
    (by_release,) = series.charts(found, None)
    assert [(one.name, one.points) for one in by_release.series] == [
        (series.WHOLE, ((1.0, 0.5), (2.0, 0.7))),
        ("int8, on night", ((2.0, 0.4),)),
    ]
    (by_time,) = series.charts(found, By.TIME)
    assert by_time.series[0].points == ((2.0, 0.7), (3.0, 0.6), (5.0, 0.5))


def test_numbers_about_one_release_are_drawn_by_time() -> None:
    (one,) = series.charts([number(1, 0.5, at=5.0), number(1, 0.6, at=3.0)], None)
    assert [(each.name, each.points) for each in one.series] == [("", ((3.0, 0.6), (5.0, 0.5)))]


def test_what_somebody_called_a_data_set_stays_text_in_a_picture() -> None:
    shown = series.charts([number(1, 0.5, dataset="<script>&\x1b[2J")], None)
    picture = svg.picture(shown)
    assert "<script>" not in picture
    assert "\x1b" not in picture + click.unstyle(seen(chart.drawn(shown[0])))
    assert "&lt;script&gt;" in picture

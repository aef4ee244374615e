"""Frames follow the rate at which payload comes."""

from __future__ import annotations

import pytest

from modelsyncd.session.flow import FIRST_FRAME, FRAME_FLOOR, Flow
from modelsyncd.session.window import FLOOR, Window


def stream(flow: Flow, rate: float, seconds: float, frame: int, *, start: float = 100.0, way: float = 0.6) -> None:
    """A link on which frames come one after the other, the first after the way there and back."""
    flow.asked(start)
    now = start + way
    while now < start + seconds:
        flow.arrived(frame, now)
        now += frame / rate


@pytest.mark.parametrize(
    ("rate", "frame"),
    [(8e3, FRAME_FLOOR), (32e3, 4 << 10), (200e3, 48 << 10), (800e3, 192 << 10)],
)
def test_a_frame_is_about_a_quarter_of_a_second(rate: float, frame: int) -> None:
    flow = Flow()
    stream(flow, rate, 60, 4 << 10)
    assert flow.frame_bytes == frame
    assert 0.9 * rate < flow.rate < 1.1 * rate


def test_a_first_frame_is_small_because_nothing_is_known() -> None:
    assert Flow().frame_bytes == FIRST_FRAME


def test_what_came_before_a_rate_was_measured_makes_the_next_frames_larger() -> None:
    flow = Flow()
    sizes = []
    for begun in range(4):  # windows of 256 KiB that a fast link carries in no time
        flow.asked(float(begun))
        frame = min(flow.frame_bytes, 64 << 10)
        for part in range(0, 256 << 10, frame):
            flow.arrived(frame, begun + 0.1 + part * 1e-9)
        flow.idle()
        assert flow.rate == 0.0
        sizes.append(flow.frame_bytes)
    assert sizes[0] == (256 << 10) - FIRST_FRAME
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("rate", [8e3, 32e3, 60e3])
def test_a_slow_link_gets_no_larger_frames_while_its_rate_is_unknown(rate: float) -> None:
    flow = Flow()
    for begun in range(0, 100, 20):
        stream(flow, rate, 0.84, 4 << 10, start=float(begun))  # a quarter of a second's payload, and idle again
        flow.idle()
        assert flow.rate == 0.0
        assert flow.frame_bytes == FIRST_FRAME


def test_a_measured_rate_overrules_what_was_guessed() -> None:
    flow = Flow()
    flow.asked(0.0)
    for part in range(8):
        flow.arrived(32 << 10, 0.1 + part * 0.001)  # what a stall had held back comes at once
    assert flow.frame_bytes == 7 * (32 << 10)
    stream(flow, 32e3, 60, 4 << 10)
    assert flow.frame_bytes == 4 << 10


def test_the_way_is_the_shortest_wait_for_a_first_frame() -> None:
    flow = Flow()
    stream(flow, 32e3, 10, 4 << 10, start=0, way=0.9)
    flow.idle()
    stream(flow, 32e3, 10, 4 << 10, start=50, way=0.6)
    flow.idle()
    stream(flow, 32e3, 10, 4 << 10, start=90, way=2.0)
    assert flow.way == pytest.approx(0.6)


def test_the_wait_for_the_first_payload_is_no_part_of_the_rate() -> None:
    flow = Flow()
    flow.asked(0.0)
    flow.arrived(50_000, 2.0)
    flow.arrived(30_000, 2.5)
    assert flow.rate == pytest.approx(60_000)


def test_a_pause_with_nothing_owed_says_nothing_about_the_rate() -> None:
    flow = Flow()
    stream(flow, 100e3, 10, 4 << 10)
    before = flow.rate
    flow.idle()
    stream(flow, 100e3, 10, 4 << 10, start=5_000)
    assert flow.rate == pytest.approx(before, rel=0.05)


def test_a_way_longer_than_a_second_does_not_starve_its_link() -> None:
    rate, way = 2.5e6, 1.5
    window = Window()
    window.way = way
    now = 0.0
    for _ in range(200):  # all of a window comes, a way after it was asked for, as fast as the link carries it
        window.asked(now)
        now += way + window.size / rate
        window.kept(window.size, now)
        window.idle()
    assert window.size > rate * way, "the window starves the link"
    lost = Window()
    now = 0.0
    for _ in range(200):
        lost.asked(now)
        now += way + lost.size / rate
        lost.kept(lost.size, now)
        lost.idle()
    assert lost.size == FLOOR, "without knowing the way it would"

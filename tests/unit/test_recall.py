"""A session begins with what the one before found out about the link, and believes what it measures itself."""

from __future__ import annotations

from modelsyncd.session.flow import FIRST_FRAME, RECALLED_MOST, Flow
from modelsyncd.session.recall import HALF_LIFE, WINDOW_MOST, Recall
from modelsyncd.session.window import FIRST, FLOOR, Window


def test_half_of_what_a_link_carried_is_counted_on_and_ever_less_with_time() -> None:
    recall = Recall()
    recall.learn(1_000_000, now=100.0)
    assert recall.rate(100.0) == 500_000
    assert recall.rate(100.0 + HALF_LIFE) == 250_000
    assert recall.rate(100.0 + 30 * HALF_LIFE) < 1


def test_a_clock_that_went_back_makes_no_memory_larger() -> None:
    recall = Recall()
    recall.learn(1_000_000, now=1e6)
    assert recall.rate(0.0) == 500_000


def test_nothing_known_leaves_the_first_window_and_frames_as_they_are() -> None:
    window, flow = Window(), Flow()
    window.begin(Recall().window_bytes(5.0))
    flow.begin(Recall().rate(5.0))
    assert (window.size, flow.frame_bytes) == (FIRST, FIRST_FRAME)


def test_a_fast_link_that_is_recalled_asks_for_no_more_than_a_slow_one_can_stand() -> None:
    recall, window, flow = Recall(), Window(), Flow()
    recall.learn(1e9, now=0.0)
    window.begin(recall.window_bytes(0.0))
    flow.begin(recall.rate(0.0))
    assert window.size == WINDOW_MOST
    assert flow.frame_bytes == RECALLED_MOST


def test_the_first_thing_that_is_measured_is_believed_instead_of_the_memory() -> None:
    window = Window()
    window.begin(WINDOW_MOST)
    window.asked(0.0)
    window.kept(FLOOR // 8, 1.0)
    assert window.size == FLOOR


def test_frames_follow_the_first_rate_that_is_measured() -> None:
    flow = Flow()
    flow.begin(1e9)
    flow.asked(0.0)
    flow.arrived(1_000, 0.1)
    flow.arrived(8_000, 1.1)
    assert flow.frame_bytes == 4 << 10

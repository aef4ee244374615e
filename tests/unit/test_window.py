"""The window follows the link."""

from __future__ import annotations

from modelsyncd.session.window import CAP, FLOOR, Window


def drive(window: Window, rate: float, seconds: float) -> None:
    """A link that makes a quarter of a window durable at a time, at `rate` bytes a second."""
    now = 0.0
    window.asked(now)
    while now < seconds:
        part = window.size // 4
        now += part / rate
        window.kept(part, now)


def test_on_a_fast_link_the_window_grows_to_its_cap() -> None:
    window = Window()
    drive(window, 1e9, 5)
    assert window.size == CAP


def test_on_a_slow_link_the_window_is_about_a_second_of_it() -> None:
    window = Window()
    drive(window, 2e6, 30)
    assert 1.8e6 < window.size < 2.2e6


def test_the_window_never_shuts() -> None:
    window = Window()
    drive(window, 8_000, 1_000)
    assert window.size == FLOOR


def test_a_pause_with_nothing_in_flight_says_nothing_about_the_link() -> None:
    window = Window()
    drive(window, 4e6, 30)
    before = window.size
    window.idle()
    window.asked(10_000.0)
    window.kept(before // 2, 10_000.0 + before / 2 / 4e6)
    assert abs(window.size - before) < before / 4

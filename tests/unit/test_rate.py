"""What a giver believes of its link: waiting counts, working does not, and too little says nothing."""

from __future__ import annotations

import pytest

from modelsyncd.link.rate import BURST, MEMORY, PROOF, Rate


def test_what_the_buffers_take_in_says_nothing() -> None:
    rate = Rate()
    rate.wrote(BURST, 3.0)
    rate.waited(0.0)
    assert rate.bytes_per_second == 0


def test_a_link_that_makes_writers_wait_is_as_fast_as_they_write() -> None:
    rate = Rate(burst=0)
    for _ in range(100):
        rate.wrote(100_000, 0.05)
    assert rate.bytes_per_second == pytest.approx(2_000_000)


def test_a_link_whose_taker_asks_for_little_at_once_is_as_fast_as_the_taker_asks_again() -> None:
    rate = Rate(burst=0)
    for _ in range(100):
        rate.wrote(100_000, 0.0)  # the buffers take it in
        rate.waited(0.05)
    assert rate.bytes_per_second == pytest.approx(2_000_000, rel=0.05)


def test_a_few_bytes_that_went_at_once_do_not_make_a_link_fast() -> None:
    rate = Rate(burst=0)
    rate.wrote(1 << 20, 0.0)
    assert rate.bytes_per_second == 0
    rate.waited(2 * PROOF)
    assert rate.bytes_per_second == pytest.approx((1 << 20) / (2 * PROOF))


def test_a_link_that_takes_everything_in_at_once_is_fast() -> None:
    rate = Rate(burst=0)
    rate.wrote(MEMORY + 1, 0.01)
    assert rate.bytes_per_second > 100e6


def test_a_link_that_becomes_slow_is_noticed() -> None:
    rate = Rate(burst=0)
    for _ in range(200):
        rate.wrote(1 << 20, 0.01)
    for _ in range(40):
        rate.wrote(1 << 20, 1.0)
    assert rate.bytes_per_second < 2 << 20

"""What a link carries, judged by how long writing to it takes."""

from __future__ import annotations

import pytest

from modelsyncd.link.rate import Rate

MB = 1_000_000


def test_nothing_is_said_while_buffers_may_still_have_taken_everything() -> None:
    rate = Rate(burst=4 * MB)
    for _ in range(4):
        rate.wrote(MB, 0.0)
    assert rate.bytes_per_second == 0.0
    rate.wrote(MB, 0.5)
    assert rate.bytes_per_second == pytest.approx(2 * MB)


def test_a_link_that_waits_shows_its_rate() -> None:
    rate = Rate(burst=0)
    for _ in range(100):
        rate.wrote(MB, 0.4)
    assert rate.bytes_per_second == pytest.approx(2.5 * MB)


def test_a_link_that_never_waits_is_fast() -> None:
    rate = Rate(burst=0, memory=8 * MB)
    rate.wrote(9 * MB, 0.0)
    assert rate.bytes_per_second > 1e12


def test_a_link_that_changes_is_believed_soon() -> None:
    rate = Rate(burst=0, memory=8 * MB)
    for _ in range(100):
        rate.wrote(MB, 0.001)
    for _ in range(24):
        rate.wrote(MB, 1.0)
    assert rate.bytes_per_second == pytest.approx(MB, rel=0.2)

"""What a link carries, as people write and read it."""

from __future__ import annotations

import click
import pytest

from modelsyncd.ctl.rate import Rate, parse, shown


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("20Mbit", 2.5e6),
        ("20 Mbit/s", 2.5e6),
        ("20Mbps".replace("bps", "bitps"), 2.5e6),
        ("64kbit", 8e3),
        ("1.5MB", 1.5e6),
        (".5 GB/s", 5e8),
        ("1Gbit", 1.25e8),
        ("4MiB", 4 << 20),
        ("800bit", 100),
        ("7B", 7),
    ],
)
def test_a_rate_is_a_number_with_a_unit_in_bits_or_bytes(text: str, rate: float) -> None:
    assert parse(text) == pytest.approx(rate)


@pytest.mark.parametrize(
    "text", ["", "20", "Mbit", "0Mbit", "-1MB", "1e9B", "20 mbit", "20Mb", "nan B", "1 TB", "1,5MB"]
)
def test_what_could_be_taken_in_two_ways_is_no_rate(text: str) -> None:
    assert parse(text) is None
    with pytest.raises(click.BadParameter, match="20Mbit"):
        Rate().convert(text, None, None)


@pytest.mark.parametrize(
    ("rate", "text"), [(1, "8 bit/s"), (8e3, "64 kbit/s"), (2.5e6, "20 Mbit/s"), (1.9e8, "1.52 Gbit/s")]
)
def test_a_rate_is_shown_in_bits(rate: float, text: str) -> None:
    assert shown(rate) == text
    assert parse(text) == pytest.approx(rate)

"""Spans of time as people write them."""

from __future__ import annotations

import pytest

from modelsyncd.ages import parse_age
from modelsyncd.errors import BadInputError


@pytest.mark.parametrize(
    ("text", "seconds"), [("90m", 5_400.0), (" 12h ", 43_200.0), ("1.5d", 129_600.0), ("8w", 4_838_400.0), ("0m", 0.0)]
)
def test_an_age_is_seconds(text: str, seconds: float) -> None:
    assert parse_age(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "d", "-1d", "1 d", "1y", "1d2h", "1e9d", "9" * 40 + "d", "١d"])
def test_what_is_no_age_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BadInputError, match="is no age") as caught:
        parse_age(text)
    assert "30d" in caught.value.hint

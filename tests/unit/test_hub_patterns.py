"""Which models and channels a right is for."""

from __future__ import annotations

import pytest

from cloud_hub.patterns import covers, parse_channels, parse_models
from modelsyncd.errors import InvalidNameError


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("acme/helmet", "acme/helmet", True),
        ("acme/helmet", "acme/helmet-2", False),
        ("acme/helmet-*", "acme/helmet-2", True),
        ("acme/helmet-*", "acme/helmet-", True),
        ("acme/helmet-*", "acme/helmet", False),
        ("acme/*", "acme/anything", True),
        ("acme/*", "acme-too/anything", False),
        ("acme/*", "other/acme", False),
        ("stable", "stable", True),
        ("edge-*", "edge-oslo", True),
        ("edge-*", "stable", False),
        ("*", "stable", True),
    ],
)
def test_a_pattern_covers_the_names_that_begin_so(pattern: str, name: str, *, expected: bool) -> None:
    assert covers(pattern, name) is expected


@pytest.mark.parametrize("text", ["acme/helmet", "acme/helmet-*", "acme/h*", "acme/*"])
def test_patterns_of_models_say_their_namespace_in_full(text: str) -> None:
    assert parse_models(text) == text


@pytest.mark.parametrize(
    "text", ["", "*", "*/*", "a*/helmet", "acme", "acme*", "acme/*-x", "acme/**", "acme/?", "ACME/*"]
)
def test_what_reaches_over_namespaces_or_is_no_name_is_no_pattern_of_models(text: str) -> None:
    with pytest.raises(InvalidNameError, match="pattern of models") as refused:
        parse_models(text)
    assert "acme/*" in refused.value.hint


@pytest.mark.parametrize("text", ["stable", "edge-*", "*"])
def test_patterns_of_channels_may_be_for_all(text: str) -> None:
    assert parse_channels(text) == text


@pytest.mark.parametrize("text", ["", "a*b", "**", "versions", "Stable", "a/b"])
def test_what_is_no_channel_is_no_pattern_of_channels(text: str) -> None:
    with pytest.raises(InvalidNameError, match="pattern of channels"):
        parse_channels(text)

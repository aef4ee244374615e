"""The only place where labels and selectors are written as text, and where a selector is held against labels."""

from __future__ import annotations

import json
from collections.abc import Mapping


def write(labels: Mapping[str, str]) -> str:
    """JSON that is the same text for the same labels, so that text may be compared in SQL."""
    return json.dumps(dict(labels), sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def read(text: str) -> dict[str, str]:
    """The labels that `write` wrote."""
    found: dict[str, str] = json.loads(text)
    return found


def fits(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether all of the selector's labels are there with the same values."""
    return all(labels.get(key) == value for key, value in selector.items())

"""The only place that reads k=v arguments: labels, selectors and metrics."""

from __future__ import annotations

import math
from collections.abc import Iterable

from modelsyncd.errors import BadInputError
from modelsyncd.release import check_labels


def labels(arguments: Iterable[str]) -> dict[str, str]:
    """Labels or a selector from k=v arguments; the value may be empty. Raises BadInputError, LimitError."""
    found = _pairs(arguments, "label")
    check_labels(found)
    return found


def selector(arguments: Iterable[str]) -> dict[str, str]:
    """A variant's selector from k=v arguments. Raises BadInputError, LimitError."""
    found = _pairs(arguments, "selector")
    check_labels(found)
    return found


def metrics(arguments: Iterable[str]) -> dict[str, float]:
    """Metrics from k=v arguments; the value is a finite number. Raises BadInputError."""
    found: dict[str, float] = {}
    for key, text in _pairs(arguments, "metric").items():
        try:
            found[key] = float(text)
        except ValueError:
            raise BadInputError(f"metric {key[:40]}: {text[:40]!r} is no number") from None
        if not math.isfinite(found[key]):
            raise BadInputError(f"metric {key[:40]}: {text[:40]!r} is not finite", hint="leave it out")
    return found


def _pairs(arguments: Iterable[str], what: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or not key:
            raise BadInputError(f"{argument[:80]!r} is no {what}", hint=f"write it as --{what} name=value")
        if found.setdefault(key, value) != value:
            raise BadInputError(f"{what} {key[:40]!r} is given twice, with different values")
    return found

"""The only place that reads spans of time as people write them: "90m", "12h", "30d", "8w"."""

from __future__ import annotations

import re

from modelsyncd.errors import BadInputError

_UNITS = {"m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}
_AGE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([mhdw])")


def parse_age(text: str) -> float:
    """Seconds. Raises BadInputError."""
    match = _AGE.fullmatch(text.strip())
    if match is None:
        raise BadInputError(f"{text[:40]!r} is no age", hint="write 90m, 12h, 30d or 8w")
    return float(match[1]) * _UNITS[match[2]]

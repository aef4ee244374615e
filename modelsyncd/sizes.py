"""The only place that reads sizes as people write them: "512", "20 GB", "1.5GiB".

Thousands (kB, MB, GB, TB) and powers of 1,024 (KiB, MiB, GiB, TiB) are told apart, because disks are sold in the one
and measured in the other.
"""

from __future__ import annotations

import re

from modelsyncd.errors import BadInputError

_UNITS: dict[str, int] = {"": 1, "b": 1} | {
    unit: base**power
    for base, units in ((1_000, ("kb", "mb", "gb", "tb")), (1_024, ("kib", "mib", "gib", "tib")))
    for power, unit in enumerate(units, 1)
}
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?([A-Za-z]{0,3})")
MOST = 1 << 60  # bytes: more than any disk, and far from where integers of SQL and protobuf end


def parse_size(text: str) -> int:
    """Bytes, rounded down. Raises BadInputError."""
    match = _SIZE.fullmatch(text.strip())
    unit = _UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None:
        raise BadInputError(f"{text[:80]!r} is no size", hint="write it as 20GB, 512MiB or a plain number of bytes")
    whole, _, part = match[1].partition(".")
    size: int = int(whole) * unit + (int(part) * unit // 10 ** len(part) if part else 0)
    if size > MOST:
        raise BadInputError(f"{text[:80]!r} is more than any disk has")
    return size

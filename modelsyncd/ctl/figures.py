"""The only place where numbers and times are made fit for a person's eyes.

Everything is pure: `now` and the zone are passed in. Sizes are binary (1 KiB = 1,024 bytes), the unit that disks and
`ls -lh` use.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo

_UNITS = ("KiB", "MiB", "GiB", "TiB")
_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR


def size(count: float) -> str:
    """Bytes as a person reads them: "0 B", "1,023 B", "1.5 MiB"."""
    if abs(count) < 1024:
        return f"{count:,.0f} B"
    value, power = count / 1024, 0
    while abs(value) >= 1023.95 and power < len(_UNITS) - 1:  # 1,024.0 is shown in the next unit
        value, power = value / 1024, power + 1
    return f"{value:,.1f} {_UNITS[power]}"


def count(number: int, one: str, many: str = "") -> str:
    """A number with its noun: "1 file", "1,200 files"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def share(part: float, whole: float) -> str:
    """Per cent of the whole; never "100 %" while something is missing. "-" when there is no whole."""
    if whole <= 0:
        return "-"
    percent = 100 * part / whole
    if 99.9 <= percent < 100:
        percent = 99.9
    return "100 %" if percent >= 100 else f"{percent:.1f} %"


def duration(seconds: float) -> str:
    """A span in its two largest units: "0.4 s", "12 s", "3 min 20 s", "2 h 05 min", "3 d 4 h"."""
    if seconds < 9.95:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def ago(at: float, now: float) -> str:
    """How long before or after `now` (both seconds since 1970): "12 s ago", "in 3 h"; "never" for 0."""
    if at <= 0:
        return "never"
    span = now - at
    if abs(span) < 1:
        return "just now"
    words = _rough(abs(span))
    return f"{words} ago" if span > 0 else f"in {words}"


def _rough(seconds: float) -> str:
    for unit, length in (("d", _DAY), ("h", _HOUR), ("min", _MINUTE)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"


def local(at: float, zone: tzinfo | None = None) -> str:
    """Seconds since 1970 as local time; "-" for 0. Without a zone, this machine's."""
    if at <= 0:
        return "-"
    return datetime.fromtimestamp(at, UTC).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")


def moment(at: float, now: float) -> str:
    """Local and relative: "2026-03-01 10:00:00 (2 h ago)"."""
    return "never" if at <= 0 else f"{local(at)} ({ago(at, now)})"


def utc(at: float) -> str | None:
    """RFC 3339 in UTC with milliseconds, for programs; None for 0, which stands for "never"."""
    if at <= 0:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def pairs(labels: Mapping[str, str]) -> str:
    """Labels as they are typed: "arch=arm64 site=north"; "-" for none."""
    return " ".join(f"{key}={value}" for key, value in sorted(labels.items())) or "-"

"""The only place that says what moving content took: the report of a push or a pull, for programs and for people."""

from __future__ import annotations

from dataclasses import dataclass

from modelsyncd.ctl.figures import duration, size


@dataclass(frozen=True, slots=True)
class Cost:
    """Plain bytes: `content` in all, of which `had` were there before and `coded` came coded against a base.

    `wire` are the encoded bytes that travelled; CPU is in seconds, `seconds` by the clock.
    """

    content: int
    had: int
    coded: int
    wire: int
    giver_cpu: float
    taker_cpu: float
    seconds: float

    @property
    def plain(self) -> int:
        """Plain bytes that came without a base."""
        return max(0, self.content - self.had - self.coded)


def describe(cost: Cost) -> dict[str, object]:
    """For programs."""
    return {
        "bytes": cost.content,
        "bytes_had": cost.had,
        "bytes_coded": cost.coded,
        "bytes_plain": cost.plain,
        "bytes_wire": cost.wire,
        "giver_cpu": round(cost.giver_cpu, 3),
        "taker_cpu": round(cost.taker_cpu, 3),
        "seconds": round(cost.seconds, 3),
    }


def sentence(cost: Cost, *, here: float, there: float) -> str:
    """For people; `here` and `there` are the seconds of CPU of this machine and of the hub. "" if nothing travelled."""
    if not cost.wire:
        return ""
    parts = [f"{size(cost.plain)} travelled without a base"]
    if cost.coded:
        parts.insert(0, f"{size(cost.coded)} travelled coded against a base")
    return f"{', '.join(parts)}; CPU: {duration(here)} here, {duration(there)} at the hub."

"""The only place that says what a transfer will cost: its exact plain size, before the first byte travels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """`total`, `have` and `fetch` in plain bytes; on the wire, `fetch` is the most that it can take."""

    total: int
    have: int
    fetch: int
    chunks_total: int
    chunks_fetch: int

    def __str__(self) -> str:
        return f"{self.fetch} of {self.total} bytes in {self.chunks_fetch} of {self.chunks_total} chunks"


def make(sizes: Sequence[int], missing: Sequence[int]) -> Plan:
    """The plan for chunks of these plain sizes in bytes, by ordinal, of which those in `missing` must travel.

    A chunk that occurs several times is missing once; its other places count as had. Raises IndexError for an ordinal
    that has no size.
    """
    total = sum(sizes)
    fetch = sum(sizes[ordinal] for ordinal in missing)
    return Plan(total, total - fetch, fetch, len(sizes), len(missing))

"""The only place where ordinals that a peer named are held as the runs that they came in, whatever their number."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import chain, pairwise

from modelsyncd.errors import ProtocolError


@dataclass(frozen=True, slots=True)
class Runs(Collection[int]):
    """Ordinals, ascending, each once. Takes the memory of its runs, and none for what lies in them."""

    ranges: tuple[range, ...]

    @classmethod
    def of(cls, ranges: Collection[range]) -> Runs:
        """Raises ProtocolError for runs that overlap."""
        ordered = tuple(sorted(ranges, key=lambda run: run.start))
        if any(second.start < first.stop for first, second in pairwise(ordered)):
            raise ProtocolError("the same chunk was named twice")
        return cls(ordered)

    def __len__(self) -> int:
        return sum(map(len, self.ranges))

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(self.ranges)

    def __contains__(self, ordinal: object) -> bool:
        return any(ordinal in run for run in self.ranges)

"""The only place that finds, among many tensors of one size, those that look like a sample."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from modelsyncd.matching.elements import LIKE

LOOKED_THROUGH = 256  # members of a crowd that are compared with one sample
TAKEN = 4  # likest members
BUCKET = 64  # members whose signatures share a slice; more are as good as none
SLICES = 6
SLICE_BITS = 16

T = TypeVar("T")


class Crowd(Generic[T]):
    """Things by signature. A small crowd is looked through; of a large one, those that share a slice of bits."""

    def __init__(self, members: Iterable[tuple[int, T]], bits: int) -> None:
        """`bits` is the length of every signature."""
        self._members = list(members)
        self._bits = bits
        self._buckets: dict[int, list[int]] = defaultdict(list)
        if len(self._members) > LOOKED_THROUGH:
            self._sort_in()

    def likest(self, signature: int) -> list[T]:
        """The members with the fewest other bits, best first; no more than `LIKE` of the bits may differ."""
        near = sorted(
            (distance, number)
            for number in self._near(signature)
            if (distance := (self._members[number][0] ^ signature).bit_count()) <= LIKE * self._bits
        )
        return [self._members[number][1] for _, number in near[:TAKEN]]

    def _near(self, signature: int) -> Iterable[int]:
        if len(self._members) <= LOOKED_THROUGH:
            return range(len(self._members))
        found = {number for key in self._slices(signature) for number in self._buckets.get(key, ())}
        return sorted(found)[:LOOKED_THROUGH]

    def _sort_in(self) -> None:
        for number, (signature, _) in enumerate(self._members):
            for key in self._slices(signature):
                if len(self._buckets[key]) < BUCKET:
                    self._buckets[key].append(number)

    def _slices(self, signature: int) -> Iterator[int]:
        """The signature's slices, each with its place, from all over it."""
        places = max(self._bits // SLICE_BITS, 1)
        for place in range(0, places, max(places // SLICES, 1)):
            yield place << SLICE_BITS | signature >> place * SLICE_BITS & (1 << SLICE_BITS) - 1

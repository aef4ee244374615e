"""The only place that finds, among many tensors of one size, those that look like a sample."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from modelsyncd.matching.elements import LIKE, Signature

LOOKED_THROUGH = 256  # members of a crowd that are compared with one sample
TAKEN = 4  # likest members
BUCKET = 64  # members whose signatures share a slice; more are as good as none
SLICE_BITS = 16  # 8 slices: with every 16th bit changed one of them is as it was, nearly always

T = TypeVar("T")


class Crowd(Generic[T]):
    """Things by signature. A small crowd is looked through; of a large one, those that share a slice of bits."""

    def __init__(self, members: Iterable[tuple[Signature, T]]) -> None:
        self._members = list(members)
        self._buckets: dict[int, list[int]] = {}
        if len(self._members) > LOOKED_THROUGH:
            self._sort_in()

    def likest(self, signature: Signature) -> list[T]:
        """The members with the fewest other bits, best first; of those whose signatures are as long as this."""
        near = sorted(
            (apart, number)
            for number in self._near(signature)
            if self._members[number][0].length == signature.length
            and (apart := self._members[number][0].apart(signature)) <= LIKE
        )
        return [self._members[number][1] for _, number in near[:TAKEN]]

    def _near(self, signature: Signature) -> Iterable[int]:
        if len(self._members) <= LOOKED_THROUGH:
            return range(len(self._members))
        found = {number for key in _slices(signature) for number in self._buckets.get(key, ())}
        return sorted(found)[:LOOKED_THROUGH]

    def _sort_in(self) -> None:
        for number, (signature, _) in enumerate(self._members):
            for key in _slices(signature):
                bucket = self._buckets.setdefault(key, [])
                if len(bucket) < BUCKET:
                    bucket.append(number)


def _slices(signature: Signature) -> Iterator[int]:
    """The signature's slices, each with its place."""
    for place in range(max(signature.length // SLICE_BITS, 1)):
        yield place << SLICE_BITS | signature.bits >> place * SLICE_BITS & (1 << SLICE_BITS) - 1

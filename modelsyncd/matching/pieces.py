"""The only place that says in which tensors the bytes of a chunk lie."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

from modelsyncd.manifest import File, Manifest, Tensor


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes `start` to `end` of file number `file`. All of them lie in `tensor`, or in none."""

    file: int
    start: int
    end: int
    tensor: Tensor | None


class Pieces:
    """The chunks of a manifest, each as pieces that lie in one tensor at most. 24 bytes for each tensor or chunk."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self._first = list(accumulate((len(file.chunk_sizes) for file in manifest.files), initial=0))
        self._files: dict[int, _Spans] = {}

    def span(self, ordinal: int) -> tuple[int, int, int]:
        """(file, first byte, byte after the last) of a chunk. Raises IndexError for one that is not there."""
        if not 0 <= ordinal < self._first[-1]:
            raise IndexError(ordinal)
        file = bisect_right(self._first, ordinal) - 1
        start, end = self._spans(file).chunk(ordinal - self._first[file])
        return file, start, end

    def of(self, ordinal: int) -> Iterator[Piece]:
        """The pieces of a chunk, end to end. Raises IndexError."""
        file, start, end = self.span(ordinal)
        spans = self._spans(file)
        tensors = self.manifest.files[file].tensors
        for left, right, index in spans.cut(start, end):
            yield Piece(file, left, right, None if index is None else tensors[index])

    def _spans(self, file: int) -> _Spans:
        if (known := self._files.get(file)) is None:
            known = self._files[file] = _Spans(self.manifest.files[file])
        return known


class _Spans:
    """Where the tensors of one file begin and end, none over another: a byte in two is the first one's."""

    def __init__(self, file: File) -> None:
        self._cuts = array("Q", accumulate(file.chunk_sizes, initial=0))
        self._starts = array("Q")
        self._ends = array("Q")
        self._indexes = array("L")
        position = 0
        tensors = file.tensors
        for index in sorted(range(len(tensors)), key=lambda index: (tensors[index].offset, tensors[index].size)):
            start, end = max(tensors[index].offset, position), tensors[index].offset + tensors[index].size
            if start < end:
                self._starts.append(start)
                self._ends.append(end)
                self._indexes.append(index)
                position = end

    def chunk(self, index: int) -> tuple[int, int]:
        return self._cuts[index], self._cuts[index + 1]

    def cut(self, start: int, end: int) -> Iterator[tuple[int, int, int | None]]:
        """(start, end, index of the tensor) of what lies between two bytes of the file."""
        number = max(bisect_right(self._starts, start) - 1, 0)
        position = start
        while position < end:
            if number == len(self._starts) or self._starts[number] >= end:
                yield position, end, None
                return
            left, right = max(self._starts[number], position), min(self._ends[number], end)
            if left > position:
                yield position, left, None
            if left < right:
                yield left, right, self._indexes[number]
            position = max(right, position)
            number += 1

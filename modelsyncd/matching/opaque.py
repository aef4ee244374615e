"""The only place that looks for bytes that lie in no tensor: headers, and files whose layout nobody knows."""

from __future__ import annotations

from modelsyncd.bases import HOLE, Read, Run
from modelsyncd.manifest import Manifest
from modelsyncd.matching.counterparts import Counterparts
from modelsyncd.matching.pieces import Piece

SAMPLED = 128  # bytes at each place
PLACES = 2
EQUAL_LEAST = 0.25  # share of equal bytes: unrelated texts share 0.08 of them, unrelated weights less


class Opaque:
    """Finds the same file's same place, counted from its start or from its end."""

    def __init__(self, new: Manifest, base: Manifest, read_new: Read, read_base: Read) -> None:
        self._new = new
        self._base = base
        self._read_new = read_new
        self._read_base = read_base
        self._counterparts = Counterparts(new, base)

    def known(self, file: int) -> bool:
        """Whether the base has a version of this file whose layout nobody knows."""
        there = self._counterparts.of(file)
        return there is not None and not self._base.files[there].tensors

    def runs(self, piece: Piece) -> tuple[list[Run], float]:
        """Runs as long as the piece, and the share of bytes that differ. Raises what the readers raise."""
        size = piece.end - piece.start
        file = self._counterparts.of(piece.file)
        if file is None:
            return [Run(HOLE, 0, size)], 1.0
        base_size = self._base.files[file].size
        found = [(self._differing(piece, file, shift), shift) for shift in self._shifts(piece, base_size)]
        differing, shift = min(found, key=lambda one: one[0])
        if differing > 1 - EQUAL_LEAST:
            return [Run(HOLE, 0, size)], 1.0
        start, end = _inside(piece, base_size, shift)
        holes = (Run(HOLE, 0, start - piece.start), Run(HOLE, 0, piece.end - end))
        runs = [holes[0], Run(file, start + shift, end - start), holes[1]]
        return [run for run in runs if run.size], differing

    def _shifts(self, piece: Piece, base_size: int) -> set[int]:
        """What to add to an offset to find it in the base."""
        return {0, base_size - self._new.files[piece.file].size}

    def _differing(self, piece: Piece, file: int, shift: int) -> float:
        start, end = _inside(piece, self._base.files[file].size, shift)
        length = min(SAMPLED, end - start)
        if 2 * (end - start) < piece.end - piece.start:
            return 1.0
        equal = 0
        for place in range(PLACES):
            offset = start + (end - start - length) * (place + 1) // (PLACES + 1)
            new = bytes(self._read_new(piece.file, offset, length))
            base = bytes(self._read_base(file, offset + shift, length))
            equal += sum(left == right for left, right in zip(new, base, strict=True))
        return 1 - equal / (PLACES * length)


def _inside(piece: Piece, base_size: int, shift: int) -> tuple[int, int]:
    """The part of the piece that lies inside the base's file when shifted."""
    start = max(piece.start, -shift)
    return start, max(start, min(piece.end, base_size - shift))

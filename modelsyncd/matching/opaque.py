"""The only place that looks for bytes that lie in no tensor: headers, and files whose layout nobody knows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from modelsyncd.bases import HOLE, Read, Run
from modelsyncd.manifest import Manifest
from modelsyncd.matching.counterparts import Counterparts
from modelsyncd.matching.pieces import Piece

SAMPLED = 128  # bytes at each place
PLACES = 2
EQUAL_LEAST = 0.25  # share of equal bytes: unrelated texts share 0.08 of them, unrelated weights less


class Shift(NamedTuple):
    """A file of the base, and what to add to an offset to find the same place in it."""

    file: int
    by: int


class Opaque:
    """Finds the same place: beside the same tensors, or in the same file, counted from its start or from its end."""

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

    def runs(self, piece: Piece, beside: Iterable[Shift] = ()) -> tuple[list[Run], float]:
        """Runs as long as the piece, and the share of bytes that differ. Raises what the readers raise.

        `beside` is where the tensors next to the piece were found: what lies between two tensors moves with them.
        """
        size = piece.end - piece.start
        found = [(self._differing(piece, shift), shift) for shift in self._shifts(piece, beside)]
        differing, shift = min(found, key=lambda one: one[0], default=(1.0, Shift(HOLE, 0)))
        if differing > 1 - EQUAL_LEAST:
            return [Run(HOLE, 0, size)], 1.0
        start, end = self._inside(piece, shift)
        holes = (Run(HOLE, 0, start - piece.start), Run(HOLE, 0, piece.end - end))
        runs = [holes[0], Run(shift.file, start + shift.by, end - start), holes[1]]
        return [run for run in runs if run.size], differing

    def _shifts(self, piece: Piece, beside: Iterable[Shift]) -> list[Shift]:
        """Where the piece may be, each place once."""
        shifts = list(beside)
        file = self._counterparts.of(piece.file)
        if file is not None:
            longer = self._base.files[file].size - self._new.files[piece.file].size
            shifts += [Shift(file, 0), Shift(file, longer)]
        return list(dict.fromkeys(shifts))

    def _inside(self, piece: Piece, shift: Shift) -> tuple[int, int]:
        """The part of the piece that lies inside the base's file when shifted."""
        start = max(piece.start, -shift.by)
        return start, max(start, min(piece.end, self._base.files[shift.file].size - shift.by))

    def _differing(self, piece: Piece, shift: Shift) -> float:
        start, end = self._inside(piece, shift)
        if 2 * (end - start) < piece.end - piece.start:
            return 1.0
        length = min(SAMPLED, end - start)
        places = PLACES if end - start > SAMPLED else 1
        equal = 0
        for place in range(places):
            offset = start + (end - start - length) * (place + 1) // (places + 1)
            new = bytes(self._read_new(piece.file, offset, length))
            base = bytes(self._read_base(shift.file, offset + shift.by, length))
            equal += sum(left == right for left, right in zip(new, base, strict=True))
        return 1 - equal / (places * length)

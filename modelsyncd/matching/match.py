"""The only place that turns pairs of tensors into the runs that a chunk is coded against."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from modelsyncd.bases import HOLE, Read, Run, Turned
from modelsyncd.limits import LIMITS, Limits
from modelsyncd.manifest import Manifest
from modelsyncd.matching.opaque import Opaque, Shift
from modelsyncd.matching.pairs import Pair, Pairs
from modelsyncd.matching.pieces import Piece, Pieces
from modelsyncd.matching.samples import Located

SMALLEST = 256  # bytes: naming the base of a smaller chunk costs more than it saves
PIECES = 4_096  # pieces of a chunk that are looked at: more only a hostile layout has


@dataclass(frozen=True, slots=True)
class Found:
    """Runs as long as the chunk; `likeness` of the bytes there is 0 for what looks equal, 1 for holes."""

    runs: tuple[Run, ...]
    likeness: float


_Place = tuple[Sequence[Run], float]
"""Runs and their likeness."""


class Match:
    """What the chunks of one manifest resemble in one base."""

    def __init__(self, new: Pieces, base: Manifest, read_new: Read, read_base: Read, limits: Limits = LIMITS) -> None:
        self._pieces = new
        self._pairs = Pairs(new.manifest, base, read_new, read_base)
        self._opaque = Opaque(new.manifest, base, read_new, read_base)
        self._limits = limits

    def runs(self, ordinal: int) -> tuple[Run, ...] | None:
        """The runs to code a chunk against, as long as it is; None when nothing in the base resembles it.

        Raises what the readers raise, and IndexError for an ordinal that is not in the manifest.
        """
        found = self.found(ordinal)
        return None if found is None else found.runs

    def found(self, ordinal: int) -> Found | None:
        """The same with how like they are."""
        _, start, end = self._pieces.span(ordinal)
        size = end - start
        if size < SMALLEST:
            return None
        pieces = list(islice(self._pieces.of(ordinal), PIECES + 1))
        if len(pieces) > PIECES:
            return None
        places = [self._tensor(piece) for piece in pieces]
        chain = _Chain()
        unlike = 0.0
        for number, piece in enumerate(pieces):
            place = places[number] or self._opaque.runs(piece, _beside(pieces, places, number))
            chain.extend(place[0])
            unlike += place[1] * (piece.end - piece.start)
            if len(chain.runs) > self._limits.base_runs:
                return None
        if all(run.file == HOLE for run in chain.runs):
            return None
        return Found(tuple(chain.runs), unlike / size)

    def _tensor(self, piece: Piece) -> _Place | None:
        """Where a piece of a tensor is; None for bytes of none, or if nobody knows where the base has tensors."""
        if piece.tensor is None:
            return None
        pair = self._pairs.of(Located(piece.file, piece.tensor))
        if pair is not None:
            return _runs(piece.end - piece.start, piece.start - piece.tensor.offset, pair)
        return None if self._opaque.known(piece.file) else _hole(piece.end - piece.start)


def match(manifest: Manifest, base: Manifest, read_new: Read, read_base: Read) -> Match:
    """Matches a manifest with a base; the readers give plain bytes. Nothing is read until runs are asked for."""
    return Match(Pieces(manifest), base, read_new, read_base)


def _runs(size: int, first: int, pair: Pair) -> _Place:
    """The same place, from byte `first` of the tensor on, in the other one; zeros for what that one does not have."""
    if pair.turned:
        return _turned(size, first, pair)
    there = max(0, min(size, pair.tensor.size - first))
    runs = [Run(pair.file, pair.tensor.offset + first, there), Run(HOLE, 0, size - there)]
    return [run for run in runs if run.size], (there * pair.likeness + size - there) / size


def _turned(size: int, first: int, pair: Pair) -> _Place:
    rows, columns = pair.tensor.shape
    width = pair.tensor.size // (rows * columns)
    if first % width or size % width:
        return _hole(size)
    turned = Turned(rows, columns, width, first // width)
    return [Run(pair.file, pair.tensor.offset, size, turned)], pair.likeness


def _hole(size: int) -> _Place:
    return [Run(HOLE, 0, size)], 1.0


def _beside(pieces: Sequence[Piece], places: Sequence[_Place | None], number: int) -> Iterator[Shift]:
    """Where the neighbours of a piece were found."""
    if number and (before := places[number - 1]):
        run = before[0][-1]
        if run.file != HOLE and run.turned is None:
            yield Shift(run.file, run.offset + run.size - pieces[number].start)
    if number + 1 < len(places) and (after := places[number + 1]):
        run = after[0][0]
        if run.file != HOLE and run.turned is None:
            yield Shift(run.file, run.offset - pieces[number].end)


class _Chain:
    """Runs end to end; neighbours that are one run in the base become one."""

    def __init__(self) -> None:
        self.runs: list[Run] = []

    def extend(self, runs: Iterable[Run]) -> None:
        for run in runs:
            joined = _joined(self.runs[-1], run) if self.runs else None
            if joined is None:
                self.runs.append(run)
            else:
                self.runs[-1] = joined


def _joined(left: Run, right: Run) -> Run | None:
    if left.file != right.file or left.turned is not None or right.turned is not None:
        return None
    if left.file != HOLE and left.offset + left.size != right.offset:
        return None
    return Run(left.file, left.offset, left.size + right.size)

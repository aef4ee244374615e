"""The only place that chooses between bases: some of many by their layouts alone, one for each chunk by samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from modelsyncd.bases import Read, Run
from modelsyncd.manifest import Manifest
from modelsyncd.matching.counterparts import Counterparts
from modelsyncd.matching.match import Match
from modelsyncd.matching.pieces import Pieces
from modelsyncd.matching.samples import located

MOST = 3  # bases that are sampled: each more costs as much and finds less


@dataclass(frozen=True, slots=True)
class Chosen:
    """The runs of a chunk in base number `base`."""

    base: int
    runs: tuple[Run, ...]


class Bases:
    """What the chunks of a manifest resemble in any of several bases."""

    def __init__(self, manifest: Manifest, read_new: Read, bases: Sequence[tuple[Manifest, Read]]) -> None:
        """Each base comes with its reader, the likeliest first. Reads nothing until a chunk is asked for."""
        pieces = Pieces(manifest)
        self._matches = [Match(pieces, base, read_new, read_base) for base, read_base in bases]

    def of(self, ordinal: int) -> Chosen | None:
        """The runs that look most like the chunk, of the first base among equals; all runs of a chunk are in one base.

        Raises what the readers raise, and IndexError for an ordinal that is not in the manifest.
        """
        best: Chosen | None = None
        least = 1.0
        for number, match in enumerate(self._matches):
            found = match.found(ordinal)
            if found is not None and (best is None or found.likeness < least):
                best, least = Chosen(number, found.runs), found.likeness
        return best


def promising(manifest: Manifest, bases: Sequence[Manifest], most: int = MOST) -> list[int]:
    """The numbers of the bases worth sampling, best first, the earlier one among equals. Looks at layouts alone."""
    worth = [(_shared(manifest, base), -number) for number, base in enumerate(bases)]
    return [-number for shared, number in sorted(worth, reverse=True)[:most] if shared]


def _shared(manifest: Manifest, base: Manifest) -> int:
    """Plain bytes of tensors, and of files without, that the base could have a version of."""
    names = {(one.tensor.name, one.tensor.dtype) for one in located(base)}
    kinds = Counter((one.tensor.dtype, one.tensor.size) for one in located(base))
    there = Counterparts(manifest, base)
    shared = sum(
        file.size for number, file in enumerate(manifest.files) if not file.tensors and there.of(number) is not None
    )
    for one in located(manifest):
        kind = (one.tensor.dtype, one.tensor.size)
        if kinds[kind] > 0:
            kinds[kind] -= 1
            shared += one.tensor.size
        elif (one.tensor.name, one.tensor.dtype) in names:
            shared += one.tensor.size
    return shared

"""The only place that tells a codec what the bytes of a chunk are: their dtype and where rows and elements begin."""

from __future__ import annotations

from itertools import islice

from modelsyncd.codec.hint import Hint
from modelsyncd.limits import LIMITS
from modelsyncd.manifest import Manifest, Tensor
from modelsyncd.matching.elements import element_of
from modelsyncd.matching.pieces import Pieces


class Hints:
    """Hints for the chunks of one manifest."""

    def __init__(self, manifest: Manifest) -> None:
        self._pieces = Pieces(manifest)

    def of(self, ordinal: int) -> Hint:
        """What the tensor that fills most of the chunk is made of. Raises IndexError for a chunk that is not there."""
        pieces = islice(self._pieces.of(ordinal), LIMITS.base_runs)
        tensor = max(pieces, key=lambda piece: piece.end - piece.start).tensor
        if tensor is None:
            return Hint()
        _, start, _ = self._pieces.span(ordinal)
        columns, width = _columns(tensor), Hint(tensor.dtype).width
        before = max(start - tensor.offset, 0) // width
        return Hint(tensor.dtype, (start - tensor.offset) % width, columns, before % columns if columns else 0)


def _columns(tensor: Tensor) -> int:
    """Elements in a row; 0 when the shape can't be true."""
    columns = tensor.shape[-1] if tensor.shape else 0
    return columns if 0 < columns * element_of(tensor.dtype).width <= tensor.size else 0

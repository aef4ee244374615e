"""Laws of pieces: end to end they are the chunk, and a byte in two tensors is the first one's."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from modelsyncd.manifest import Tensor
from modelsyncd.matching.pieces import Pieces
from tests.fakes.weights import laid_out

SIZE = 60
_TENSORS = st.lists(
    st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)).map(
        lambda place: Tensor(f"{place}", "u8", (), place[0], min(place[1], SIZE - place[0]))
    ),
    max_size=8,
)


@given(_TENSORS, st.integers(1, SIZE))
def test_pieces_are_the_chunk_and_name_the_first_tensor_of_each_byte(tensors: list[Tensor], step: int) -> None:
    held = laid_out({"a": bytes(SIZE), "b": b"", "c": bytes(5)}, {"a": tensors, "b": [], "c": []}, step)
    pieces = [piece for ordinal in range(held.manifest.chunk_count) for piece in Pieces(held.manifest).of(ordinal)]
    inside = [piece for piece in pieces if piece.file == 0]
    owners = [piece.tensor for piece in inside for _ in range(piece.start, piece.end)]
    assert [piece.start for piece in inside] == [0, *(piece.end for piece in inside[:-1])]
    assert owners == [_owner(tensors, at) for at in range(SIZE)]
    assert all(piece.tensor is None for piece in pieces if piece.file == 2)


def _owner(tensors: list[Tensor], at: int) -> Tensor | None:
    """The tensor of a byte, as the chunker takes it: tensors claim bytes in the order in which they begin."""
    claimed = 0
    for tensor in sorted(tensors, key=lambda tensor: (tensor.offset, tensor.size)):
        start, end = max(tensor.offset, claimed), tensor.offset + tensor.size
        if start <= at < end:
            return tensor
        claimed = max(claimed, end)
    return None

"""Whatever a Give leaves out because the one before it said it, the other end fills in."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from modelsyncd.bases import Run
from modelsyncd.codec.registry import Codec
from modelsyncd.digest import DIGEST_SIZE, Digest
from modelsyncd.session.frames import Base, Give, Part
from modelsyncd.wire import frames
from modelsyncd.wire.terse import Said

ALIKE = st.builds(
    Give,
    manifest=st.sampled_from([Digest(bytes(DIGEST_SIZE)), Digest(b"1" * DIGEST_SIZE)]),
    part=st.sampled_from(Part),
    ordinal=st.integers(0, 1),
    codec=st.sampled_from([Codec.STORED, Codec.DELTA]),
    encoded_size=st.integers(8, 9),
    offset=st.integers(0, 1),
    payload=st.just(b"payload"),
    base=st.sampled_from(
        [None, *(Base(Digest(name * DIGEST_SIZE), (Run(0, at, 9),)) for name in (b"2", b"3") for at in (0, 1))]
    ),
    cpu=st.just(0),
)
"""Gives that have much in common with one another."""


def _part(size: int, offset: int) -> Give:
    return Give(Digest(bytes(DIGEST_SIZE)), Part.CONTENT, 0, Codec.STORED, size, offset, b"payload")


@example([(_part(8, 0), "well"), (_part(9, 1), "well")])  # the same chunk, coded anew
@given(st.lists(st.tuples(ALIKE, st.sampled_from(["well", "badly", "unknown"])), min_size=2, max_size=12))
def test_whatever_gives_leave_out_arrives(turns: list[tuple[Give, str]]) -> None:
    said, heard = Said(), Said()
    for give, ended in turns:
        data = frames.encode(give, said)
        assert len(data) <= len(frames.encode(give))
        if ended != "well":
            said.forget()
        if ended != "badly":
            assert frames.decode(data, heard=heard) == give

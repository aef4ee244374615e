"""Manifests: what adds up is taken, and each way of not adding up is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelsyncd.digest import digest_of
from modelsyncd.errors import BadInputError, HostilePathError, LimitError
from modelsyncd.limits import Limits
from modelsyncd.manifest import (
    MANIFEST_PIECE,
    ChunkTable,
    File,
    Manifest,
    Tensor,
    check,
    piece_digests,
    piece_sizes,
    pieces,
)


def file(path: str, *contents: bytes, tensors: tuple[Tensor, ...] = ()) -> File:
    """A file whose chunks hold this."""
    return File(
        path=path,
        size=sum(map(len, contents)),
        sha256=bytes(32),
        executable=False,
        chunk_sizes=tuple(map(len, contents)),
        chunk_digests=b"".join(map(digest_of, contents)),
        tensors=tensors,
    )


SOUND = Manifest((file("a", b"one", b"three"), file("b/empty"), file("b/x", b"four", b"one")))


def test_a_sound_manifest_is_returned_as_it_is() -> None:
    assert check(SOUND) is SOUND
    assert SOUND.content_size == 15
    assert SOUND.chunk_count == 4


def test_a_chunk_is_found_by_its_ordinal_with_its_place() -> None:
    table = ChunkTable(SOUND)
    assert len(table) == 4
    assert [(chunk.ordinal, chunk.file, chunk.offset, chunk.size) for chunk in table] == [
        (0, 0, 0, 3),
        (1, 0, 3, 5),
        (2, 2, 0, 4),
        (3, 2, 4, 3),
    ]
    assert [chunk.digest for chunk in table] == [digest_of(plain) for plain in (b"one", b"three", b"four", b"one")]
    assert list(table.sizes) == [3, 5, 4, 3]


@pytest.mark.parametrize("ordinal", [-1, 4, 1 << 40])
def test_an_ordinal_outside_the_manifest_has_no_chunk(ordinal: int) -> None:
    with pytest.raises(IndexError):
        ChunkTable(SOUND).chunk(ordinal)


def test_a_version_without_files_has_no_chunks() -> None:
    assert list(ChunkTable(Manifest(()))) == []
    assert list(ChunkTable(Manifest((file("empty"),)))) == []


_ONE = file("a", b"one", b"three")
_TENSOR = Tensor("t", "f32", (2,), 0, 8)


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        (replace(_ONE, sha256=bytes(31)), BadInputError),
        (replace(_ONE, sha256=b""), BadInputError),
        (replace(_ONE, chunk_digests=_ONE.chunk_digests[:-1]), BadInputError),
        (replace(_ONE, chunk_digests=_ONE.chunk_digests + bytes(32)), BadInputError),
        (replace(_ONE, chunk_digests=b""), BadInputError),
        (replace(_ONE, size=7), BadInputError),
        (replace(_ONE, size=9), BadInputError),
        (replace(_ONE, size=-8), BadInputError),
        (replace(_ONE, chunk_sizes=(8, 0)), LimitError),
        (replace(_ONE, chunk_sizes=(9, -1)), LimitError),
        (replace(_ONE, chunk_sizes=(8,)), BadInputError),
        (replace(_ONE, tensors=(replace(_TENSOR, offset=1),)), BadInputError),
        (replace(_ONE, tensors=(replace(_TENSOR, offset=-1),)), BadInputError),
        (replace(_ONE, tensors=(replace(_TENSOR, size=-1),)), BadInputError),
        (replace(_ONE, tensors=(_TENSOR, replace(_TENSOR, offset=1 << 63))), BadInputError),
        (replace(_ONE, path="../a"), HostilePathError),
    ],
)
def test_a_file_that_does_not_add_up_is_refused(broken: File, error: type[Exception]) -> None:
    check(Manifest((_ONE,)))
    with pytest.raises(error):
        check(Manifest((broken,)))


@pytest.mark.parametrize("paths", [["b", "a"], ["a", "a"], ["a", "A"], ["A", "a"], ["a", "a/b"]], ids="-".join)
def test_paths_that_are_out_of_order_or_clash_are_refused(paths: list[str]) -> None:
    with pytest.raises(HostilePathError):
        check(Manifest(tuple(file(path, b"x") for path in paths)))


@pytest.mark.parametrize(
    "limits",
    [
        Limits(files=2),
        Limits(content_bytes=14),
        Limits(chunks=3),
        Limits(chunk_bytes=4),
    ],
)
def test_a_manifest_beyond_a_limit_is_refused(limits: Limits) -> None:
    with pytest.raises(LimitError):
        check(SOUND, limits)


def test_tensors_are_counted_over_all_files() -> None:
    two = Manifest(tuple(file(path, b"12345678", tensors=(_TENSOR,)) for path in "ab"))
    check(two, Limits(tensors=2))
    with pytest.raises(LimitError):
        check(two, Limits(tensors=1))


def test_a_manifest_may_be_exactly_as_large_as_the_limits() -> None:
    check(SOUND, Limits(files=3, content_bytes=15, chunks=4, chunk_bytes=5))


@pytest.mark.parametrize(
    "size", [0, 1, MANIFEST_PIECE - 1, MANIFEST_PIECE, MANIFEST_PIECE + 1, 3 * MANIFEST_PIECE], ids=str
)
def test_a_manifests_own_pieces_agree_on_sizes_and_digests(size: int) -> None:
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    cut = pieces(content)
    assert b"".join(cut) == content
    assert [len(piece) for piece in cut] == piece_sizes(size)
    assert piece_digests(content) == b"".join(digest_of(piece) for piece in cut)


def test_a_table_stays_small_however_many_chunks_there_are() -> None:
    sizes = tuple([1] * 100_000)
    table = ChunkTable(Manifest((replace(_ONE, size=100_000, chunk_sizes=sizes, chunk_digests=bytes(3_200_000)),)))
    assert table.sizes.itemsize * len(table) <= 400_000
    assert table.chunk(99_999).offset == 99_999

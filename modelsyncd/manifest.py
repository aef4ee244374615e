"""The only place that says what a manifest is: the files of one version, their chunks and tensors, as frozen values.

How a manifest is written as bytes is `wire/manifests.py`'s; the digest of those exact bytes is the manifest's name.
Law: a `Manifest` that exists is valid. `check` is called by whoever builds one from outside bytes, before use.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

from modelsyncd.digest import DIGEST_SIZE, Digest, digest_of
from modelsyncd.errors import BadInputError, LimitError
from modelsyncd.limits import LIMITS, Limits
from modelsyncd.names import check_paths

MANIFEST_FORMAT = 1
MANIFEST_PIECE = 256 << 10  # bytes: a manifest's own chunks are this long, but the last


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor's place in its file: `offset` and `size` in bytes, `shape` outermost first."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Chunking:
    """How files were cut: sizes in bytes. The same bytes with the same parameters cut the same way anywhere."""

    step: int = 256 << 10
    algorithm: str = "tensors-2/fastcdc-2020"
    smallest: int = 64 << 10
    average: int = 256 << 10
    largest: int = 1 << 20


@dataclass(frozen=True, slots=True)
class File:
    """One regular file: relative `path`, `size` in bytes, its chunks in order (digests 32 bytes each, end to end)."""

    path: str
    size: int
    sha256: bytes
    executable: bool
    chunk_sizes: tuple[int, ...]
    chunk_digests: bytes
    tensors: tuple[Tensor, ...] = ()
    format: str = ""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of plain bytes of one file: `file` is the file's index in the manifest, `offset` the first byte in it."""

    ordinal: int
    digest: Digest
    size: int
    file: int
    offset: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of one version, ascending by path."""

    files: tuple[File, ...]
    chunking: Chunking = Chunking()

    @property
    def content_size(self) -> int:
        """Plain bytes of all files together."""
        return sum(file.size for file in self.files)

    @property
    def chunk_count(self) -> int:
        """Chunks of all files together; ordinals run from 0 to one less."""
        return sum(len(file.chunk_sizes) for file in self.files)


class ChunkTable:
    """A manifest's chunks by ordinal, in about 44 bytes each whatever the model's size."""

    def __init__(self, manifest: Manifest) -> None:
        self._digests = b"".join(file.chunk_digests for file in manifest.files)
        self.sizes = array("I", (size for file in manifest.files for size in file.chunk_sizes))
        """Plain bytes of each chunk, by ordinal."""
        self._offsets = array("Q")
        for file in manifest.files:
            self._offsets.extend(accumulate(file.chunk_sizes[:-1], initial=0) if file.chunk_sizes else ())
        self._first = list(accumulate((len(file.chunk_sizes) for file in manifest.files), initial=0))

    def __len__(self) -> int:
        return len(self.sizes)

    def digest(self, ordinal: int) -> Digest:
        """Name of the chunk."""
        start = ordinal * DIGEST_SIZE
        return Digest(self._digests[start : start + DIGEST_SIZE])

    def chunk(self, ordinal: int) -> Chunk:
        """The chunk with its place. Raises IndexError for an ordinal that is not in the manifest."""
        if not 0 <= ordinal < len(self.sizes):
            raise IndexError(ordinal)
        file = bisect_right(self._first, ordinal) - 1
        return Chunk(ordinal, self.digest(ordinal), self.sizes[ordinal], file, self._offsets[ordinal])

    def at(self, file: int, offset: int) -> int:
        """Ordinal of the chunk that has this byte of a file. Raises IndexError for a byte that no file has."""
        first, end = (self._first[file], self._first[file + 1]) if 0 <= file < len(self._first) - 1 else (0, 0)
        ordinal = bisect_right(self._offsets, offset, first, end) - 1
        if not first <= ordinal < end or offset >= self._offsets[ordinal] + self.sizes[ordinal]:
            raise IndexError(offset)
        return ordinal

    def __iter__(self) -> Iterator[Chunk]:
        return map(self.chunk, range(len(self)))


def check(manifest: Manifest, limits: Limits = LIMITS) -> Manifest:
    """Returns the manifest if it is sound.

    Raises HostilePathError for names, LimitError for sizes and counts, BadInputError for anything that does not add up.
    """
    if len(manifest.files) > limits.files:
        raise LimitError(f"a version may have {limits.files} files, not {len(manifest.files)}")
    check_paths([file.path for file in manifest.files])
    for file in manifest.files:
        _check_file(file, limits)
    if manifest.content_size > limits.content_bytes:
        raise LimitError(f"a version may have {limits.content_bytes} bytes, not {manifest.content_size}")
    if manifest.chunk_count > limits.chunks:
        raise LimitError(f"a version may have {limits.chunks} chunks, not {manifest.chunk_count}")
    if sum(len(file.tensors) for file in manifest.files) > limits.tensors:
        raise LimitError(f"a version may have {limits.tensors} tensors")
    return manifest


def _check_file(file: File, limits: Limits) -> None:
    if len(file.sha256) != 32:
        raise BadInputError(f"{file.path}: a SHA-256 has 32 bytes, not {len(file.sha256)}")
    if len(file.chunk_digests) != DIGEST_SIZE * len(file.chunk_sizes):
        raise BadInputError(f"{file.path}: {len(file.chunk_sizes)} chunks and {len(file.chunk_digests)} digest bytes")
    if sum(file.chunk_sizes) != file.size:
        raise BadInputError(f"{file.path}: chunks of {sum(file.chunk_sizes)} bytes in a file of {file.size}")
    if any(not 0 < size <= limits.chunk_bytes for size in file.chunk_sizes):
        raise LimitError(f"{file.path}: a chunk has 1 to {limits.chunk_bytes} bytes")
    for tensor in file.tensors:
        if tensor.offset < 0 or tensor.size < 0 or tensor.offset + tensor.size > file.size:
            raise BadInputError(f"{file.path}: tensor {tensor.name[:80]!r} lies outside the file")


def pieces(manifest_bytes: bytes) -> list[memoryview]:
    """The manifest's own chunks, in order."""
    view = memoryview(manifest_bytes)
    return [view[start : start + MANIFEST_PIECE] for start in range(0, len(view), MANIFEST_PIECE)]


def piece_sizes(manifest_size: int) -> list[int]:
    """Plain bytes of each of the manifest's own chunks."""
    return [min(MANIFEST_PIECE, manifest_size - start) for start in range(0, manifest_size, MANIFEST_PIECE)]


def piece_digests(manifest_bytes: bytes) -> bytes:
    """Digests of the manifest's own chunks, 32 bytes each, end to end."""
    return b"".join(digest_of(piece) for piece in pieces(manifest_bytes))

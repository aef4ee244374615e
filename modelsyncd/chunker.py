"""The only place that says where a file is cut: at tensor borders where they are known, by content where they are not.

Law: where the cuts fall depends on the bytes, the layout and the parameters, and on nothing else. So the same bytes cut
the same way on every machine, however they were read, and what did not change between two versions has the same chunks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from modelsyncd.digest import Buffer
from modelsyncd.errors import BadInputError
from modelsyncd.manifest import Chunking, Tensor

CONTENT_DEFINED = "fastcdc-2020"


class Cutter(Protocol):
    """Cuts one file that is fed to it from its start to its end, in pieces of any size."""

    def feed(self, piece: Buffer) -> list[memoryview]:
        """The chunks that are whole by now, in order. They may lie in `piece`: use them before it is used again."""

    def finish(self) -> list[memoryview]:
        """The chunks that were held back until the end was sure."""


def grid(size: int, tensors: Sequence[Tensor], chunking: Chunking) -> list[int]:
    """Sizes of the chunks of a file of `size` bytes with this layout, in order; all in bytes.

    A tensor of at least one step is cut in steps from its own start, so it cuts the same way wherever it lies. Smaller
    neighbours share a chunk of one step at most. Bytes between tensors (headers, padding) share a chunk with none: what
    they hold changes when no weight does. Without tensors this is one run of steps.
    """
    check(chunking)
    sizes: list[int] = []
    joined = 0
    for length, whole in _runs(size, tensors, chunking.step):
        if joined and (whole or joined + length > chunking.step):
            sizes.append(joined)
            joined = 0
        if not whole:
            joined += length
            continue
        steps, rest = divmod(length, chunking.step)
        sizes.extend([chunking.step] * steps)
        sizes.extend([rest] if rest else [])
    return [*sizes, joined] if joined else sizes


def _runs(size: int, tensors: Sequence[Tensor], step: int) -> Iterator[tuple[int, bool]]:
    """(length in bytes, whether it is cut by itself) for each run of the file; a byte in two tensors is the first's."""
    position = 0
    for tensor in sorted(tensors, key=lambda tensor: (tensor.offset, tensor.size)):
        start = max(tensor.offset, position)
        end = min(tensor.offset + tensor.size, size)
        if start >= end:
            continue
        if start > position:
            yield start - position, True
        yield end - start, end - start >= step
        position = end
    if position < size:
        yield size - position, True


def check(chunking: Chunking) -> Chunking:
    """Returns the parameters if files can be cut with them. Raises BadInputError."""
    if chunking.algorithm != CONTENT_DEFINED:
        raise BadInputError(f"files can't be cut by {chunking.algorithm[:80]!r}", hint=f"use {CONTENT_DEFINED}")
    if chunking.step < 1 or not 64 <= chunking.smallest <= chunking.average <= chunking.largest:
        raise BadInputError("files are cut in steps of 1 byte at least, and 64 <= smallest <= average <= largest")
    # The bounds of pyfastcdc 0.3, said in our words.
    if (
        chunking.smallest > 1 << 20
        or not 256 <= chunking.average <= 4 << 20
        or not 1024 <= chunking.largest <= 16 << 20
    ):
        raise BadInputError("chunks are cut around 256 bytes to 4 MiB, and not above 16 MiB")
    return chunking


class GridCutter:
    """Cuts at places that are known before: the sizes that `grid` gave."""

    def __init__(self, sizes: Iterable[int]) -> None:
        self._sizes = deque(sizes)
        self._held = b""

    def feed(self, piece: Buffer) -> list[memoryview]:
        """The chunks that are whole by now. Bytes beyond the last size are in none."""
        chunks: list[memoryview] = []
        view = memoryview(piece)
        while self._sizes and len(self._held) + len(view) >= self._sizes[0]:
            wanted = self._sizes.popleft() - len(self._held)
            chunks.append(memoryview(self._held + view[:wanted]) if self._held else view[:wanted])
            self._held = b""
            view = view[wanted:]
        self._held += view
        return chunks

    def finish(self) -> list[memoryview]:
        """Nothing: every chunk came out of `feed`."""
        return []


class ContentCutter:
    """Cuts where the content says so (FastCDC 2020), so an insertion moves the cuts around it and no others."""

    def __init__(self, chunking: Chunking) -> None:
        """Raises BadInputError for parameters that can't be."""
        # Here, because most processes never cut anything.
        from pyfastcdc import FastCDC  # noqa: PLC0415

        check(chunking)
        self._largest = chunking.largest
        self._fastcdc = FastCDC(chunking.average, min_size=chunking.smallest, max_size=chunking.largest)
        self._held: list[Buffer] = []
        self._length = 0

    def feed(self, piece: Buffer) -> list[memoryview]:
        """The chunks that are whole by now. Held back is what is shorter than the largest chunk: more may follow."""
        self._length += len(piece)
        if self._length < self._largest:
            self._held.append(bytes(piece))
            return []
        self._held.append(piece)
        return self._cut(self._largest)

    def finish(self) -> list[memoryview]:
        """The chunks of the rest."""
        return self._cut(1)

    def _cut(self, least: int) -> list[memoryview]:
        """Cuts while at least so many bytes are left, and holds the rest."""
        data = b"".join(self._held)
        cuts = self._fastcdc.cut_buf(data)
        chunks: list[memoryview] = []
        start = 0
        while len(data) - start >= least:
            length = next(cuts).length
            chunks.append(memoryview(data)[start : start + length])
            start += length
        self._held = [data[start:]]
        self._length = len(data) - start
        return chunks
